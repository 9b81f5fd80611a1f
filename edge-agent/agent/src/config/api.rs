//! `api`: the border to people and scripts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
