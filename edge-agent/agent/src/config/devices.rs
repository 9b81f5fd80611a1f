//! `devices`: the border to mappers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;

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
