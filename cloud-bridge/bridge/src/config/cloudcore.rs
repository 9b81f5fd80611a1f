//! KubeEdge's `cloudcore.yaml` (v1alpha1), read as it stands.
//!
//! What means something here is said in our own words, as the part of a [`BridgeConfig`] that a file would have to hold to
//! say the same; what stands under `edgetwin:` is laid over it. Every other key is named. KubeEdge's own defaults apply to
//! keys that are left out.

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use settings::explain::{explain, nearest};
use settings::tree::{self, filled};

use super::BridgeConfig;

/// The `apiVersion` of the file.
pub(super) const API_VERSION: &str = "cloudcore.config.kubeedge.io/v1alpha1";

/// KubeEdge's namespace, where its Secrets lie.
const NAMESPACE: &str = "kubeedge";

/// One meaning under two names: theirs, ours, how it is written, and what KubeEdge takes where it is left out (`default.go`).
type Pair = (&'static str, &'static str, Form, &'static str);

/// How a value is written on either side.
#[derive(Clone, Copy)]
enum Form {
    /// The same text.
    Text,
    /// The same number.
    Number,
    /// A number of seconds, a length of time.
    Seconds,
    /// A number of days, a length of time.
    Days,
}

const PAIRS: [Pair; 12] = [
    ("commonConfig.monitorServer.bindAddress", "metrics.listen", Form::Text, "127.0.0.1:9091"),
    ("kubeAPIConfig.kubeConfig", "kubeconfig", Form::Text, ""),
    ("kubeAPIConfig.master", "apiServer", Form::Text, ""),
    ("modules.cloudHub.keepaliveInterval", "hub.keepalive", Form::Seconds, "30"),
    ("modules.cloudHub.nodeLimit", "hub.nodes", Form::Number, "500"),
    ("modules.cloudHub.writeTimeout", "hub.writeTimeout", Form::Seconds, "30"),
    ("modules.cloudHub.edgeCertSigningDuration", "join.certificateLife", Form::Days, "365"),
    ("modules.cloudHub.tlsCAFile", "identity.files.ca", Form::Text, "/etc/kubeedge/ca/rootCA.crt"),
    (
        "modules.cloudHub.tlsCAKeyFile",
        "identity.files.caKey",
        Form::Text,
        "/etc/kubeedge/ca/rootCA.key",
    ),
    (
        "modules.cloudHub.tlsCertFile",
        "identity.files.certificate",
        Form::Text,
        "/etc/kubeedge/certs/server.crt",
    ),
    (
        "modules.cloudHub.tlsPrivateKeyFile",
        "identity.files.key",
        Form::Text,
        "/etc/kubeedge/certs/server.key",
    ),
    // Theirs is made of two keys.
    ("modules.cloudHub.websocket.port", "", Form::Number, "10000"),
];

const WEBSOCKET: &str = "modules.cloudHub.websocket";
const HTTPS: &str = "modules.cloudHub.https";
const ADVERTISE: [&str; 2] = ["modules.cloudHub.advertiseAddress", "modules.cloudHub.dnsNames"];
/// Read beside the pairs.
const OTHERS: [&str; 8] = [
    "apiVersion",
    "kind",
    "edgetwin",
    "modules.cloudHub.websocket.address",
    "modules.cloudHub.websocket.enable",
    "modules.cloudHub.https.enable",
    "modules.cloudHub.https.address",
    "modules.cloudHub.https.port",
];
/// That these are on says nothing: without them there would be nothing to run. That one is off has no effect.
const ON: [&str; 4] = [
    "modules.cloudHub.enable",
    "modules.edgeController.enable",
    "modules.deviceController.enable",
    "modules.syncController.enable",
];

/// What such a file says.
#[derive(Debug)]
pub(super) struct Read {
    /// In our words: the keys that it sets, or that KubeEdge sets for it.
    pub(super) given: Map<String, Json>,
    /// Keys that have no effect here, each with what was probably meant.
    pub(super) unused: Vec<String>,
}

/// What is ours in such a file.
#[derive(Deserialize)]
struct Ours {
    #[serde(default, rename = "edgetwin")]
    _ours: Option<BridgeConfig>,
}

/// Reads `text`.
///
/// # Errors
/// A sentence with the key, its value and the remedy; for keys of ours also line and column.
pub(super) fn read(text: &str) -> Result<Read, String> {
    // With types, for the places of what is wrong in our part; then without, for what is there at all.
    serde_saphyr::from_str::<Ours>(text).map_err(|error| explain(&error))?;
    let file: Json = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
    let mut given = Map::new();
    tree::set(&mut given, "namespace", json!(NAMESPACE));
    for (theirs, ours, form, default) in PAIRS.iter().filter(|(_, ours, ..)| !ours.is_empty()) {
        let said = tree::find(&file, theirs).filter(|value| filled(value)).cloned();
        let usual = || (!default.is_empty()).then(|| form.usual(default));
        if let Some(value) = said.or_else(usual) {
            tree::set(&mut given, ours, form.ours(theirs, &value)?);
        }
    }
    if is_off(&file, WEBSOCKET) {
        return Err(format!(
            "{WEBSOCKET}.enable = false: nodes come by nothing else here; write true"
        ));
    }
    tree::set(&mut given, "hub.listen", listener(&file, WEBSOCKET, 10000)?);
    let https = if is_off(&file, HTTPS) { Json::Null } else { listener(&file, HTTPS, 10002)? };
    tree::set(&mut given, "join.listen", https);
    tree::set(&mut given, "join.advertise", advertised(&file)?);
    if let Some(Json::Object(ours)) = file.get("edgetwin") {
        tree::overlay(&mut given, ours);
        // What is said of the place of keys takes the place of all that is theirs.
        if ours.get("identity").is_some_and(|identity| identity.get("dir").is_some()) {
            tree::take(&mut given, "identity.files");
        }
    }
    Ok(Read { given, unused: unused(&file) })
}

fn is_off(file: &Json, server: &str) -> bool {
    tree::find(file, &format!("{server}.enable")) == Some(&json!(false))
}

/// Address and port of a server, as one text.
fn listener(file: &Json, server: &str, port: u16) -> Result<Json, String> {
    let said =
        |key: &str| tree::find(file, &format!("{server}.{key}")).filter(|value| filled(value));
    let address = said("address").cloned().unwrap_or(json!("0.0.0.0"));
    let port = said("port").cloned().unwrap_or(json!(port));
    let ip = address.as_str().and_then(|text| text.parse::<std::net::IpAddr>().ok());
    let ip = ip.ok_or_else(|| {
        format!("{server}.address = {address}: no address; write one such as 0.0.0.0")
    })?;
    let port = port.as_u64().and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| {
        format!("{server}.port: out of range; write a whole number from 1 to 65535")
    })?;
    Ok(json!(std::net::SocketAddr::new(ip, port)))
}

