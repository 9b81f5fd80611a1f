//! The clock of this machine. It may jump: versions decide conflicts, never the time.

use std::time::SystemTime;

use device_model::Timestamp;

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
