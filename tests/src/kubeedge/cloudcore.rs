//! KubeEdge's CloudCore as a process: on loopback, with the modules that nodes and devices need and no other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::gateway::free_port;
use crate::process::{Process, Usage, program};
use crate::wait::eventually;

/// It sleeps up to 10 s before it does anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// CloudCore, while it runs, and its files.
#[derive(Debug)]
pub struct CloudCore {
    program: PathBuf,
    folder: TempDir,
    hub: SocketAddr,
    join: SocketAddr,
    process: Option<Process>,
    /// How often it was started; each time has a log of its own.
    starts: usize,
}

impl CloudCore {
    /// Starts `program` before that control plane, which has the custom resources.
    ///
    /// # Errors
    /// It does not start; the error has the end of its log.
    pub async fn start(program: &Path, cluster: &Cluster) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (hub, join) = (free_port()?, free_port()?);
        let file = |name: &str| folder.path().join(name);
        let configuration = json!({
            "apiVersion": "cloudcore.config.kubeedge.io/v1alpha1",
            "kind": "CloudCore",
            "commonConfig": {"monitorServer": {"bindAddress": free_port()?.to_string()}},
            "kubeAPIConfig": {"kubeConfig": cluster.kubeconfig()},
            "modules": {
                "cloudHub": {
                    "advertiseAddress": ["127.0.0.1"],
                    "tlsCAFile": file("rootCA.crt"),
                    "tlsCAKeyFile": file("rootCA.key"),
                    "tlsCertFile": file("server.crt"),
                    "tlsPrivateKeyFile": file("server.key"),
                    "unixsocket": {"enable": false},
                    "quic": {"enable": false},
                    "websocket": {"enable": true, "address": hub.ip(), "port": hub.port()},
                    "https": {"enable": true, "address": join.ip(), "port": join.port()},
                },
                // It would change the rules of this machine's firewall.
                "iptablesManager": {"enable": false},
            },
        });
        std::fs::write(file("cloudcore.yaml"), configuration.to_string())?;
        let mut core =
            Self { program: program.into(), folder, hub, join, process: None, starts: 0 };
        core.restart().await?;
        Ok(core)
    }

    /// Starts it again, where it listened before.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.launch(Command::new(&self.program)).await
    }

    /// Starts our bridge in its place, with its configuration and its keys.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub async fn restart_as_bridge(&mut self) -> Result<()> {
        let mut bridge = Command::new(program("cloud-bridge")?);
        bridge.arg("run");
        self.launch(bridge).await
    }

    async fn launch(&mut self, mut command: Command) -> Result<()> {
        command.arg("--config").arg(self.configuration()).stdout(Stdio::null());
        self.starts += 1;
        let log = self.log_of(self.starts);
        let mut process = Process::start(&mut command, &log)?;
        let up = eventually(PATIENCE, "the cloud", async || {
            if !process.is_running()? {
                return Ok(false);
            }
            let ports = process.listening()?;
            let all = [self.hub, self.join].iter().all(|port| ports.contains(port));
            all.then_some(true).context("it does not listen")
        });
        match up.await.with_context(|| end_of(&log))? {
            true => self.process = Some(process),
            false => bail!("the cloud's end ended: {}", end_of(&log)),
        }
        Ok(())
    }

    /// Kills it without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        self.process.take().context("CloudCore does not run")?.crash()
    }

    /// Asks it to stop, and waits.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(&mut self) -> Result<()> {
        let process = self.process.take().context("CloudCore does not run")?;
        process.stop(PATIENCE).await.map(drop)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self) -> Result<Usage> {
        self.process.as_ref().context("CloudCore does not run")?.usage()
    }

    /// Where nodes with certificates connect.
    pub fn hub(&self) -> SocketAddr {
        self.hub
    }

    /// Where nodes get their certificates.
    pub fn join(&self) -> SocketAddr {
        self.join
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("cloudcore.yaml")
    }

    /// What it has logged, from all its starts.
    pub fn log(&self) -> String {
        let logs = (1..=self.starts).map(|start| std::fs::read_to_string(self.log_of(start)));
        logs.map(Result::unwrap_or_default).collect()
    }

    fn log_of(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("log.{start}"))
    }

    /// The token that it keeps in the cluster for nodes.
    ///
    /// # Errors
    /// There is none.
    pub async fn token(&self, cluster: &Cluster) -> Result<String> {
        let template = "--template={{.data.tokendata | base64decode}}";
        let secret = ["get", "secret", "tokensecret", "--namespace", "kubeedge", template];
        eventually(PATIENCE, "CloudCore's token", || cluster.kubectl(&secret)).await
    }
}

/// The last lines of a log.
pub(super) fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
