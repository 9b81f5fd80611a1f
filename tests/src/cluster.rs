//! A Kubernetes control plane of its own for a test: etcd (Debian's package `etcd-server`), kube-apiserver, and where
//! a test wants them kube-controller-manager and kube-scheduler, as processes with all their files in a temporary
//! folder. Any number of them run side by side.

mod metrics;
mod papers;
mod programs;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use self::papers::Papers;
use self::programs::Programs;
use crate::peers;
use crate::process::{Process, Usage};
use crate::wait::eventually;

/// How long one of its programs may take for what it does: seconds, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often another port is tried where one was taken before the API server had it.
const TRIES: usize = 3;

/// A running control plane. Dropping it kills all of it, the last started first.
#[derive(Debug)]
pub struct Cluster {
    scheduler: Option<Process>,
    controllers: Option<Process>,
    api_server: Option<Process>,
    etcd: Process,
    programs: Programs,
    papers: Papers,
    store: SocketAddr,
    address: SocketAddr,
    kubeconfig: PathBuf,
    ready_after: Duration,
    folder: TempDir,
}

impl Cluster {
    /// Starts etcd and an API server, and waits until that one is ready, with the namespace `default` in it.
    ///
    /// Without controllers there is nobody who makes default service accounts, binds or ends pods, collects what
    /// is left without an owner, empties a namespace before it goes, or watches nodes.
    ///
    /// # Errors
    /// The programs cannot be built, or one of them does not start; the error has the end of its log.
    pub async fn start() -> Result<Self> {
        let programs = Programs { folder: peers::kubernetes().await? };
        let folder = tempfile::tempdir()?;
        let papers = Papers::write(folder.path())?;
        let start = Instant::now();
        let (etcd, store) = programs.etcd(folder.path()).await?;
        let mut tries = 0;
        let (api_server, address) = loop {
            let address = programs::quiet_port()?;
            tries += 1;
            match programs.api_server(&papers, store, address).await {
                Ok(process) => break (process, address),
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
            }
        };
        let mut cluster = Self {
            scheduler: None,
            controllers: None,
            api_server: Some(api_server),
            etcd,
            programs,
            kubeconfig: papers.administrator(address)?,
            papers,
            store,
            address,
            ready_after: Duration::ZERO,
            folder,
        };
        cluster.ready().await?;
        cluster.ready_after = start.elapsed();
        Ok(cluster)
    }

