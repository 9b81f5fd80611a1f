//! KubeEdge's EdgeCore as a process, with edged, which registers the Node and keeps it ready, and DeviceTwin.
//!
//! Edged is a kubelet: it wants folders in `/var/lib` and `/var/log`, writes kernel settings, and asks a container
//! runtime. So it lives in a mount namespace where these are its own, beside a runtime without containers. That needs
//! root.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::TempDir;

use super::cloudcore::end_of;
use crate::gateway::free_port;
use crate::peers;
use crate::process::{Process, Usage, program};
use crate::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the process folders and kernel settings of its own, and becomes the program. Arguments: a folder for copies of
/// the settings, the program, its arguments.
const PRIVATE: &str = r#"
for folder in /var/lib /var/log; do mount -t tmpfs private "$folder"; done
mkdir -p /var/lib/kubelet/device-plugins /var/log/containers /var/log/pods
copies=$1; shift
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [ -e "/proc/sys/$name" ] || continue
    copy=$copies/$(echo "$name" | tr / .)
    cat "/proc/sys/$name" >"$copy"
    mount --bind "$copy" "/proc/sys/$name"
done
exec "$@"
"#;

/// EdgeCore, while it runs, and its files.
#[derive(Debug)]
pub struct EdgeCore {
    program: PathBuf,
    folder: TempDir,
    process: Option<Process>,
    /// How often it was started; each time has a log of its own.
    starts: usize,
    // Killed with it.
    _runtime: Process,
}

impl EdgeCore {
    /// Starts `program` as the node of that name, which has no certificate yet, under the cloud at `hub` and `join`.
    ///
    /// # Errors
    /// It does not start; the error has the end of its log.
    pub async fn start(
        program: &Path,
        node: &str,
        hub: SocketAddr,
        join: SocketAddr,
        token: &str,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = |name: &str| folder.path().join(name);
        for name in ["dmi", "kubelet", "settings"] {
            std::fs::create_dir(file(name))?;
        }
        let runtime = file("containers.sock");
        let endpoint = format!("unix://{}", runtime.display());
        let configuration = json!({
            "apiVersion": "edgecore.config.kubeedge.io/v1alpha2",
            "kind": "EdgeCore",
            "database": {"dataSource": file("edgecore.db")},
            "modules": {
                "edged": {
                    "enable": true,
                    "hostnameOverride": node,
                    "nodeIP": "127.0.0.1",
                    "rootDirectory": file("kubelet"),
                    "tailoredKubeletConfig": {
                        "address": "127.0.0.1",
                        "readOnlyPort": free_port()?.port(),
                        "staticPodPath": "",
                        "podLogsDir": file("pod-logs"),
                        "volumePluginDir": file("plugins"),
                        "cgroupsPerQOS": false,
                        // An empty list would be left out when EdgeCore writes the file again, and mean all.
                        "enforceNodeAllocatable": ["none"],
                        "makeIPTablesUtilChains": false,
                        "localStorageCapacityIsolation": false,
                        "oomScoreAdj": 0,
                        "containerRuntimeEndpoint": endpoint,
                        "imageServiceEndpoint": endpoint,
                    },
                },
                "edgeHub": {
                    "httpServer": format!("https://{join}"),
                    "token": token,
                    "tlsCaFile": file("rootCA.crt"),
                    "tlsCertFile": file("server.crt"),
                    "tlsPrivateKeyFile": file("server.key"),
                    "quic": {"enable": false},
                    "websocket": {"enable": true, "server": hub.to_string()},
                },
                "eventBus": {"enable": false},
                "metaManager": {"metaServer": {"enable": false}},
                "deviceTwin": {"dmiSockPath": file("dmi")},
                "edgeStream": {"enable": false},
            },
        });
        std::fs::write(file("edgecore.yaml"), configuration.to_string())?;
        let mut containers = Command::new(peers::kubernetes().await?.join("containers"));
        let containers = Process::start(containers.arg(&runtime), &file("containers.log"))?;
        let connect = async || Ok(UnixStream::connect(&runtime)?);
        eventually(PATIENCE, "the container runtime", connect).await?;
        let mut core = Self {
            program: program.into(),
            folder,
            process: None,
            starts: 0,
            _runtime: containers,
        };
        core.restart().await?;
        Ok(core)
    }

    /// Starts it again with what it has.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-euc", PRIVATE, "private"]);
        command.arg(self.folder.path().join("settings"));
        command.arg(&self.program).arg("--config").arg(self.configuration());
        // It would not run beside a kubelet.
        command.env("CHECK_EDGECORE_ENVIRONMENT", "false");
        self.launch(command).await
    }

    /// Starts our agent in its place, with its configuration, its certificate and its socket for mappers.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub async fn restart_as_agent(&mut self) -> Result<()> {
        // A socket that EdgeCore does not have, and that lies elsewhere by default.
        let socket = self.folder.path().join("api.sock");
        let file = std::fs::read_to_string(self.configuration())?;
        let ours = format!("{file}\nedgetwin: {{api: {{socket: {}}}}}\n", socket.display());
        let configuration = self.folder.path().join("both.yaml");
        std::fs::write(&configuration, ours)?;
        let mut command = Command::new(program("edge-agent")?);
        command.arg("--config").arg(configuration);
        self.launch(command).await
    }

    async fn launch(&mut self, mut command: Command) -> Result<()> {
        command.stdout(Stdio::null());
        self.starts += 1;
        let log = self.log_of(self.starts);
        let mut process = Process::start(&mut command, &log)?;
        let dmi = self.dmi();
        let up = eventually(PATIENCE, "the node", async || {
            if !process.is_running()? {
                return Ok(false);
            }
            Ok(UnixStream::connect(&dmi).map(|_| true)?)
        });
        match up.await.with_context(|| end_of(&log))? {
            true => self.process = Some(process),
            false => bail!("the edge's end ended: {}", end_of(&log)),
        }
        Ok(())
    }

    /// Asks it to stop, and waits.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn stop(&mut self) -> Result<()> {
        let process = self.process.take().context("EdgeCore does not run")?;
        process.stop(PATIENCE).await.map(drop)
    }

    /// Kills it without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        self.process.take().context("EdgeCore does not run")?.crash()
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self) -> Result<Usage> {
        self.process.as_ref().context("EdgeCore does not run")?.usage()
    }

    /// The socket that mappers register at.
    pub fn dmi(&self) -> PathBuf {
        self.folder.path().join("dmi/dmi.sock")
    }

    /// Its configuration file; it writes it again when it has joined.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("edgecore.yaml")
    }

    /// Its certificate, once it has joined.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// What it has logged, from all its starts.
    pub fn log(&self) -> String {
        let logs = (1..=self.starts).map(|start| std::fs::read_to_string(self.log_of(start)));
        logs.map(Result::unwrap_or_default).collect()
    }

    fn log_of(&self, start: usize) -> PathBuf {
        self.folder.path().join(format!("log.{start}"))
    }
}
