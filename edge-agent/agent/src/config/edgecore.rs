//! KubeEdge's `edgecore.yaml` (v1alpha2), read as it stands, and written.
//!
//! What means something here is said in our own words, as the part of an [`AgentConfig`] that a file would have to
//! hold to say the same ([`pairs`] is the dictionary); what stands under `edgetwin:` is laid over it. Every other key
//! is named. KubeEdge's own defaults apply to keys that are left out: mappers and apps rely on them.

mod pairs;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::AgentConfig;
use super::explain::{explain, nearest};
use super::tree::{self, filled};
use pairs::{NO_EFFECT, PAIRS, TLS};

/// The `apiVersion` of the file.
pub(super) const API_VERSION: &str = "edgecore.config.kubeedge.io/v1alpha2";
/// Its `kind`.
pub(super) const KIND: &str = "EdgeCore";

const ENABLE: &str = "modules.eventBus.enable";
const MODE: &str = "modules.eventBus.mqttMode";
const PASSWORD: &str = "modules.eventBus.mqttPassword";
const EXTERNAL: &str = "modules.eventBus.mqttServerExternal";
const TOKEN: &str = "modules.edgeHub.token";
/// Off, there is no cloud.
const HUB_ENABLE: &str = "modules.edgeHub.enable";
const TLS_ENABLE: &str = "modules.eventBus.eventBusTLS.enable";
/// Without it there would be nothing to run: that it is on says nothing, that it is off has no effect.
const TWINS_ENABLE: &str = "modules.deviceTwin.enable";
/// `mqttMode` 0, 1 and 2.
const MODES: [&str; 3] = ["embedded", "both", "external"];

/// What such a file says.
#[derive(Debug)]
pub(super) struct Read {
    /// In our words: the keys that it sets, or that KubeEdge sets for it.
    pub(super) given: Map<String, Json>,
    /// The password of the external broker, which stands there in clear.
    pub(super) password: Option<String>,
    /// The token for the first certificate, which stands there in clear, too.
    pub(super) token: Option<String>,
    /// Keys that have no effect here, each with what was probably meant.
    pub(super) unused: Vec<String>,
}

/// What is ours in such a file.
#[derive(Deserialize)]
struct Ours {
    #[serde(default, rename = "edgetwin")]
    _ours: Option<AgentConfig>,
}

/// Reads `text`.
///
/// # Errors
/// A sentence with the key, its value and the remedy; for keys of ours also line and column.
pub(super) fn read(text: &str) -> Result<Read, String> {
    // With types, for the places of what is wrong in our part; then without, for what is there at all.
    serde_saphyr::from_str::<Ours>(text).map_err(|error| explain(&error))?;
    let file: Json = serde_saphyr::from_str(text).map_err(|error| explain(&error))?;
    let mode = mode(&file)?;
    let external = matches!(mode, "both" | "external");
    let hub = tree::find(&file, HUB_ENABLE) != Some(&json!(false));
    let mut given = Map::new();
    tree::set(&mut given, "mqtt.mode", json!(mode));
    for pair in PAIRS.iter().filter(|pair| external || !pair.ours.starts_with("mqtt.external")) {
        let said = tree::find(&file, pair.theirs).filter(|value| filled(value)).cloned();
        if let Some(value) = said.or_else(|| pair.default.map(|default| json!(default))) {
            tree::set(&mut given, pair.ours, pair.form.ours(pair.theirs, &value)?);
        }
    }
    // As with EdgeCore's client, which takes its certificates for these alone.
    let secure = tree::find(&file, EXTERNAL).and_then(Json::as_str).is_some_and(|url| {
        ["mqtts://", "ssl://", "tls://"].iter().any(|scheme| url.starts_with(scheme))
    });
    let tls = tree::find(&file, TLS_ENABLE) == Some(&json!(true));
    let mut unused = unused(&file);
    if tls && external && !secure {
        unused.push(format!("{TLS_ENABLE} (write {EXTERNAL} with ssl:// for it)"));
    }
    if external && tls && secure {
        for (theirs, ours, default) in TLS {
            let said = tree::find(&file, theirs).filter(|value| filled(value));
            tree::set(&mut given, ours, said.cloned().unwrap_or_else(|| json!(default)));
        }
    }
    if !hub {
        tree::take(&mut given, "cloud.addresses");
    }
    if let Some(Json::Object(ours)) = file.get("edgetwin") {
        tree::overlay(&mut given, ours);
    }
    let text = |key: &str| {
        let text = tree::find(&file, key).and_then(Json::as_str).filter(|text| !text.is_empty());
        text.map(Into::into)
    };
    Ok(Read { given, password: text(PASSWORD), token: text(TOKEN), unused })
}

