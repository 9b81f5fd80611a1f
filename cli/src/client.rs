//! The client of the local API: HTTP/1.1 over the agent's Unix socket, or over TCP where `--url` says so.
//!
//! Each request has a connection of its own. Its driver lives in a [`JoinSet`] beside it and ends with it.

mod events;
mod remote;
mod subscriptions;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use device_model::DeviceId;
use edge_agent::api::view::{
    DesiredAnswer, DesiredPatch, DeviceList, DeviceView, ErrorView, FrameView, HistoryView,
    ObjectList, OutboxView, ReadyView,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use events::Events;
use remote::{Remote, RemoteArgs};

use crate::place;

/// `--socket`, `--url` and `--timeout`, for the commands that ask an agent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// Socket of the agent's local API; else the demo's, else the system's agent is asked
    #[arg(long, value_name = "PATH", env = "EDGETWIN_SOCKET")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Longest time to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::duration::parse)]
    timeout: Duration,
}

/// An agent that was found.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    place: Place,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    Remote(Remote),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

/// One connection: what sends, and the task that moves the bytes.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinSet<()>,
}

impl ConnectArgs {
    /// The same; where nothing is named, the agent at `socket` is meant.
    pub(crate) fn or_socket(mut self, socket: &Path) -> Self {
        if !self.remote.is_named() {
            self.socket.get_or_insert_with(|| socket.to_owned());
        }
        self
    }
}

impl Client {
    /// Finds the agent: the first socket that takes a connection.
    ///
    /// # Errors
    /// None does; the error names all that were tried.
    pub(crate) async fn find(args: &ConnectArgs) -> anyhow::Result<Self> {
        if let Some(remote) = args.remote.open()? {
            return Ok(Self { place: Place::Remote(remote), timeout: args.timeout });
        }
        let mut tried = Vec::new();
        for socket in place::candidates(args.socket.as_deref()) {
            match UnixStream::connect(&socket).await {
                Ok(_) => return Ok(Self { place: Place::Socket(socket), timeout: args.timeout }),
                Err(error) => tried.push(format!("\n  {}: {error}", socket.display())),
            }
        }
        bail!(
            "no agent answers; tried{}\nStart one with `edgetwin demo` or `edgetwin run`, or name its socket with --socket or EDGETWIN_SOCKET",
            tried.concat()
        )
    }

