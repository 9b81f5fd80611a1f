//! A whole agent in a directory of its own, and what talks to it.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use edge_agent::api::sse::Parser;
use edge_agent::api::view::{DeviceView, ErrorView, Event};
use edge_agent::{Addresses, Agent, AgentConfig, Error, Reloaded, Reloader};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) mod bus;
pub(crate) mod lab;
pub(crate) mod mapper;
pub(crate) mod outside;
pub(crate) mod packets;
pub(crate) mod papers;
pub(crate) mod program;
pub(crate) mod subscriptions;

/// Longest time that anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const MODEL: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump, namespace: demo}
spec:
  protocol: test
  properties:
    - {name: speed, type: INT, accessMode: ReadWrite, minimum: '0', maximum: '3000', unit: rpm}
    - {name: temperature, type: FLOAT, accessMode: ReadOnly}
    - {name: note, type: STRING, accessMode: ReadWrite}
";

pub(crate) fn device(name: &str, speed: &str) -> String {
    let desired =
        if speed.is_empty() { String::new() } else { format!(", desired: {{value: '{speed}'}}") };
    format!(
        "
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}, namespace: demo}}
spec:
  deviceModelRef: {{name: pump}}
  protocol: {{protocolName: test, configData: {{port: 1}}}}
  properties:
    - {{name: speed{desired}}}
    - {{name: temperature}}
    - {{name: note}}
"
    )
}

/// An agent that runs.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) config: AgentConfig,
    pub(crate) addresses: Addresses,
    reloader: Reloader,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Error>>,
}

