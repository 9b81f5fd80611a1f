//! Whether a device can be reached, since when, and why.

use std::sync::Arc;

use device_model::{DeviceState, Timestamp};

/// The state of a device as a whole (rule R27).
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Whether it can be reached.
    pub state: DeviceState,
    /// When `state` became what it is; another reason alone does not move it.
    pub since: Timestamp,
    /// Why it is so, in a few words for a person; `None`: nobody said.
    pub reason: Option<Arc<str>>,
    /// What its mapper finds wrong with its description, of which the one before is in force then, if there was one;
    /// `None`: nothing (rule R28).
    pub problem: Option<Arc<str>>,
}

/// Why the state of a new device is unknown.
const UNHEARD_OF: &str = "nothing was heard of it yet";

impl Condition {
    /// The condition of a device that nobody has spoken of.
    pub(crate) fn unheard_of(since: Timestamp) -> Self {
        let reason = Some(UNHEARD_OF.into());
        Self { state: DeviceState::Unknown, since, reason, problem: None }
    }

    /// Whether nobody has spoken of the device's state yet.
    pub fn is_unheard_of(&self) -> bool {
        self.state == DeviceState::Unknown && self.reason.as_deref() == Some(UNHEARD_OF)
    }
}