/// Addresses and names of the server; the empty ones that KubeEdge's own file holds are none.
fn advertised(file: &Json) -> Result<Json, String> {
    let mut all = Vec::new();
    for key in ADVERTISE {
        let Some(value) = tree::find(file, key).filter(|value| !value.is_null()) else { continue };
        let items = value.as_array().ok_or_else(|| format!("{key} = {value}: write a list"))?;
        all.extend(items.iter().filter(|item| filled(item)).cloned());
    }
    Ok(Json::Array(all))
}

impl Form {
    fn usual(self, default: &str) -> Json {
        match self {
            Self::Text => json!(default),
            Self::Number | Self::Seconds | Self::Days => {
                default.parse::<u64>().map_or(Json::Null, Json::from)
            }
        }
    }

    /// `value` of `key` in our words.
    fn ours(self, key: &str, value: &Json) -> Result<Json, String> {
        let number =
            || value.as_u64().ok_or_else(|| format!("{key} = {value}: write a whole number"));
        Ok(match self {
            Self::Text => value.clone(),
            Self::Number => json!(number()?),
            Self::Seconds => json!(format!("{}s", number()?)),
            Self::Days => {
                let hours = number()?.checked_mul(24);
                let hours = hours
                    .ok_or_else(|| format!("{key} = {value}: too long; write a number of days"))?;
                json!(format!("{hours}h"))
            }
        })
    }
}

/// The keys of `file` that are not read, whole sections by their name alone. One without a value says nothing.
fn unused(file: &Json) -> Vec<String> {
    let read: Vec<&str> =
        PAIRS.iter().map(|(theirs, ..)| *theirs).chain(ADVERTISE).chain(OTHERS).collect();
    let mut unused = Vec::new();
    collect("", file, &read, &mut unused);
    unused
        .retain(|key| !(ON.contains(&key.as_str()) && tree::find(file, key) == Some(&json!(true))));
    unused
}

fn collect(path: &str, value: &Json, read: &[&str], unused: &mut Vec<String>) {
    if read.iter().any(|key| key.eq_ignore_ascii_case(path)) || !filled(value) {
        return;
    }
    let within = format!("{path}.");
    let mut known = read.iter().chain(&ON);
    let section = path.is_empty() || known.any(|key| tree::begins(key, &within));
    match value {
        Json::Object(members) if section => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&path, value, read, unused);
            }
        }
        _ => unused.push(named(path, read)),
    }
}

/// With the key of the same section that it is a slip of, if it is near to one.
fn named(path: &str, read: &[&str]) -> String {
    let (section, key) = path.rsplit_once('.').map_or(("", path), |(section, key)| (section, key));
    let beside = read.iter().filter_map(|known| match known.rsplit_once('.') {
        Some((other, known)) if other == section => Some(known),
        None if section.is_empty() => Some(*known),
        _ => None,
    });
    let beside: Vec<&str> = beside.collect();
    match nearest(key, &beside).filter(|_| !ON.contains(&path)) {
        Some(meant) => format!("{path} (did you mean {meant}?)"),
        None => path.into(),
    }
}
