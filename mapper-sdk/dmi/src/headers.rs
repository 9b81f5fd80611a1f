//! Request and response headers in which our agent and our mappers say more than DMI has fields for.
//!
//! Older peers neither send nor read them.

/// What the sender understands beyond DMI: a list of words, separated by commas.
///
/// Mappers send it with every call; the agent answers `MapperRegister` with its own.
pub const CAPABILITIES: &str = "edgetwin-capabilities";
/// Names a registration. The agent gives it in the answer to `MapperRegister`; the mapper sends it with each call
/// after that, and each call renews it. An unknown one is answered with `FAILED_PRECONDITION`: register again.
pub const LEASE: &str = "edgetwin-lease";
/// How long the lease lasts without a call, in milliseconds; beside [`LEASE`] in the agent's answer.
pub const LEASE_TTL_MS: &str = "edgetwin-lease-ttl-ms";
/// Which trace a report belongs to, for logs (W3C Trace Context); beside `ReportDeviceStatus`, where there is one.
pub const TRACEPARENT: &str = "traceparent";

/// Capability: acknowledgements in the metadata of reported twins.
pub const ACK: &str = "ack";
/// Capability: quality in the metadata of reported twins.
pub const QUALITY: &str = "quality";
/// Capability: leases.
pub const CAPABILITY_LEASE: &str = "lease";
/// Capability: the members of our own in `proto/dmi.proto`: further devices in one report, and times as numbers.
pub const REPORTS: &str = "reports";
/// Every capability of this release, as the value of [`CAPABILITIES`].
pub const OUR_CAPABILITIES: &str = "ack,quality,lease,reports";

/// Whether a list of capabilities holds `word`.
pub fn lists(capabilities: &str, word: &str) -> bool {
    capabilities.split(',').any(|entry| entry.trim() == word)
}
