//! One gateway for a test: a temporary folder with manifests, and the agent as a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use edge_agent::api::view::DeviceView;
use tempfile::TempDir;

use crate::http;
use crate::process::{Process, Usage, program};
use crate::wait::{PATIENCE, eventually};

/// The folder, and the agent while it runs.
#[derive(Debug)]
pub struct Gateway {
    folder: TempDir,
    mqtt: Option<SocketAddr>,
    agent: Option<Process>,
}

impl Gateway {
    /// A gateway without devices; the agent does not run yet. `mqtt`: whether it gets an embedded broker.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(mqtt: bool) -> Result<Self> {
        Self::with_store(mqtt, None, "")
    }

    /// A gateway without devices, whose agent is a client of the broker at `broker`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn beside(broker: SocketAddr) -> Result<Self> {
        let gateway = Self::new(false)?;
        let file = gateway.folder().join("agent.yaml");
        let external = format!("{{mode: external, external: {{url: \"tcp://{broker}\"}}}}");
        fs::write(&file, fs::read_to_string(&file)?.replace("{mode: off}", &external))?;
        Ok(gateway)
    }

    /// A gateway whose agent belongs, as `node`, to the cloud that serves nodes at `hub` and gives certificates for `token`
    /// at `join`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn joined(node: &str, hub: SocketAddr, join: SocketAddr, token: &str) -> Result<Self> {
        let gateway = Self::new(false)?;
        let dir = gateway.folder();
        fs::write(dir.join("token"), token)?;
        let cloud = format!(
            "cloud: {{addresses: [\"{hub}\"], join: \"https://{join}\", tokenFile: {0}/token, \
             ca: {0}/ca.crt, cert: {0}/node.crt, key: {0}/node.key}}\n",
            dir.display()
        );
        let file = dir.join("agent.yaml");
        let named = fs::read_to_string(&file)?.replace("name: bench", &format!("name: {node}"));
        fs::write(&file, named + &cloud)?;
        Ok(gateway)
    }

    /// A gateway without devices with its store in another place, and with `keys` in the configuration's `store`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn with_store(mqtt: bool, store: Option<&Path>, keys: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = store.map_or_else(|| folder.path().join("store"), Path::to_path_buf);
        fs::create_dir(folder.path().join("manifests"))?;
        let mqtt = if mqtt { Some(free_port()?) } else { None };
        let broker = match mqtt {
            Some(address) => format!("{{mode: embedded, listen: \"{address}\"}}"),
            None => "{mode: off}".into(),
        };
        let dir = folder.path().display();
        fs::write(
            folder.path().join("agent.yaml"),
            format!(
                "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nnode: {{name: bench}}\n\
                 store: {{dir: {}, {keys}}}\nmanifests: {{dir: {dir}/manifests}}\n\
                 devices: {{dmiSocket: {dir}/dmi.sock}}\napi: {{socket: {dir}/api.sock}}\nmqtt: {broker}\n",
                store.display()
            ),
        )?;
        Ok(Self { folder, mqtt, agent: None })
    }

    /// Writes a manifest file into the watched folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn manifest(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join("manifests").join(name), text)?)
    }

    /// Starts the agent, on processor `cpu` alone if one is named, and waits until its DMI socket answers.
    /// Tells how long that took.
    ///
    /// # Errors
    /// It does not start; the error ends with what it printed.
    pub async fn start(&mut self, cpu: Option<usize>) -> Result<Duration> {
        let agent = program("edge-agent")?;
        let mut command = match cpu {
            Some(cpu) => {
                let mut pinned = Command::new("taskset");
                pinned.arg("-c").arg(cpu.to_string()).arg(agent);
                pinned
            }
            None => Command::new(agent),
        };
        command.arg("--config").arg(self.folder.path().join("agent.yaml"));
        let log = self.folder.path().join("agent.log");
        let start = Instant::now();
        self.agent = Some(Process::start(&mut command, &log)?);
        let dmi = self.dmi();
        let connect = async || Ok(UnixStream::connect(&dmi)?);
        eventually(PATIENCE, "the agent's DMI socket", connect)
            .await
            .with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
        Ok(start.elapsed())
    }

    /// Starts the agent where it must not start: its exit code, and what it said.
    ///
    /// # Errors
    /// It runs.
    pub async fn refused(&self) -> Result<(Option<i32>, String)> {
        let log = self.folder.path().join("agent.log");
        let mut command = Command::new(program("edge-agent")?);
        command.arg("--config").arg(self.folder.path().join("agent.yaml"));
        let agent = Process::start(&mut command, &log)?;
        let status = agent.ended(PATIENCE).await?;
        Ok((status.code(), fs::read_to_string(&log)?))
    }

    /// What the agent has logged since its start.
    ///
    /// # Errors
    /// It was never started.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("agent.log"))?)
    }

    /// SIGTERM, then its end within `patience`: how it ended, and after how long.
    ///
    /// # Errors
    /// It does not run, or not end.
    pub async fn stop(&mut self, patience: Duration) -> Result<(ExitStatus, Duration)> {
        self.agent.take().context("the agent does not run")?.stop(patience).await
    }

    /// What the agent has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self) -> Result<Usage> {
        self.agent.as_ref().context("the agent does not run")?.usage()
    }

    /// The running agent.
    ///
    /// # Errors
    /// It does not run.
    pub fn agent(&mut self) -> Result<&mut Process> {
        self.agent.as_mut().context("the agent does not run")
    }

    /// Kills the agent without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        self.agent.take().context("the agent does not run")?.crash()
    }

    /// Every device with its twin, once the API answers.
    ///
    /// # Errors
    /// It does not within the usual time.
    pub async fn devices(&self) -> Result<Vec<DeviceView>> {
        eventually(PATIENCE, "the agent's API", async || http::devices(&self.api()).await).await
    }

    /// Waits until `count` devices are there.
    ///
    /// # Errors
    /// They are not within the usual time.
    pub async fn loaded(&self, count: usize) -> Result<()> {
        eventually(PATIENCE, "devices of the manifests", async || {
            let found = http::devices(&self.api()).await?.len();
            ensure!(found == count, "{found} of {count}");
            Ok(())
        })
        .await
    }

    /// The DMI socket.
    pub fn dmi(&self) -> PathBuf {
        self.folder.path().join("dmi.sock")
    }

    /// The local API's socket.
    pub fn api(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// Where the embedded broker listens.
    pub fn mqtt(&self) -> Option<SocketAddr> {
        self.mqtt
    }

    /// The temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A loopback address that was free a moment ago, for programs that cannot tell which port they took.
///
/// # Errors
/// No port is free.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A DeviceModel `m` with `properties` INT properties `p0`, `p1`, …, and `devices` Devices `d0`, … of protocol
/// `bench`, all in namespace `bench`.
pub fn plain_devices(devices: usize, properties: usize) -> String {
    let mut text = String::from(
        "apiVersion: devices.kubeedge.io/v1beta1\nkind: DeviceModel\nmetadata: {name: m, namespace: bench}\nspec:\n  properties:\n",
    );
    for property in 0..properties {
        text += &format!("  - {{name: p{property}, type: INT, accessMode: ReadWrite}}\n");
    }
    for device in 0..devices {
        text += &format!(
            "---\napiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {{name: d{device}, namespace: bench}}\nspec:\n  deviceModelRef: {{name: m}}\n  protocol: {{protocolName: bench}}\n  properties:\n"
        );
        for property in 0..properties {
            text += &format!("  - {{name: p{property}, reportToCloud: true}}\n");
        }
    }
    text
}
