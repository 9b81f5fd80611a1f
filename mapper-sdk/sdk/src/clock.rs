//! The clock of this machine.

use std::time::SystemTime;

use device_model::Timestamp;

/// The time of this machine.
pub(crate) fn time() -> Timestamp {
    SystemTime::now().into()
}