impl World {
    /// One with the pump's model and these devices.
    pub(crate) async fn with(devices: &[(&str, &str)]) -> Self {
        Self::start(devices, |_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn start(
        devices: &[(&str, &str)],
        change: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = AgentConfig::within(dir.path());
        change(&mut config);
        std::fs::create_dir_all(&config.manifests.dir).unwrap();
        std::fs::write(config.manifests.dir.join("model.yaml"), MODEL).unwrap();
        for (name, speed) in devices {
            let path = config.manifests.dir.join(format!("{name}.yaml"));
            std::fs::write(path, device(name, speed)).unwrap();
        }
        let (addresses, reloader, stop, tasks) = run(config.clone()).await;
        Self { dir, config, addresses, reloader, stop, tasks }
    }

    /// One over a folder that an agent left.
    pub(crate) async fn over(dir: TempDir) -> Self {
        let config = AgentConfig::within(dir.path());
        let (addresses, reloader, stop, tasks) = run(config.clone()).await;
        Self { dir, config, addresses, reloader, stop, tasks }
    }

    /// Stops the agent; how long it took.
    pub(crate) async fn stop(&mut self) -> Duration {
        let start = tokio::time::Instant::now();
        self.stop.cancel();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
        start.elapsed()
    }

    /// Stops it and starts it again over the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.restart_stopped().await;
    }

    /// Starts it again after [`World::stop`].
    pub(crate) async fn restart_stopped(&mut self) {
        (self.addresses, self.reloader, self.stop, self.tasks) = run(self.config.clone()).await;
    }

    /// What SIGHUP does, with a configuration that was changed.
    pub(crate) fn reload(&mut self, change: impl FnOnce(&mut AgentConfig)) -> Reloaded {
        change(&mut self.config);
        self.reloader.reload(self.config.clone())
    }

    /// Follows `/v1/events`; the stream ends with the first half.
    pub(crate) async fn events(&self, query: &str) -> (JoinSet<()>, mpsc::Receiver<Event>) {
        self.events_with(&[], query).await
    }

    /// The same with further headers.
    pub(crate) async fn events_with(
        &self,
        headers: &[(&str, &str)],
        query: &str,
    ) -> (JoinSet<()>, mpsc::Receiver<Event>) {
        self.stream(headers, &format!("/v1/events{query}")).await
    }

    /// Follows any stream of events.
    pub(crate) async fn stream<T: DeserializeOwned + Send + 'static>(
        &self,
        headers: &[(&str, &str)],
        path: &str,
    ) -> (JoinSet<()>, mpsc::Receiver<T>) {
        let stream = UnixStream::connect(&self.addresses.api).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut request = Request::builder().uri(path).header("host", "agent");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // A stream that we leave, or that the agent ends, is fine here.
            let _ = connection.await;
        });
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let (tell, events) = mpsc::channel(1024);
        tasks.spawn(async move {
            let _sender = sender;
            let mut parser = Parser::default();
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(data) = frame.into_data() else { continue };
                parser.push(&data);
                while let Some(event) = parser.data() {
                    tell.send(serde_json::from_str(&event).unwrap()).await.unwrap();
                }
            }
        });
        (tasks, events)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        // Written beside and renamed, as an editor does it.
        let path = self.config.manifests.dir.join(file);
        let draft = path.with_extension("draft");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, path).unwrap();
    }

    pub(crate) fn remove(&self, file: &str) {
        std::fs::remove_file(self.config.manifests.dir.join(file)).unwrap();
    }

    /// Where the broker listens.
    pub(crate) fn mqtt(&self) -> std::net::SocketAddr {
        self.addresses.mqtt.unwrap()
    }

    /// One device as the API shows it.
    pub(crate) async fn device(&self, name: &str) -> Result<DeviceView, ErrorView> {
        let path = format!("/v1/devices/demo/{name}");
        let (status, body) = self.request(Method::GET, &path, "").await;
        if status == 200 {
            Ok(serde_json::from_slice(&body).unwrap())
        } else {
            Err(serde_json::from_slice(&body).unwrap())
        }
    }

    /// Waits until the device is as wanted.
    pub(crate) async fn until(
        &self,
        name: &str,
        wanted: impl Fn(&DeviceView) -> bool,
    ) -> DeviceView {
        eventually(name, async || self.device(name).await.ok().filter(&wanted)).await
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: &str) -> (u16, Bytes) {
        self.request_with(&[], method, path, body).await
    }

    /// The same with further headers.
    pub(crate) async fn request_with(
        &self,
        headers: &[(&str, &str)],
        method: Method,
        path: &str,
        body: &str,
    ) -> (u16, Bytes) {
        ask(&self.addresses.api, headers, method, path, body).await
    }

    /// `PATCH …/desired`.
    pub(crate) async fn set(
        &self,
        name: &str,
        query: &str,
        body: &str,
    ) -> (u16, serde_json::Value) {
        let path = format!("/v1/devices/demo/{name}/desired{query}");
        let (status, body) = self.request(Method::PATCH, &path, body).await;
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// One request on the local API's socket.
pub(crate) async fn ask(
    api: &Path,
    headers: &[(&str, &str)],
    method: Method,
    path: &str,
    body: &str,
) -> (u16, Bytes) {
    let stream = UnixStream::connect(api).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut request = Request::builder().method(method).uri(path).header("host", "agent");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let answer = async {
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    };
    tokio::select! {
        answer = answer => answer,
        ended = async { connection.await.unwrap(); std::future::pending::<()>().await } => {
            panic!("{ended:?}")
        }
    }
}

async fn run(
    config: AgentConfig,
) -> (Addresses, Reloader, CancellationToken, JoinSet<Result<(), Error>>) {
    let agent = Agent::bind(config).await.unwrap();
    let (addresses, reloader) = (agent.addresses().clone(), agent.reloader());
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(agent.run(stop.clone()));
    wait_for_health(&addresses.api).await;
    (addresses, reloader, stop, tasks)
}

async fn wait_for_health(api: &Path) {
    eventually("the API", async || UnixStream::connect(api).await.ok()).await;
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    let asking = async {
        loop {
            again.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    within(what, asking).await
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}
