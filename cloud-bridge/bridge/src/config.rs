//! The bridge's configuration: one file, one kind, a default for every key.
//!
//! ```yaml
//! apiVersion: edgetwin.io/v1
//! kind: BridgeConfig
//! hub: {listen: "0.0.0.0:10000"}
//! join: {listen: "0.0.0.0:10002", advertise: [bridge.example.com]}
//! ```
//!
//! An unknown key is an error that names its line and the key that was probably meant. KubeEdge's `cloudcore.yaml` is
//! read, too ([`File`]). Nothing listens beyond loopback until it is told to.

mod cloudcore;
mod file;
mod identity;
mod octets;
mod sections;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub use settings::Span;

pub use file::{Dialect, File};
pub use identity::{Identity, IdentityFiles};
pub use octets::Octets;
pub use sections::{Hub, JoinServer, Log, LogFormat, MetricsServer, Status, Webhook};

use crate::identity::ServerNames;

/// The one `apiVersion` that is read.
pub const API_VERSION: &str = "edgetwin.io/v1";
/// The one `kind` that is read.
pub const KIND: &str = "BridgeConfig";
/// Where the bridge looks when nobody names a file.
pub const DEFAULT_PATH: &str = "/etc/edgetwin/bridge.yaml";

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BridgeConfig {
    /// Always `edgetwin.io/v1`.
    pub api_version: String,
    /// Always `BridgeConfig`.
    pub kind: String,
    /// The bridge's own namespace: of its Secrets, its tokens and its Leases. Default `edgetwin`.
    pub namespace: String,
    /// This replica's name, which no other has. Default: the host's name, which in a cluster is the pod's.
    pub replica: String,
    /// How the API server is reached. Default: as the pod is told; else `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Its URL, in place of the one in that file.
    pub api_server: Option<String>,
    /// Where nodes' links come.
    pub hub: Hub,
    /// Where machines become nodes.
    pub join: JoinServer,
    /// Where keys and certificates lie.
    pub identity: Identity,
    /// How fast DeviceStatuses are written.
    pub status: Status,
    /// Where the API server asks whether it may take an object.
    pub webhook: Webhook,
    /// Where Prometheus asks.
    pub metrics: MetricsServer,
    /// What the bridge says about itself.
    pub log: Log,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        Self {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            namespace: "edgetwin".into(),
            replica: if host.is_empty() { "bridge".into() } else { host.into() },
            kubeconfig: None,
            api_server: None,
            hub: Hub::default(),
            join: JoinServer::default(),
            identity: Identity::default(),
            status: Status::default(),
            webhook: Webhook::default(),
            metrics: MetricsServer::default(),
            log: Log::default(),
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(
        "cannot read {path}: {source}; name another file with --config, or leave it out for the defaults"
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It says something that is not understood; with file, line and column where they are known.
    #[error("{path}: {message}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, where, and what to write instead.
        message: String,
    },
}

impl BridgeConfig {
    /// Reads the text of a file, of ours or of KubeEdge's.
    ///
    /// # Errors
    /// See [`File::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        File::parse(text).map(|file| file.config)
    }

    /// All of it as a file would say it.
    ///
    /// # Errors
    /// The library cannot write it.
    pub fn to_yaml(&self) -> Result<String, String> {
        serde_saphyr::to_string(self).map_err(|error| error.to_string())
    }

    /// What the server's certificate must be good for: what is advertised, else loopback; and the name by which the API
    /// server asks the webhook.
    pub fn server_names(&self) -> ServerNames {
        let mut names = ServerNames::default();
        let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let advertised = match self.join.advertise.as_slice() {
            [] => &loopback[..],
            advertised => advertised,
        };
        for name in advertised {
            match name.parse() {
                Ok(ip) => names.ips.insert(ip),
                Err(_) => names.dns.insert(name.clone()),
            };
        }
        if self.webhook.listen.is_some() {
            names.dns.insert(format!("{}.{}.svc", self.webhook.service, self.namespace));
        }
        names
    }

    fn check(&self) -> Result<(), String> {
        let is = |key: &str, found: &str, wanted: &str| {
            if found == wanted {
                return Ok(());
            }
            Err(format!("{key} = \"{found}\": not read here; write {wanted}"))
        };
        is("apiVersion", &self.api_version, API_VERSION)?;
        is("kind", &self.kind, KIND)?;
        let named = |key: &str, name: &str| {
            if name.parse::<crate::identity::NodeName>().is_ok() {
                return Ok(());
            }
            Err(format!(
                "{key} = \"{name}\": no name for Kubernetes; use lower-case letters, digits and '-'"
            ))
        };
        named("namespace", &self.namespace)?;
        named("replica", &self.replica.to_ascii_lowercase())?;
        named("webhook.service", &self.webhook.service)?;
        let positive = |key: &str, span: Span| {
            if *span == Duration::ZERO {
                return Err(format!("{key} = \"0s\": too short; write a length such as \"10s\""));
            }
            Ok(())
        };
        positive("hub.writeTimeout", self.hub.write_timeout)?;
        positive("hub.keepalive", self.hub.keepalive)?;
        positive("join.certificateLife", self.join.certificate_life)?;
        self.hub.check()?;
        self.join.check()?;
        self.status.check()?;
        self.identity.check()
    }
}
