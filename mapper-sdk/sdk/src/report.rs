//! What a wire's task tells the reporter.

use std::convert::Infallible;
use std::sync::Arc;

use device_model::{Ack, Device, DeviceState, PropertyName, Reading};
use tokio::sync::oneshot;

use crate::schedule::Seat;

/// One message of the mapper's tasks to its reporter.
#[derive(Debug)]
pub(crate) enum Report {
    /// The device is there, or is described differently from now on.
    Device(Seat, Arc<Device>),
    /// The device is gone; so is what was still to be told of it.
    Gone(Seat),
    /// What one turn on the wire gave.
    Batch(Batch),
    /// The device as a whole.
    State(Seat, Health),
    /// What is wrong with the description that came last; none: it is in force.
    Problem(Seat, Option<Arc<str>>),
}

/// Whether a device can be reached and is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) state: DeviceState,
    /// Why it is so, in a few words; none where that needs no word, or nobody knows.
    pub(crate) reason: Option<Arc<str>>,
}

/// Dropped as soon as what came with it needs no telling any more: the agent has taken it, or never will.
pub(crate) type Receipt = oneshot::Sender<Infallible>;

/// Readings and acknowledgements of one device, each in the order in which they came about.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) seat: Option<Seat>,
    pub(crate) readings: Vec<(PropertyName, Reading)>,
    pub(crate) acks: Vec<(PropertyName, Ack)>,
    pub(crate) receipts: Vec<Receipt>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.readings.is_empty() && self.acks.is_empty()
    }
}
