//! `store`: how twins outlive the agent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;

/// `store`: where twins are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Store {
    /// Whether twins outlive the agent. Default `sqlite`.
    pub kind: StoreKind,
    /// Directory of `twins.db`. Default `/var/lib/edgetwin`.
    pub dir: PathBuf,
    /// The longest span of reported values that a power cut may lose; `0s`: none. Desired values and
    /// acknowledgements never are. Default 10 s.
    pub sync: Span,
    /// How often a reading that only repeats the last one is written; after a restart its time may be so much too old.
    /// Default 15 min.
    pub refresh: Span,
}

/// How twins are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In files.
    #[default]
    Sqlite,
    /// As long as the agent runs: for simulations and tests.
    Memory,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            kind: StoreKind::Sqlite,
            dir: "/var/lib/edgetwin".into(),
            sync: Span::secs(10),
            refresh: Span::secs(15 * 60),
        }
    }
}
