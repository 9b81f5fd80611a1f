//! From the cloud to the edge: objects, kept the same at both ends.
//!
//! The cloud's end is a [`Queue`] per node: what the node should have, and what it is known to have. What differs is
//! sent, newest state only, until it is acknowledged. The edge's end is a [`Receiver`]: what it has, and what a message
//! changes of it. Neither trusts the order of messages: the queue numbers what it sends over a link, and both know lives
//! of objects by their UID and states of one life by their generation.
//!
//! A link is one connection. Whoever drives these ends hands nothing of a former link to a later one.

mod queue;
mod receiver;
mod send;

pub use queue::{Acknowledged, Queue, QueueSettings, Window};
pub use receiver::{Change, Delivery, DeliveryError, Known, Receiver, Said, Verdict};
pub use send::{Outgoing, Task};
