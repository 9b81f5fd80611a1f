//! The agent's configuration: one file, one kind, a default for every key.
//!
//! ```yaml
//! apiVersion: edgetwin.io/v1
//! kind: AgentConfig
//! manifests: {dir: /etc/edgetwin/manifests}
//! mqtt: {listen: "127.0.0.1:1883"}
//! ```
//!
//! An unknown key is an error that names its line and the key that was probably meant. KubeEdge's `edgecore.yaml` is
//! read, too ([`File`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use settings::{explain, tree};

mod api;
mod cloud;
mod devices;
mod edgecore;
mod file;
mod log;
mod mqtt;
mod print;
mod store;

pub use api::{Api, ApiTls};
pub use cloud::{Cloud, HUB_PORT, JOIN_PORT, with_port};
pub use devices::Devices;
pub use file::{Dialect, File};
pub use log::{Log, LogFormat};
pub(crate) use mqtt::BrokerAddress;
pub use mqtt::{BrokerLimits, ClientTls, ExternalBroker, Mqtt, MqttMode, Secret, ServerTls};
pub use print::{Setting, Source};
pub use settings::Span;
pub use store::{Store, StoreKind};

/// The one `apiVersion` that is read.
pub const API_VERSION: &str = "edgetwin.io/v1";
/// The one `kind` that is read.
pub const KIND: &str = "AgentConfig";
/// Where the agent looks when nobody names a file.
pub const DEFAULT_PATH: &str = "/etc/edgetwin/config.yaml";

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Always `edgetwin.io/v1`.
    pub api_version: ApiVersion,
    /// Always `AgentConfig`.
    pub kind: Kind,
    /// Which node this is.
    pub node: Node,
    /// Which cloud it belongs to.
    pub cloud: Cloud,
    /// Where twins are kept.
    pub store: Store,
    /// Where devices are defined.
    pub manifests: Manifests,
    /// The border to mappers.
    pub devices: Devices,
    /// The border to local apps.
    pub mqtt: Mqtt,
    /// The local API.
    pub api: Api,
    /// What the agent says about itself.
    pub log: Log,
}

macro_rules! constant {
    ($(#[$doc:meta])* $name:ident, $text:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                if text == $text {
                    return Ok(Self);
                }
                Err(serde::de::Error::custom(format!("\"{text}\" is not read here; write {}", $text)))
            }
        }
    };
}
constant!(
    /// The text `edgetwin.io/v1`.
    ApiVersion,
    API_VERSION
);
constant!(
    /// The text `AgentConfig`.
    Kind,
    KIND
);

/// `node`: which machine this is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// Default: the host's name.
    pub name: String,
    /// Labels of the Node object, beside those that every edge node has.
    pub labels: BTreeMap<String, String>,
}

impl Default for Node {
    fn default() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        let name = if name.is_empty() { "edge".into() } else { name.to_ascii_lowercase() };
        Self { name, labels: BTreeMap::new() }
    }
}

/// `manifests`: DeviceModel and Device files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Manifests {
    /// The folder that is watched. Default `/etc/edgetwin/manifests`.
    pub dir: PathBuf,
}

impl Default for Manifests {
    fn default() -> Self {
        Self { dir: "/etc/edgetwin/manifests".into() }
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

/// Paths of the keys in which two configurations differ.
pub(crate) fn differing(one: &AgentConfig, other: &AgentConfig) -> Vec<String> {
    let (one, other) = (tree::of(one), tree::of(other));
    let (one, other) = (tree::leaves(&one), tree::leaves(&other));
    let differs = |(path, value): &&(String, &serde_json::Value)| {
        one.iter().find(|(known, _)| known == path).is_none_or(|(_, known)| known != value)
    };
    other.iter().filter(differs).map(|(path, _)| path.clone()).collect()
}

impl AgentConfig {
    /// Reads the text of a file, of ours or of KubeEdge's.
    ///
    /// # Errors
    /// See [`File::parse`].
    pub fn parse(text: &str) -> Result<Self, String> {
        File::parse(text).map(|file| file.config)
    }

    /// Puts sockets and store into one directory, with MQTT on a free port: for tests and demonstrations.
    #[must_use]
    pub fn within(dir: &Path) -> Self {
        Self {
            store: Store { dir: dir.join("store"), ..Store::default() },
            manifests: Manifests { dir: dir.join("manifests") },
            devices: Devices { dmi_socket: dir.join("dmi.sock"), ..Devices::default() },
            api: Api { socket: dir.join("api.sock"), ..Api::default() },
            mqtt: Mqtt { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Mqtt::default() },
            cloud: Cloud {
                ca: dir.join("cloud/ca.crt"),
                cert: dir.join("cloud/node.crt"),
                key: dir.join("cloud/node.key"),
                ..Cloud::default()
            },
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), String> {
        let positive = |name: &str, span: Span| {
            if *span == Duration::ZERO {
                return Err(format!("{name} = \"0s\": too short; write a length such as \"10s\""));
            }
            Ok(())
        };
        self.api.check()?;
        self.cloud.check()?;
        positive("devices.leaseTtl", self.devices.lease_ttl)?;
        positive("devices.callTimeout", self.devices.call_timeout)?;
        if self.devices.queue == 0 {
            return Err("devices.queue = 0: too small; write 1 or more".into());
        }
        self.mqtt.check()
    }
}

#[cfg(test)]
mod tests;
