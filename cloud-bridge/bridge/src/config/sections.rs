//! What each part of the bridge can be told.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Octets, Span};
use crate::join::KubeEdgeTokens;

/// `hub`: where nodes' links come, with TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hub {
    /// Default `127.0.0.1:10000`.
    pub listen: SocketAddr,
    /// The most octets of one message. Default 32 MiB.
    pub max_message: Octets,
    /// Nodes that may be connected to one replica. Default 5000.
    pub nodes: usize,
    /// How long a node may take to read one message. Default 15 s.
    pub write_timeout: Span,
    /// How long a node may be silent; it speaks every 15 s. Default 30 s.
    pub keepalive: Span,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 10000)),
            max_message: Octets(32 << 20),
            nodes: 5000,
            write_timeout: Span::secs(15),
            keepalive: Span::secs(30),
        }
    }
}

impl Hub {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.nodes == 0 {
            return Err("hub.nodes = 0: too few; write 1 or more".into());
        }
        // One report of a device of usual size.
        if self.max_message < Octets(64 << 10) {
            return Err(format!(
                "hub.maxMessage = \"{}\": too small; write 64Ki or more",
                self.max_message
            ));
        }
        Ok(())
    }
}

/// `join`: where machines become nodes, over HTTPS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JoinServer {
    /// Default `127.0.0.1:10002`; `null`: nobody can join or renew a certificate.
    pub listen: Option<SocketAddr>,
    /// Names and addresses under which nodes reach the bridge: its certificate is good for them. Default: loopback's.
    pub advertise: Vec<String>,
    /// Whether tokens of KubeEdge's form are taken. Default false: they are good for every name, for any number of nodes,
    /// and cannot be revoked.
    pub kubeedge_tokens: bool,
    /// Whether they are taken even for the name of a node that exists: whoever has one can become that node. Default false.
    pub kubeedge_tokens_for_known_nodes: bool,
    /// How long a node's certificate lives; nodes renew it before it ends. Default a year.
    pub certificate_life: Span,
}

impl Default for JoinServer {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 10002))),
            advertise: Vec::new(),
            kubeedge_tokens: false,
            kubeedge_tokens_for_known_nodes: false,
            certificate_life: Span::secs(365 * 24 * 3600),
        }
    }
}

impl JoinServer {
    /// Which tokens of KubeEdge's form are taken.
    pub fn tokens_of_kubeedge(&self) -> KubeEdgeTokens {
        match (self.kubeedge_tokens, self.kubeedge_tokens_for_known_nodes) {
            (false, _) => KubeEdgeTokens::Never,
            (true, false) => KubeEdgeTokens::ForNewNodes,
            (true, true) => KubeEdgeTokens::ForAllNodes,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for name in &self.advertise {
            let is_ip = name.parse::<std::net::IpAddr>().is_ok();
            let dns = name.strip_prefix("*.").unwrap_or(name).to_ascii_lowercase();
            if !is_ip && dns.parse::<crate::identity::NodeName>().is_err() {
                return Err(format!(
                    "join.advertise: \"{name}\": neither an address nor a name; leave away scheme and port, as in 203.0.113.10 or \
                     bridge.example.com"
                ));
            }
        }
        if self.kubeedge_tokens_for_known_nodes && !self.kubeedge_tokens {
            return Err("join.kubeedgeTokensForKnownNodes = true: no such tokens are taken; set join.kubeedgeTokens, \
                        too, or remove it"
                .into());
        }
        Ok(())
    }
}

/// `status`: how fast DeviceStatuses are written; what changes in between is written with the next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Status {
    /// The least time between two writes of one device. Default 1 s.
    pub per_device: Span,
    /// Writes a second of all devices together, for each replica. Default 100.
    pub rate: u32,
    /// Writes at once after a rest. Default 100.
    pub burst: u32,
}

impl Default for Status {
    fn default() -> Self {
        Self { per_device: Span::secs(1), rate: 100, burst: 100 }
    }
}

impl Status {
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, value) in [("rate", self.rate), ("burst", self.burst)] {
            if value == 0 {
                return Err(format!("status.{key} = 0: nothing would be written; write 1 or more"));
            }
        }
        Ok(())
    }
}

/// `webhook`: where the API server asks whether it may take a Device or a DeviceModel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Webhook {
    /// Default: nowhere.
    pub listen: Option<SocketAddr>,
    /// The Service by which it reaches that, in the bridge's namespace. Default `cloud-bridge-webhook`.
    pub service: String,
}

impl Default for Webhook {
    fn default() -> Self {
        Self { listen: None, service: "cloud-bridge-webhook".into() }
    }
}

/// `metrics`: where Prometheus asks, and whoever wants to know whether the bridge is well, over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsServer {
    /// Default `127.0.0.1:9091`; `null`: nowhere.
    pub listen: Option<SocketAddr>,
}

impl Default for MetricsServer {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 9091))) }
    }
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `log`: to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info` (default), `debug`, `trace`, or a filter such as `info,cloud_bridge=debug`.
    pub level: String,
    /// `text` (default) or `json`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}
