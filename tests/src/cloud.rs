//! A cloud: a control plane of its own, the CRDs, and one bridge or several, as they ship.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloud_bridge::identity::token::{TokenFiles, create};
use cloud_bridge::identity::{Authority, Files, Place};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::edge_node::Papers;
use crate::process::{Process, Usage, program};
use crate::wait::eventually;

/// How long anything in a cloud may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where bridges keep what they share.
const NAMESPACE: &str = "edgetwin";

/// A control plane with bridges.
#[derive(Debug)]
pub struct Cloud {
    /// The control plane.
    pub cluster: Cluster,
    bridges: BTreeMap<&'static str, Bridge>,
    /// Members of the bridges' configurations beside those that a test needs.
    configuration: Value,
    folder: TempDir,
}

/// One replica.
#[derive(Debug)]
struct Bridge {
    /// None after its end: it listens there again.
    process: Option<Process>,
    addresses: Addresses,
}

/// Where a bridge listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Nodes with certificates.
    pub hub: SocketAddr,
    /// Nodes that want one.
    pub join: SocketAddr,
    /// Metrics and readiness.
    pub metrics: SocketAddr,
}

impl Cloud {
    /// A control plane with the CRDs and one bridge, `first`.
    ///
    /// # Errors
    /// Something of it does not start.
    pub async fn start() -> Result<Self> {
        Self::with(Cluster::start().await?, json!({})).await
    }

    /// The same over that control plane; `configuration` goes into the bridges' files.
    ///
    /// # Errors
    /// Something of it does not start.
    pub async fn with(cluster: Cluster, configuration: Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        define(&cluster).await?;
        cluster.kubectl(&["create", "namespace", NAMESPACE]).await?;
        let mut cloud = Self { cluster, bridges: BTreeMap::new(), configuration, folder };
        cloud.start_bridge("first").await?;
        Ok(cloud)
    }

    /// Starts a replica of that name, or starts it again, where it listened before.
    ///
    /// # Errors
    /// It does not come up; the error has the end of its log.
    pub async fn start_bridge(&mut self, name: &'static str) -> Result<Addresses> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let listen = |of: fn(&Addresses) -> SocketAddr| match self.bridges.get(name) {
            Some(bridge) => of(&bridge.addresses).to_string(),
            None => "127.0.0.1:0".to_owned(),
        };
        let mut configuration = json!({
            "apiVersion": "edgetwin.io/v1",
            "kind": "BridgeConfig",
            "kubeconfig": self.cluster.kubeconfig(),
            "namespace": NAMESPACE,
            "replica": name,
            "hub": {"listen": listen(|all| all.hub)},
            "join": {"listen": listen(|all| all.join), "advertise": ["127.0.0.1"]},
            "metrics": {"listen": listen(|all| all.metrics)},
            "identity": {"dir": self.identity()},
            "log": {"format": "json", "level": "info,cloud_bridge=debug"},
        });
        merge(&mut configuration, &self.configuration);
        let file = folder.join("bridge.yaml");
        std::fs::write(&file, configuration.to_string())?;
        let log = folder.join("log");
        if let Some(bridge) = self.bridges.get_mut(name) {
            bridge.process = None;
        }
        let mut command = Command::new(program("cloud-bridge")?);
        let process = Process::start(command.arg("run").arg("--config").arg(&file), &log)?;
        let addresses = eventually(PATIENCE, "the bridge", async || ready(&log)).await;
        let addresses = addresses.with_context(|| end_of(&log))?;
        self.bridges.insert(name, Bridge { process: Some(process), addresses });
        Ok(addresses)
    }

    /// Where a replica listens.
    ///
    /// # Errors
    /// It was not started.
    pub fn addresses(&self, name: &str) -> Result<Addresses> {
        Ok(self.bridges.get(name).context("no such bridge")?.addresses)
    }

    /// Kills a replica without a word.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash_bridge(&mut self, name: &'static str) -> Result<Addresses> {
        self.taken(name)?.crash()?;
        self.addresses(name)
    }

    /// Asks a replica to stop and waits.
    ///
    /// # Errors
    /// It does not stop well.
    pub async fn stop_bridge(&mut self, name: &'static str) -> Result<Duration> {
        let (status, time) = self.taken(name)?.stop(PATIENCE).await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(time)
    }

    /// What a replica has used so far.
    ///
    /// # Errors
    /// It does not run.
    pub fn usage(&self, name: &str) -> Result<Usage> {
        let bridge = self.bridges.get(name).context("no such bridge")?;
        bridge.process.as_ref().context("it does not run")?.usage()
    }

    fn taken(&mut self, name: &str) -> Result<Process> {
        let bridge = self.bridges.get_mut(name).context("no such bridge")?;
        bridge.process.take().context("it does not run")
    }

    /// The log of a replica since its last start.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name).join("log")).unwrap_or_default()
    }

    /// One number of a replica's metrics.
    ///
    /// # Errors
    /// It does not tell it.
    pub async fn metric(&self, name: &str, metric: &str) -> Result<f64> {
        let page = self.page(name).await?;
        let line = page.lines().find(|line| line.split(' ').next() == Some(metric));
        let value = line.and_then(|line| line.split(' ').nth(1)).context("no such metric")?;
        Ok(value.parse()?)
    }

    async fn page(&self, name: &str) -> Result<String> {
        let address = self.addresses(name)?.metrics;
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok(page)
    }

    /// The folder with the bridges' certificate authority.
    pub fn identity(&self) -> PathBuf {
        self.folder.path().join("identity")
    }

    /// A token with which a node of that name joins once.
    ///
    /// # Errors
    /// There is no authority yet, or the token cannot be kept.
    pub async fn token(&self, node: &str) -> Result<String> {
        let place = Place::Files(Files::within(&self.identity()));
        let authority = Authority::open(&place).await?;
        let store = TokenFiles::within(&self.identity().join("tokens"));
        let (now, hour) = (jiff::Timestamp::now(), jiff::SignedDuration::from_hours(1));
        let ours = create(&store, node.parse()?, 1, now + hour, now).await?;
        Ok(ours.text(&authority.fingerprint()))
    }

    /// What a gateway's configuration says of this cloud, with a token for `node` in a file of the cloud's.
    ///
    /// # Errors
    /// No token can be made, or no bridge runs.
    pub async fn invitation(&self, node: &str) -> Result<edge_agent::config::Cloud> {
        let file = self.folder.path().join(format!("token-{node}"));
        std::fs::write(&file, self.token(node).await?)?;
        let Addresses { hub, join, .. } = self.addresses("first")?;
        Ok(edge_agent::config::Cloud {
            addresses: vec![hub.to_string()],
            join: Some(format!("https://{join}")),
            token_file: Some(file),
            ..Default::default()
        })
    }

    /// Papers of a node of that name, as the join server gives them.
    ///
    /// # Errors
    /// The authority is not there.
    pub fn papers(&self, node: &str) -> Result<Papers> {
        self.papers_for(&format!("system:node:{node}"))
    }

    /// Papers for that common name.
    ///
    /// # Errors
    /// The authority is not there.
    pub fn papers_for(&self, common_name: &str) -> Result<Papers> {
        Papers::by(&self.identity(), common_name)
    }

    /// Papers of a node of that name by somebody else's authority; the cloud's own is believed.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn stranger_papers(node: &str, authority: &CertificateDer<'static>) -> Result<Papers> {
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?;
        let common_name = format!("system:node:{node}");
        let papers = Papers::issue(certificate.der(), &key.serialize_der(), &common_name)?;
        Ok(Papers { authority: authority.clone(), ..papers })
    }

    /// Applies objects.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn apply(&self, objects: &[Value]) -> Result<()> {
        self.cluster.apply_objects(objects).await
    }

    /// One object of the namespace `default`.
    ///
    /// # Errors
    /// It is not there.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.cluster.get(kind, name).await
    }

    /// The reported value of a property, as the DeviceStatus has it.
    ///
    /// # Errors
    /// There is none.
    pub async fn reported(&self, device: &str, property: &str) -> Result<String> {
        let status = self.get("devicestatus", device).await?;
        reported_in(&status, property)
    }

    /// One object of that namespace.
    ///
    /// # Errors
    /// It is not there.
    pub async fn get_in(&self, namespace: &str, kind: &str, name: &str) -> Result<Value> {
        let arguments = ["get", kind, name, "--namespace", namespace, "--output", "json"];
        Ok(serde_json::from_str(&self.cluster.kubectl(&arguments).await?)?)
    }
}

