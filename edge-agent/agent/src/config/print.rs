//! `config print`: every key with its effective value and where that comes from.

use serde_json::Value as Json;

use super::{File, tree};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file does not name the key.
    Default,
    /// The file says so; of a file of KubeEdge's, perhaps by leaving the key out: its defaults are others.
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

impl File {
    /// Every key of the configuration, in the order of their names.
    pub fn settings(&self) -> Vec<Setting> {
        let effective = tree::of(&self.config);
        let setting = |(key, value): (String, &Json)| Setting {
            source: if self.gives(&key) { Source::File } else { Source::Default },
            value: value.clone(),
            key,
        };
        tree::leaves(&effective).into_iter().map(setting).collect()
    }
}
