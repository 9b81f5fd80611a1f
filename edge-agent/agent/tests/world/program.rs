//! The agent as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use dmi::proto::{DeviceStatus, ReportDeviceStatusRequest, Twin, TwinProperty};
use futures::FutureExt;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};

use super::{MODEL, device, within};

pub(crate) const DEVICES: [&str; 8] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"];

/// A broker of its own.
pub(crate) const BUS: &str = "mqtt: {mode: embedded, listen: '127.0.0.1:0'}\n";

/// A report of one text.
pub(crate) fn note(device: &str, text: String) -> ReportDeviceStatusRequest {
    let twin = Twin {
        property_name: "note".into(),
        observed_desired: None,
        reported: Some(TwinProperty { value: text, ..TwinProperty::default() }),
    };
    ReportDeviceStatusRequest {
        device_name: device.into(),
        device_namespace: "demo".into(),
        reported_device: Some(DeviceStatus { twins: vec![twin], ..DeviceStatus::default() }),
        ..ReportDeviceStatusRequest::default()
    }
}

/// The program itself, with a folder of its own.
pub(crate) struct Program {
    pub(crate) dir: TempDir,
    pub(crate) process: Child,
    /// Where its broker listens.
    pub(crate) mqtt: SocketAddr,
    said: String,
    stderr: BufReader<ChildStderr>,
}

impl Program {
    /// Starts it over the pumps; `wrapper` is a shell's words before it.
    pub(crate) async fn start(dir: TempDir, wrapper: &str) -> Self {
        Self::start_with(dir, wrapper, BUS).await
    }

    /// The same with `more` in its configuration, an embedded broker among it.
    pub(crate) async fn start_with(dir: TempDir, wrapper: &str, more: &str) -> Self {
        Self::configure(&dir, more);
        Self::run(dir, wrapper).await
    }

    /// The same with `api` among the keys of its API.
    pub(crate) async fn start_with_api(dir: TempDir, api: &str, more: &str) -> Self {
        Self::configure_api(&dir, api, more);
        Self::run(dir, "").await
    }

    async fn run(dir: TempDir, wrapper: &str) -> Self {
        let script = format!("{wrapper} exec \"$0\" --config \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_edge-agent")]);
        command.arg(dir.path().join("agent.yaml")).env("NO_COLOR", "1").env_remove("RUST_LOG");
        command.stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let mqtt = within("the agent", async {
            loop {
                let start = said.len();
                assert!(stderr.read_line(&mut said).await.unwrap() > 0, "{said}");
                let address =
                    said[start..].split("mqtt=\"").nth(1).and_then(|l| l.split(['"', ',']).next());
                if let Some(address) = address {
                    return address.parse().unwrap();
                }
            }
        });
        let mqtt = mqtt.await;
        Self { dir, process, mqtt, said, stderr }
    }

    /// Writes its configuration: where its things are, and `more`.
    pub(crate) fn configure(dir: &TempDir, more: &str) {
        Self::configure_api(dir, "", more);
    }

    fn configure_api(dir: &TempDir, api: &str, more: &str) {
        let place = dir.path().display();
        let config = format!(
            "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nstore: {{dir: {place}/store}}\n\
             manifests: {{dir: {place}/manifests}}\ndevices: {{dmiSocket: {place}/dmi.sock}}\n\
             api: {{socket: {place}/api.sock, {api}}}\n{more}"
        );
        std::fs::write(dir.path().join("agent.yaml"), config).unwrap();
    }

    /// Where its API listens on TCP.
    pub(crate) fn api_tcp(&self) -> SocketAddr {
        let address = self.said.split("api_tcp=").nth(1).unwrap().split_whitespace().next();
        address.unwrap().parse().unwrap()
    }

    /// The next line of its log with `words` in it.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        let reading = async {
            loop {
                let start = self.said.len();
                assert_ne!(
                    self.stderr.read_line(&mut self.said).await.unwrap(),
                    0,
                    "{}",
                    self.said
                );
                if self.said[start..].contains(words) {
                    return self.said[start..].to_owned();
                }
            }
        };
        within(words, reading).await
    }

    /// Its log as far as it has come; nothing is waited for.
    pub(crate) fn has_said(&mut self) -> &str {
        while let Some(Ok(octets)) = self.stderr.fill_buf().now_or_never() {
            let count = octets.len();
            if count == 0 {
                break;
            }
            self.said.push_str(&String::from_utf8_lossy(octets));
            self.stderr.consume(count);
        }
        &self.said
    }

    pub(crate) fn dmi(&self) -> PathBuf {
        self.dir.path().join("dmi.sock")
    }

    /// Waits for its end; what it said.
    pub(crate) async fn end(mut self) -> (ExitStatus, String, TempDir) {
        let reading = self.stderr.read_to_string(&mut self.said);
        within("the end of the agent", reading).await.unwrap();
        (self.process.wait().await.unwrap(), self.said, self.dir)
    }
}

/// A folder with the pump's model and all devices.
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    let write = |name: &str, text: &str| std::fs::write(manifests.join(name), text).unwrap();
    write("model.yaml", MODEL);
    for name in DEVICES {
        write(&format!("{name}.yaml"), &device(name, ""));
    }
    dir
}

pub(crate) fn signal(process: &Child, name: &str) {
    let id = process.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}