/// The reported value of a property in a DeviceStatus.
///
/// # Errors
/// There is none.
pub fn reported_in(status: &Value, property: &str) -> Result<String> {
    let twins = status["status"]["twins"].as_array().context("no twins")?;
    let twin = twins.iter().find(|twin| twin["propertyName"] == property);
    let value = twin.and_then(|twin| twin["reported"]["value"].as_str());
    value.map(str::to_owned).with_context(|| format!("not in {status}"))
}

/// Applies the custom resource definitions of our bridge.
///
/// # Errors
/// It prints none, or the API server refuses them.
pub async fn define(cluster: &Cluster) -> Result<()> {
    let printed = Command::new(program("cloud-bridge")?).arg("crds").output()?;
    ensure!(printed.status.success(), "cloud-bridge crds: {}", printed.status);
    let crds = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    std::fs::write(crds.path(), printed.stdout)?;
    cluster.apply(crds.path()).await
}

/// A model of pumps: `speed` may be written, `level` is read only.
pub fn model(name: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"protocol": "modbus", "properties": [
            {"name": "speed", "type": "FLOAT", "accessMode": "ReadWrite"},
            {"name": "level", "type": "FLOAT", "accessMode": "ReadOnly"},
        ]},
    })
}

/// A device of that model on that node, of which nothing is desired.
pub fn device(name: &str, model: &str, node: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "deviceModelRef": {"name": model}, "nodeName": node,
            "protocol": {"protocolName": "modbus", "configData": {"ip": "127.0.0.1"}},
            "properties": [
                {"name": "speed", "visitors": {"protocolName": "modbus", "configData": {"register": "HoldingRegister", "offset": 0}}},
                {"name": "level", "visitors": {"protocolName": "modbus", "configData": {"register": "InputRegister", "offset": 0}}},
            ],
        },
    })
}

/// The same with a value desired of `speed`.
pub fn desiring(mut device: Value, speed: &str) -> Value {
    device["spec"]["properties"][0]["desired"] = json!({"value": speed});
    device
}

fn ready(log: &Path) -> Result<Addresses> {
    let text = std::fs::read_to_string(log)?;
    let line = text.lines().find(|line| line.contains("\"bridge ready\"")).context("not ready")?;
    let fields: Value = serde_json::from_str(line)?;
    let address = |name: &str| -> Result<SocketAddr> {
        Ok(fields["fields"][name].as_str().context("no address")?.parse()?)
    };
    Ok(Addresses { hub: address("hub")?, join: address("join")?, metrics: address("metrics")? })
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Puts the members of `more` into `of`.
fn merge(of: &mut Value, more: &Value) {
    match (of, more) {
        (Value::Object(of), Value::Object(more)) => {
            for (key, value) in more {
                merge(of.entry(key).or_insert(Value::Null), value);
            }
        }
        (of, more) => *of = more.clone(),
    }
}
