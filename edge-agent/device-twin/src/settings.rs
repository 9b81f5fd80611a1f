//! What an operator may set.

use std::time::Duration;

/// How all twins of a node behave.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Who owns desired values.
    pub owner: Owner,
    /// How often a reading that only repeats the last one is written to the store; default 60 s (rule R3).
    pub refresh_persist: Duration,
    /// How long reported values may wait to be synced to disk; default 10 s; zero: each commit is synced. They
    /// survive the death of the process in any case: this is about power cuts.
    pub sync: Duration,
    /// How long the result of a request is kept for a repeat of it; default 10 min (rule R7).
    pub repeat_window: Duration,
    /// How many results are kept for each client and device; default 256.
    pub repeat_count: usize,
    /// How long the memory of something deleted is kept; default 30 days (rule R25).
    pub tombstone_life: Duration,
    /// How long a local override lives whose writer named no expiry; default 1 h (rule R11).
    pub override_life: Duration,
    /// What a twin may hold.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            owner: Owner::Node,
            refresh_persist: Duration::from_secs(60),
            sync: Duration::from_secs(10),
            repeat_window: Duration::from_secs(600),
            repeat_count: 256,
            tombstone_life: Duration::from_secs(30 * 24 * 3600),
            override_life: Duration::from_secs(3600),
            limits: Limits::default(),
        }
    }
}

/// Who owns desired values (rule R10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// This node: manifests and local writers are equal.
    #[default]
    Node,
    /// The cloud; a local write is an override with an end (rule R11).
    Cloud,
}

/// What a twin may hold (rule R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one value; default 64 KiB.
    pub value: usize,
    /// Properties of one device; default 512.
    pub properties: usize,
    /// Octets of all values of one twin; default 256 KiB.
    pub twin: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { value: 64 * 1024, properties: 512, twin: 256 * 1024 }
    }
}
