//! The agent's configuration: one file, one kind, a default for every key.
//!
//! ```yaml
//! apiVersion: edgetwin.io/v1
//! kind: AgentConfig
//! manifests: {dir: /etc/edgetwin/manifests}
//! mqtt: {listen: "127.0.0.1:1883"}
//! ```
//!
//! An unknown key is an error that names its line and the key that was probably meant.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod print;
mod span;

pub use print::{Setting, Source, settings};
pub use span::Span;

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
}

impl Default for Node {
    fn default() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        Self { name: if name.is_empty() { "edge".into() } else { name.to_ascii_lowercase() } }
    }
}

/// `store`: the SQLite file of twins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Store {
    /// Directory of `twins.db`. Default `/var/lib/edgetwin`.
    pub dir: PathBuf,
    /// The longest span of reported values that a power cut may lose; `0s`: none. Desired values and
    /// acknowledgements never are. Default 10 s.
    pub sync: Span,
}

impl Default for Store {
    fn default() -> Self {
        Self { dir: "/var/lib/edgetwin".into(), sync: Span::secs(10) }
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

/// `devices`: the DMI server for mappers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Devices {
    /// Its Unix socket. Default `/run/edgetwin/dmi.sock`.
    pub dmi_socket: PathBuf,
    /// How long a mapper keeps its devices without a call. Default 30 s.
    pub lease_ttl: Span,
    /// Longest call to a mapper before it is tried again. Default 10 s.
    pub call_timeout: Span,
    /// Calls that may wait for the store before RESOURCE_EXHAUSTED is the answer. Default 1024.
    pub queue: usize,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            dmi_socket: "/run/edgetwin/dmi.sock".into(),
            lease_ttl: Span::secs(30),
            call_timeout: Span::secs(10),
            queue: 1024,
        }
    }
}

/// `mqtt.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MqttMode {
    /// A broker inside the agent.
    #[default]
    Embedded,
    /// No MQTT.
    Off,
}

/// `mqtt`: the event bus for local apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mqtt {
    /// `embedded` (default) or `off`.
    pub mode: MqttMode,
    /// Address of the embedded broker. Default 127.0.0.1:1883; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Most clients at a time. Default 100.
    pub max_clients: usize,
    /// Largest packet, in bytes. Default 262144.
    pub max_packet: usize,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            mode: MqttMode::Embedded,
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            max_clients: 100,
            max_packet: 256 * 1024,
        }
    }
}

/// `api`: HTTP over a Unix socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Api {
    /// Default `/run/edgetwin/api.sock`.
    pub socket: PathBuf,
}

impl Default for Api {
    fn default() -> Self {
        Self { socket: "/run/edgetwin/api.sock".into() }
    }
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `error`, `warn`, `info` (default), `debug`, `trace`, or a filter such as `info,edge_agent=debug`.
    pub level: String,
    /// `text` (default) or `json`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
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

impl AgentConfig {
    /// Reads a configuration from text.
    ///
    /// # Errors
    /// A sentence with line, column, key and remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let config: Self = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
        config.check()?;
        Ok(config)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or says something wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Content { path: path.into(), message })
    }

    /// Puts sockets and store into one directory, with MQTT on a free port: for tests and demonstrations.
    #[must_use]
    pub fn within(dir: &Path) -> Self {
        Self {
            store: Store { dir: dir.join("store"), ..Store::default() },
            manifests: Manifests { dir: dir.join("manifests") },
            devices: Devices { dmi_socket: dir.join("dmi.sock"), ..Devices::default() },
            api: Api { socket: dir.join("api.sock") },
            mqtt: Mqtt { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Mqtt::default() },
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
        positive("devices.leaseTtl", self.devices.lease_ttl)?;
        positive("devices.callTimeout", self.devices.call_timeout)?;
        let counts = [
            ("devices.queue", self.devices.queue, 1),
            ("mqtt.maxClients", self.mqtt.max_clients, 1),
            ("mqtt.maxPacket", self.mqtt.max_packet, 1024),
        ];
        for (name, number, least) in counts {
            if number < least {
                return Err(format!("{name} = {number}: too small; write {least} or more"));
            }
        }
        Ok(())
    }
}

/// Says where, and adds the key that was probably meant.
fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let Some(at) = error.location() else { return text };
    let (line, column) = (at.line(), at.column());
    // The library names the place last; a reader, and an editor, look for it first.
    let said = text.trim_end_matches(&format!(" at line {line}, column {column}"));
    let meant = unknown_key(said).and_then(|(given, known)| nearest(given, &known));
    let hint = meant.map(|key| format!("; did you mean \"{key}\"?")).unwrap_or_default();
    format!("line {line}, column {column}: {said}{hint}")
}

/// Takes serde's sentence about an unknown field apart: the key, and those that would do.
fn unknown_key(text: &str) -> Option<(&str, Vec<&str>)> {
    let rest = &text[text.find("unknown field")?..];
    let given = rest.split('`').nth(1)?;
    let known = rest.split_once("expected ")?.1.trim_start_matches("one of ");
    Some((given, known.split(", ").map(|word| word.trim_matches('`')).collect()))
}

/// The known word closest to `given`, if it is close enough to be a slip.
fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |word: &str| edit_distance(&given.to_lowercase(), &word.to_lowercase());
    known.iter().copied().map(|word| (distance(word), word)).min().and_then(|(steps, word)| {
        let limit = (word.len() / 3).max(1) + 1;
        (steps <= limit).then_some(word)
    })
}

/// Levenshtein's: the least number of letters to insert, delete or replace.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
