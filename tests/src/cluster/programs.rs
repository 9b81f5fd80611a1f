//! The programs of a control plane, with the flags that a test needs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::PATIENCE;
use super::papers::Papers;
use crate::gateway::free_port;
use crate::process::Process;
use crate::wait::eventually;

/// How much of a log an error ends with, in lines.
const TAIL: usize = 20;

/// Where the programs are that `tests/peers/prepare kubernetes` makes.
#[derive(Debug)]
pub(super) struct Programs {
    /// The folder with all of them.
    pub(super) folder: PathBuf,
}

impl Programs {
    /// Where kubectl is.
    pub(super) fn kubectl(&self) -> PathBuf {
        self.folder.join("kubectl")
    }

    /// Starts etcd on ports that the kernel gives. It syncs nothing: what it must survive here is `kill -9`.
    pub(super) async fn etcd(&self, folder: &Path) -> Result<(Process, SocketAddr)> {
        // The two addresses tell its two ports apart; nobody ever comes to the second.
        let (clients, peers) = ("http://127.0.0.1:0", "http://127.0.0.2:0");
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder.join("etcd"));
        command.args(["--listen-client-urls", clients, "--advertise-client-urls", clients]);
        command.args(["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        command.args(["--unsafe-no-fsync", "--enable-grpc-gateway=false"]);
        command.args(["--logger", "zap", "--log-level", "warn"]);
        let mut process = start(&mut command, folder, "etcd").context("install etcd-server")?;
        let address = listens(&mut process, folder, "etcd", Ipv4Addr::LOCALHOST).await?;
        Ok((process, address))
    }

    /// Starts kube-apiserver at `address`, and waits until it listens there.
    pub(super) async fn api_server(
        &self,
        papers: &Papers,
        etcd: SocketAddr,
        address: SocketAddr,
    ) -> Result<Process> {
        let folder = papers.folder();
        let (certificate, key) = papers.server();
        let mut command = Command::new(self.folder.join("kube-apiserver"));
        let flags = [
            ("etcd-servers", format!("http://{etcd}")),
            ("bind-address", address.ip().to_string()),
            ("secure-port", address.port().to_string()),
            // No pod needs a way to it, and a machine without a network has no other address.
            ("advertise-address", address.ip().to_string()),
            ("endpoint-reconciler-type", "none".into()),
            ("service-cluster-ip-range", "10.0.0.0/24".into()),
            ("authorization-mode", "Node,RBAC".into()),
            ("allow-privileged", "true".into()),
            ("service-account-issuer", "https://kubernetes.default.svc".into()),
        ];
        command.args(flags.map(|(flag, value)| format!("--{flag}={value}")));
        command.arg("--cert-dir").arg(folder.join("certificates"));
        command.arg("--tls-cert-file").arg(certificate).arg("--tls-private-key-file").arg(key);
        command.arg("--client-ca-file").arg(papers.authority());
        command.arg("--token-auth-file").arg(papers.tokens());
        let (public, private) = papers.accounts();
        command.arg("--service-account-key-file").arg(public);
        command.arg("--service-account-signing-key-file").arg(private);
        let mut process = start(&mut command, folder, "kube-apiserver")?;
        listens(&mut process, folder, "kube-apiserver", Ipv4Addr::LOCALHOST).await?;
        Ok(process)
    }

    /// Starts kube-controller-manager with further `flags`. It serves nothing.
    pub(super) fn controllers(
        &self,
        papers: &Papers,
        kubeconfig: &Path,
        flags: &[&str],
    ) -> Result<Process> {
        let mut command = Command::new(self.folder.join("kube-controller-manager"));
        command.arg("--kubeconfig").arg(kubeconfig);
        command.args(["--leader-elect=false", "--secure-port=0"]);
        command.arg("--use-service-account-credentials");
        command.arg("--service-account-private-key-file").arg(papers.accounts().1);
        command.arg("--root-ca-file").arg(papers.authority());
        start(command.args(flags), papers.folder(), "kube-controller-manager")
    }

    /// Starts kube-scheduler. It serves nothing.
    pub(super) fn scheduler(&self, papers: &Papers, kubeconfig: &Path) -> Result<Process> {
        let mut command = Command::new(self.folder.join("kube-scheduler"));
        command.arg("--kubeconfig").arg(kubeconfig);
        command.args(["--leader-elect=false", "--secure-port=0"]);
        start(&mut command, papers.folder(), "kube-scheduler")
    }
}

/// What a program has logged into `folder`.
pub(super) fn log(folder: &Path, program: &str) -> String {
    fs::read_to_string(file(folder, program)).unwrap_or_default()
}

/// The end of what a program has logged into `folder`.
pub(super) fn log_end(folder: &Path, program: &str) -> String {
    let log = log(folder, program);
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// A loopback address that is free now, of a port that the kernel gives to no connection where there are such.
///
/// A client that comes again and again while an API server is down could be given the server's own port, connect to
/// itself, and keep the server from its port.
pub(super) fn quiet_port() -> Result<SocketAddr> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let given: u16 = range.split_whitespace().next().context("no port range")?.parse()?;
    for _ in 0..100 {
        let port = rand::random_range(10_000..given.max(20_000));
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    free_port()
}

fn file(folder: &Path, program: &str) -> PathBuf {
    folder.join(format!("{program}.log"))
}

fn start(command: &mut Command, folder: &Path, program: &str) -> Result<Process> {
    Process::start(command.stdout(Stdio::null()), &file(folder, program))
}

/// Waits until the process itself, and no other one, listens on `ip`.
async fn listens(
    process: &mut Process,
    folder: &Path,
    program: &str,
    ip: Ipv4Addr,
) -> Result<SocketAddr> {
    let what = format!("a port of {program}");
    let found = eventually(PATIENCE, &what, async || {
        if !process.is_running()? {
            return Ok(None);
        }
        let found = process.listening()?.into_iter().find(|address| address.ip() == ip);
        found.map(Some).context("it does not listen")
    });
    if let Some(address) = found.await? {
        return Ok(address);
    }
    bail!("{program} ended: {}", log_end(folder, program))
}
