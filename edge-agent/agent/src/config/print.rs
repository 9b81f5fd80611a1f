//! `config print`: every key with its effective value and where that comes from.

use serde_json::Value as Json;

use super::AgentConfig;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file does not name the key.
    Default,
    /// The file says so.
    File,
}

/// One key of the effective configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its path, such as `mqtt.listen`.
    pub key: String,
    /// Its value.
    pub value: Json,
    /// Where that comes from.
    pub source: Source,
}

/// Every key of `config`, in the order of their names; `text` is the file that it was read from.
pub fn settings(config: &AgentConfig, text: &str) -> Vec<Setting> {
    let effective = serde_json::to_value(config).unwrap_or(Json::Null);
    let given: Json = serde_saphyr::from_str(text).unwrap_or(Json::Null);
    let mut settings = Vec::new();
    flatten("", &effective, &given, &mut settings);
    settings
}

fn flatten(path: &str, value: &Json, given: &Json, settings: &mut Vec<Setting>) {
    let Json::Object(members) = value else {
        let source = if given.is_null() { Source::Default } else { Source::File };
        settings.push(Setting { key: path.into(), value: value.clone(), source });
        return;
    };
    for (key, value) in members {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        flatten(&path, value, given.get(key).unwrap_or(&Json::Null), settings);
    }
}
