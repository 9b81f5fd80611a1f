//! `store`: how twins outlive the agent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;

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