fn mode(file: &Json) -> Result<&'static str, String> {
    if tree::find(file, ENABLE) == Some(&json!(false)) {
        return Ok("off");
    }
    let number = tree::find(file, MODE).cloned().unwrap_or(json!(2));
    let mode = number.as_u64().and_then(|number| usize::try_from(number).ok());
    mode.and_then(|mode| MODES.get(mode).copied()).ok_or_else(|| {
        format!("{MODE} = {number}: no such mode; write 0 (embedded), 1 (both) or 2 (external)")
    })
}

/// `config` as such a file: KubeEdge's keys where there are any, the others under `edgetwin:`.
pub(super) fn write(config: &AgentConfig) -> Map<String, Json> {
    let mut file = Map::new();
    let mut ours = tree::difference(config, &AgentConfig::default());
    let all = tree::of(config);
    tree::take(&mut ours, "mqtt.mode");
    let mode = tree::find(&all, "mqtt.mode").and_then(Json::as_str).unwrap_or("off");
    let number = MODES.iter().position(|word| *word == mode);
    tree::set(&mut file, ENABLE, json!(number.is_some()));
    if let Some(number) = number {
        tree::set(&mut file, MODE, json!(number));
    }
    // Where their mode has no broker outside, nobody reads their keys of it.
    let external = matches!(mode, "both" | "external");
    for pair in PAIRS.iter().filter(|pair| external || !pair.ours.starts_with("mqtt.external")) {
        let Some(value) = tree::find(&all, pair.ours).filter(|value| filled(value)) else {
            continue;
        };
        // What their word cannot hold stays in ours.
        if let Some(theirs) = pair.form.theirs(value) {
            tree::take(&mut ours, pair.ours);
            let usual = pair.default.map(|default| pair.form.ours(pair.theirs, &json!(default)));
            if usual != Some(Ok(value.clone())) {
                tree::set(&mut file, pair.theirs, theirs);
            }
        }
    }
    if !config.cloud.is_joined() {
        tree::set(&mut file, HUB_ENABLE, json!(false));
    }
    // Without one of them KubeEdge would take the file that it takes by default.
    if external && TLS.iter().all(|(_, key, _)| tree::find(&all, key).is_some_and(filled)) {
        tree::set(&mut file, TLS_ENABLE, json!(true));
        for (theirs, key, _) in TLS {
            if let Some(value) = tree::take(&mut ours, key) {
                tree::set(&mut file, theirs, value);
            }
        }
    }
    tree::prune(&mut ours);
    if !ours.is_empty() {
        file.insert("edgetwin".into(), Json::Object(ours));
    }
    file
}

/// The keys of `file` that are not read, whole sections by their name alone. One without a value says nothing.
fn unused(file: &Json) -> Vec<String> {
    let tls = TLS.iter().map(|(theirs, ..)| *theirs);
    let read: Vec<&str> = PAIRS
        .iter()
        .map(|pair| pair.theirs)
        .chain(tls)
        .chain([
            ENABLE,
            MODE,
            PASSWORD,
            TOKEN,
            HUB_ENABLE,
            TLS_ENABLE,
            "apiVersion",
            "kind",
            "edgetwin",
        ])
        .collect();
    let mut unused = Vec::new();
    collect("", file, &read, &mut unused);
    if tree::find(file, TWINS_ENABLE) == Some(&json!(true)) {
        unused.retain(|key| key != TWINS_ENABLE);
    }
    unused
}

fn collect(path: &str, value: &Json, read: &[&str], unused: &mut Vec<String>) {
    if read.iter().any(|key| key.eq_ignore_ascii_case(path)) || !filled(value) {
        return;
    }
    let within = format!("{path}.");
    let section = path.is_empty() || read.iter().any(|key| tree::begins(key, &within));
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
    match nearest(key, &beside).filter(|_| !NO_EFFECT.contains(&key)) {
        Some(meant) => format!("{path} (did you mean {meant}?)"),
        None => path.into(),
    }
}

#[cfg(test)]
mod tests;