    /// The agent at a socket that is known.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { place: Place::Socket(socket.to_owned()), timeout: Duration::from_secs(10) }
    }

    /// Every device.
    ///
    /// # Errors
    /// The agent cannot be asked, or refuses.
    pub(crate) async fn devices(&self) -> anyhow::Result<Vec<DeviceView>> {
        let list: DeviceList = self.ask(Method::GET, "/v1/devices", Bytes::new()).await?;
        Ok(list.devices)
    }

    /// What the cloud does not have.
    ///
    /// # Errors
    /// The agent cannot be asked, or belongs to no cloud.
    pub(crate) async fn outbox(&self) -> anyhow::Result<OutboxView> {
        self.ask(Method::GET, "/v1/outbox", Bytes::new()).await
    }

    /// What the cloud gave the node.
    ///
    /// # Errors
    /// The agent cannot be asked, or belongs to no cloud.
    pub(crate) async fn objects(&self) -> anyhow::Result<ObjectList> {
        self.ask(Method::GET, "/v1/objects", Bytes::new()).await
    }

    /// One device by the name a person gives it: `namespace/name`, or the name alone where it is the only one.
    ///
    /// # Errors
    /// There is no such device, or several; the error names what there is.
    pub(crate) async fn device(&self, name: &str) -> anyhow::Result<DeviceView> {
        let devices = self.devices().await?;
        let mut found = devices.iter().filter(|device| device.id() == name || device.name == name);
        match (found.next(), found.next()) {
            (Some(device), None) => Ok(device.clone()),
            (Some(first), Some(second)) => {
                bail!("{name} could be {} or {}; write the namespace too", first.id(), second.id())
            }
            (None, _) => {
                let known: Vec<String> = devices.iter().map(DeviceView::id).collect();
                Err(anyhow!("no device {name}{}", suggest(name, &known)))
            }
        }
    }

    /// One device as it stands; `None`: there is none of that name.
    ///
    /// # Errors
    /// The agent cannot be asked.
    pub(crate) async fn look(&self, device: &DeviceId) -> anyhow::Result<Option<DeviceView>> {
        let path = format!("/v1/devices/{}/{}", device.namespace(), device.name());
        match self.ask(Method::GET, &path, Bytes::new()).await {
            Ok(view) => Ok(Some(view)),
            Err(error) if error.downcast_ref::<ErrorView>().is_some_and(|e| e.code == 404) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes desired values of one device.
    ///
    /// # Errors
    /// The agent cannot be asked, or refuses a value.
    pub(crate) async fn desire(
        &self,
        device: &DeviceId,
        patch: &DesiredPatch,
    ) -> anyhow::Result<DesiredAnswer> {
        let path = format!("/v1/devices/{}/{}/desired", device.namespace(), device.name());
        self.ask(Method::PATCH, &path, serde_json::to_vec(patch)?.into()).await
    }

    /// What changed lately in a device, the newest `limit` changes of each property or of one.
    ///
    /// # Errors
    /// The agent cannot be asked, or knows no such device or property.
    pub(crate) async fn history(
        &self,
        device: &DeviceView,
        property: Option<&str>,
        limit: u32,
    ) -> anyhow::Result<HistoryView> {
        let only = property.map(|name| format!("&property={name}")).unwrap_or_default();
        let path = format!("/v1/devices/{}/history?limit={limit}{only}", device.id());
        self.ask(Method::GET, &path, Bytes::new()).await
    }

    /// How the agent is, and each part of it.
    ///
    /// # Errors
    /// The agent cannot be asked, or does not say.
    pub(crate) async fn readiness(&self) -> anyhow::Result<ReadyView> {
        let (status, body) = self.exchange(Method::GET, "/readyz", Bytes::new()).await?;
        // One that is not ready says so with 503, and why in the same form.
        match serde_json::from_slice(&body) {
            Ok(ready) => Ok(ready),
            Err(_) if !status.is_success() => Err(refusal(status, &body)),
            Err(_) => understood(&body),
        }
    }

    /// Twin changes from now on, as they happen.
    ///
    /// # Errors
    /// The agent cannot be asked, or refuses.
    pub(crate) async fn events(&self) -> anyhow::Result<Events> {
        self.stream("/v1/events").await
    }

    /// Frames on the wire of a device from now on.
    ///
    /// # Errors
    /// The agent cannot be asked, or its mapper shows none.
    pub(crate) async fn frames(&self, device: &DeviceView) -> anyhow::Result<Events<FrameView>> {
        self.stream(&format!("/v1/devices/{}/frames", device.id())).await
    }

    async fn stream<T>(&self, path: &str) -> anyhow::Result<Events<T>> {
        let begun = self.send(Method::GET, path, Bytes::new());
        let (response, driver) = timeout(self.timeout, begun).await.map_err(|_| {
            anyhow!("the agent at {} did not answer within {:?}", self.place, self.timeout)
        })??;
        if response.status() != StatusCode::OK {
            let (status, body) = (response.status(), response.into_body().collect().await?);
            bail!(refusal(status, &body.to_bytes()));
        }
        Ok(Events::new(response.into_body(), driver))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<T> {
        let (status, body) = self.exchange(method, path, body).await?;
        if !status.is_success() {
            bail!(refusal(status, &body));
        }
        understood(&body)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let exchange = async {
            // The driver must live until the body is in.
            let (response, _driver) = self.send(method, path, body).await?;
            let status = response.status();
            let body = response.into_body().collect().await.context("read the agent's answer")?;
            anyhow::Ok((status, body.to_bytes()))
        };
        let (status, body) = timeout(self.timeout, exchange).await.map_err(|_| {
            anyhow!("the agent at {} did not answer within {:?}", self.place, self.timeout)
        })??;
        Ok((status, body))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(Response<Incoming>, JoinSet<()>)> {
        let Connection { mut sender, driver } = self.connect().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "edgetwin")
            .header("content-type", "application/json");
        if let Place::Remote(remote) = &self.place {
            request = request.header("authorization", remote.authorization());
        }
        let request = request.body(Full::new(body))?;
        let response = sender
            .send_request(request)
            .await
            .with_context(|| format!("ask the agent at {}", self.place))?;
        Ok((response, driver))
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let silence = || format!("no agent answers at {}", self.place);
        match &self.place {
            Place::Socket(path) => {
                Connection::over(UnixStream::connect(path).await.with_context(silence)?).await
            }
            Place::Remote(remote) => {
                Connection::over(remote.connect().await.with_context(silence)?).await
            }
        }
    }
}

impl Connection {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its error reaches whoever waits for the response.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }
}

fn understood<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context(
        "the agent's answer is not understood; are the agent and this command of one version?",
    )
}

/// The agent's own words, or the status where it has none.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    match serde_json::from_slice::<ErrorView>(body) {
        Ok(error) => anyhow::Error::new(error),
        Err(_) => anyhow!("the agent answered {status}: {}", String::from_utf8_lossy(body)),
    }
}

/// The end of a sentence about an unknown name: the closest known one, or all of them.
pub(crate) fn suggest(given: &str, known: &[String]) -> String {
    let likeness = |name: &String| {
        let bare = name.rsplit('/').next().unwrap_or(name);
        strsim::jaro_winkler(given, name).max(strsim::jaro_winkler(given, bare))
    };
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best {
        None => "; there is none yet".to_owned(),
        Some(name) if likeness(name) > 0.8 => format!("; did you mean {name}?"),
        Some(_) => format!("; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_with_the_closest_name() {
        let known = ["demo/pump".to_owned(), "demo/meter".to_owned()];
        assert_eq!(suggest("demo/pmup", &known), "; did you mean demo/pump?");
        assert_eq!(suggest("metre", &known), "; did you mean demo/meter?");
        assert_eq!(suggest("x", &known), "; there are demo/pump, demo/meter");
        assert_eq!(suggest("x", &[]), "; there is none yet");
    }

    #[test]
    fn a_refusal_keeps_the_agents_own_words() {
        let body = br#"{"code":400,"field":"speed","message":"outside of 0 to 3000","remedy":"write less"}"#;
        let text = refusal(StatusCode::BAD_REQUEST, body).to_string();
        assert_eq!(text, "speed: outside of 0 to 3000; write less");
        assert!(refusal(StatusCode::BAD_GATEWAY, b"oops").to_string().contains("502"));
    }
}
