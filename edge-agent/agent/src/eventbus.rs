//! The event bus for local apps: KubeEdge's `$hw/events` topics over an MQTT broker.
//!
//! In: [`topic`] and [`payload`] parse what clients publish; the twins decide. Out: a task follows the feed and
//! puts each entry into words, in order: result, document, delta. The twins never wait for it; when it is too
//! slow it skips to the present state of each device. `docs/mqtt.md` describes topics and payloads.

mod inbox;
mod outbox;
mod owed;
mod payload;
mod refused;
mod topic;
mod words;

pub(crate) use inbox::Receiver;
pub(crate) use outbox::Outbox;
pub(crate) use owed::Owed;
pub(crate) use refused::Refused;
