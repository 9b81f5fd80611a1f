//! What was dropped on purpose, for metrics: each of these is normal now and then, and a sign of trouble when it grows.

/// Counts since the twins were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes that took a revision.
    pub changes: u64,
    /// Commands that changed nothing.
    pub unchanged: u64,
    /// Echoes of a value that is no longer desired (rule R12).
    pub stale_echoes: u64,
    /// Acknowledgements of another generation, or backwards (rule R15).
    pub stale_acks: u64,
    /// Readings older than the one that is known.
    pub stale_readings: u64,
    /// Messages for a former life of a device (rule R25).
    pub former_lives: u64,
    /// Requests with a version that was no longer true (rule R5).
    pub conflicts: u64,
    /// Requests that were answered from memory (rule R7).
    pub repeats: u64,
    /// Commands and parts of reports that were refused.
    pub refused: u64,
}