    /// The same with controllers and a scheduler, which take about as much memory again.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn with_controllers(self) -> Result<Self> {
        self.with_controllers_that(&[]).await
    }

    /// The same with further `flags` of kube-controller-manager, for example `--node-monitor-grace-period=4s`.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn with_controllers_that(mut self, flags: &[&str]) -> Result<Self> {
        self.controllers =
            Some(self.programs.controllers(&self.papers, &self.kubeconfig, flags)?);
        self.scheduler = Some(self.programs.scheduler(&self.papers, &self.kubeconfig)?);
        // One of the controllers makes it.
        let account = ["get", "serviceaccount", "default"];
        eventually(PATIENCE, "an account", || self.kubectl(&account))
            .await
            .with_context(|| programs::log_end(self.folder.path(), "kube-controller-manager"))?;
        Ok(self)
    }

    /// How long it took from the start of etcd until the API server was ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Where the API server serves HTTPS; its certificate is for this address and for `localhost`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of the authority that signed the API server's, and that signs those of users.
    pub fn authority(&self) -> PathBuf {
        self.papers.authority()
    }

    /// A kubeconfig for an administrator, who has a token and may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig for a user with a certificate, who may do what applied roles allow the name or the group.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn user(&self, name: &str, group: Option<&str>) -> Result<PathBuf> {
        self.papers.user(self.address, name, group)
    }

    /// A kubeconfig for a service account that is there, with a token of an hour: as a program in a pod has it.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace]).await?;
        self.papers.bearer(self.address, &format!("{namespace}.{name}"), token.trim())
    }

    /// A client of the administrator's, for many requests or watches: kubectl is a process for each.
    ///
    /// # Errors
    /// The kubeconfig cannot be read.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.kubeconfig).await
    }

    /// Runs the real kubectl as the administrator to its end; gives what it printed.
    ///
    /// # Errors
    /// It failed; the error has what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(&self.kubeconfig, arguments).await
    }

    /// Runs kubectl as the user of that kubeconfig.
    ///
    /// # Errors
    /// It failed; the error has what it said.
    pub async fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.kubectl());
        command.arg("--kubeconfig").arg(kubeconfig);
        command.arg("--cache-dir").arg(self.folder.path().join("kubectl"));
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await;
        let output = output.with_context(|| format!("kubectl {arguments:?} takes too long"))?;
        let output = output.context("kubectl")?;
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Applies a file, or all files of a folder and those in it, and waits until resources that they define are served.
    ///
    /// # Errors
    /// The API server refuses some of it.
    pub async fn apply(&self, path: &Path) -> Result<()> {
        let path = path.to_str().context("a path in UTF-8")?;
        let applied = self.kubectl(&["apply", "--recursive", "--filename", path]).await?;
        let names = applied.lines().filter_map(|line| line.split_whitespace().next());
        let defined: Vec<_> =
            names.filter(|name| name.starts_with("customresourcedefinition")).collect();
        if !defined.is_empty() {
            let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
            self.kubectl(&[&wait[..], &defined].concat()).await?;
        }
        Ok(())
    }

    /// Applies objects.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn apply_objects(&self, objects: &[Json]) -> Result<()> {
        let file = tempfile::Builder::new().suffix(".json").tempfile()?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(file.path(), list.to_string())?;
        self.apply(file.path()).await
    }

    /// One object of the namespace `default`, or of none.
    ///
    /// # Errors
    /// It is not there.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Json> {
        let text = self.kubectl(&["get", kind, name, "--output", "json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Kills the API server without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash_api_server(&mut self) -> Result<()> {
        self.api_server.take().context("the API server does not run")?.crash()
    }

    /// Starts the API server again at the same address, and waits until it is ready.
    ///
    /// # Errors
    /// It runs, or it does not start.
    pub async fn start_api_server(&mut self) -> Result<()> {
        ensure!(self.api_server.is_none(), "the API server runs");
        let process = self.programs.api_server(&self.papers, self.store, self.address).await?;
        self.api_server = Some(process);
        self.ready().await
    }

    /// What the API server has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self) -> Result<Usage> {
        self.api_server.as_ref().context("the API server does not run")?.usage()
    }

    /// What each of its running programs has used so far, by name.
    ///
    /// # Errors
    /// One of them has ended by itself.
    pub fn usage_of_all(&self) -> Result<Vec<(&'static str, Usage)>> {
        let all = [
            ("etcd", Some(&self.etcd)),
            ("kube-apiserver", self.api_server.as_ref()),
            ("kube-controller-manager", self.controllers.as_ref()),
            ("kube-scheduler", self.scheduler.as_ref()),
        ];
        let running = all.into_iter().filter_map(|(name, process)| Some((name, process?)));
        running.map(|(name, process)| Ok((name, process.usage()?))).collect()
    }

    /// How many requests of that verb (`POST`, `PUT`, `PATCH`, `APPLY`, `DELETE`, `GET`, `LIST`, `WATCH`) for that
    /// resource the API server has answered since its start, whoever asked and whatever the answer. A
    /// subresource is named as in a role: `devices` leaves out what `devices/status` counts.
    ///
    /// # Errors
    /// The API server does not tell.
    pub async fn requests(&self, verb: &str, resource: &str) -> Result<u64> {
        metrics::requests(&self.kubectl(&["get", "--raw", "/metrics"]).await?, verb, resource)
    }

    /// The log of one of its programs since its last start, empty if it was not started: `etcd`, `kube-apiserver`,
    /// `kube-controller-manager`, `kube-scheduler`.
    pub fn log(&self, program: &str) -> String {
        programs::log(self.folder.path(), program)
    }

    async fn ready(&self) -> Result<()> {
        let ready = eventually(PATIENCE, "the API server", || self.is_ready());
        let ready = ready.await;
        ready.with_context(|| programs::log_end(self.folder.path(), "kube-apiserver"))
    }

    async fn is_ready(&self) -> Result<()> {
        self.kubectl(&["get", "--raw", "/readyz"]).await?;
        self.kubectl(&["get", "namespace", "default"]).await.map(drop)
    }
}

/// A client of the user of that kubeconfig.
///
/// # Errors
/// It cannot be read.
pub async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let options = kube::config::KubeConfigOptions::default();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(kube::Client::try_from(config)?)
}
