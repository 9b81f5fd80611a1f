//! From the edge to the cloud: how the twins of devices are.
//!
//! What travels is state, not a log: after any outage the newest once. The edge's end is an [`Outbox`]: which twins the
//! cloud does not have, and what is under way. The cloud's end is an [`Intake`] per device: what of a report counts, what
//! is to be written, and what may be confirmed. Within one life of a device the order is that of epoch, the life of the
//! edge's store, and then revision; clocks have no part in it.

mod foreign;
mod intake;
mod outbox;

pub use foreign::Sample;
pub use intake::{Intake, Judged, Report, Write};
pub use outbox::{Outbox, OutboxSettings, Told, Upload};
