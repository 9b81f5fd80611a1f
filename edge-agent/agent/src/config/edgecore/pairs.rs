//! Which key of theirs is which of ours.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value as Json, json};

/// One meaning, under two names.
pub(super) struct Pair {
    /// Path in `edgecore.yaml`.
    pub(super) theirs: &'static str,
    /// Path in an [`AgentConfig`](crate::AgentConfig).
    pub(super) ours: &'static str,
    pub(super) form: Form,
    /// What KubeEdge takes where the key is left out; `None`: nothing, or what we take.
    pub(super) default: Option<&'static str>,
}

/// How the value is written on either side.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// The same text.
    Text,
    /// The same number or truth; the text is KubeEdge's default.
    Scalar,
    /// Their file in a directory, our directory.
    FileIn(&'static str),
    /// The directory of `dmi.sock`. EdgeCore takes the directory of whatever ends with `.sock` and listens on `dmi.sock`
    /// there (`StartDMIServer`).
    DmiSocket,
    /// Their URL of a listener, our address.
    Listener,
    /// Their one address, our list of them.
    First,
    /// Their seconds, our span.
    Seconds,
    /// Labels, and other tables of texts.
    Table,
}

const fn pair(theirs: &'static str, ours: &'static str, form: Form, default: &'static str) -> Pair {
    let default = if default.is_empty() { None } else { Some(default) };
    Pair { theirs, ours, form, default }
}

/// The dictionary. Defaults are those of KubeEdge's `v1alpha2/default.go`.
pub(super) const PAIRS: &[Pair] = &[
    pair(
        "database.dataSource",
        "store.dir",
        Form::FileIn("edgecore.db"),
        "/var/lib/kubeedge/edgecore.db",
    ),
    pair("modules.edged.hostnameOverride", "node.name", Form::Text, ""),
    pair("modules.edged.nodeLabels", "node.labels", Form::Table, ""),
    pair("modules.edgeHub.websocket.server", "cloud.addresses", Form::First, ""),
    pair("modules.edgeHub.httpServer", "cloud.join", Form::Text, ""),
    pair("modules.edgeHub.tlsCaFile", "cloud.ca", Form::Text, "/etc/kubeedge/ca/rootCA.crt"),
    pair("modules.edgeHub.tlsCertFile", "cloud.cert", Form::Text, "/etc/kubeedge/certs/server.crt"),
    pair(
        "modules.edgeHub.tlsPrivateKeyFile",
        "cloud.key",
        Form::Text,
        "/etc/kubeedge/certs/server.key",
    ),
    pair("modules.edgeHub.rotateCertificates", "cloud.rotate", Form::Scalar, "true"),
    pair("modules.edgeHub.heartbeat", "cloud.heartbeat", Form::Seconds, ""),
    pair("modules.edgeHub.projectID", "cloud.project", Form::Text, ""),
    pair("modules.deviceTwin.dmiSockPath", "devices.dmiSocket", Form::DmiSocket, "/etc/kubeedge/"),
    pair("modules.eventBus.mqttQOS", "mqtt.qos", Form::Scalar, "0"),
    pair("modules.eventBus.mqttRetain", "mqtt.retain", Form::Scalar, "false"),
    pair(
        "modules.eventBus.mqttSessionQueueSize",
        "mqtt.limits.sessionMessages",
        Form::Scalar,
        "100",
    ),
    pair(
        "modules.eventBus.mqttServerInternal",
        "mqtt.listen",
        Form::Listener,
        "tcp://127.0.0.1:1884",
    ),
    pair(
        "modules.eventBus.mqttServerExternal",
        "mqtt.external.url",
        Form::Text,
        "tcp://127.0.0.1:1883",
    ),
    pair("modules.eventBus.mqttSubClientID", "mqtt.external.clientId", Form::Text, ""),
    pair("modules.eventBus.mqttUsername", "mqtt.external.username", Form::Text, ""),
];

/// The files of the external broker's TLS: theirs, ours, KubeEdge's default.
pub(super) const TLS: [(&str, &str, &str); 3] = [
    (
        "modules.eventBus.eventBusTLS.tlsMqttCAFile",
        "mqtt.external.tls.ca",
        "/etc/kubeedge/ca/rootCA.crt",
    ),
    (
        "modules.eventBus.eventBusTLS.tlsMqttCertFile",
        "mqtt.external.tls.cert",
        "/etc/kubeedge/certs/server.crt",
    ),
    (
        "modules.eventBus.eventBusTLS.tlsMqttPrivateKeyFile",
        "mqtt.external.tls.key",
        "/etc/kubeedge/certs/server.key",
    ),
];

/// Keys of KubeEdge that look like one of these and are none.
pub(super) const NO_EFFECT: [&str; 1] = ["mqttPubClientID"];

/// The socket's file, for EdgeCore and for us.
const DMI_SOCKET: &str = "dmi.sock";

impl Form {
    /// `value` of `key` in our words.
    ///
    /// # Errors
    /// A sentence with key, value and remedy.
    pub(super) fn ours(self, key: &str, value: &Json) -> Result<Json, String> {
        let text =
            || value.as_str().ok_or_else(|| format!("{key} = {value}: write a text, in quotes"));
        Ok(match self {
            // The types of our own keys judge it.
            Self::Text => value.clone(),
            Self::Scalar => match value.as_str() {
                Some(default) => serde_json::from_str(default)
                    .map_err(|_| format!("{key} = {value}: write it without quotes"))?,
                None => value.clone(),
            },
            Self::FileIn(_) => match Path::new(text()?).parent() {
                Some(dir) if !dir.as_os_str().is_empty() => json!(dir),
                _ => return Err(format!("{key} = {value}: write the whole path of a file")),
            },
            Self::DmiSocket => {
                let path = Path::new(text()?);
                let dir = match path.extension() {
                    Some(end) if end == "sock" => path.parent().unwrap_or(Path::new("")),
                    _ => path,
                };
                json!(dir.join(DMI_SOCKET))
            }
            Self::Listener => {
                let text = text()?;
                let address =
                    ["tcp://", "mqtt://"].iter().find_map(|scheme| text.strip_prefix(scheme));
                let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
                json!(address.ok_or_else(|| {
                    format!("{key} = {value}: not served; write tcp:// and an address, as in tcp://127.0.0.1:1884")
                })?)
            }
            Self::First => json!([text()?]),
            Self::Seconds => match value.as_u64() {
                Some(seconds) => json!(format!("{seconds}s")),
                None => return Err(format!("{key} = {value}: write whole seconds, such as 15")),
            },
            Self::Table => value.clone(),
        })
    }

    /// Our `value` in their words; `None`: they cannot say that.
    pub(super) fn theirs(self, value: &Json) -> Option<Json> {
        match self {
            Self::Text | Self::Scalar => Some(value.clone()),
            Self::FileIn(name) => Some(json!(Path::new(value.as_str()?).join(name))),
            Self::DmiSocket => {
                let path = Path::new(value.as_str()?);
                (path.file_name()? == DMI_SOCKET).then(|| value.clone())
            }
            Self::Listener => Some(json!(format!("tcp://{}", value.as_str()?))),
            Self::First => match value.as_array()?.as_slice() {
                [one] => Some(one.clone()),
                _ => None,
            },
            Self::Seconds => Some(json!(value.as_str()?.strip_suffix('s')?.parse::<u64>().ok()?)),
            Self::Table => Some(value.clone()),
        }
    }
}
