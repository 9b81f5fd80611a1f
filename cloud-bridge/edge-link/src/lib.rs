//! The channel between a cloud and an edge node, as KubeEdge speaks it, without I/O, clock or task.
//!
//! [`frame`] reads and writes a [`Message`]; [`Resource`] is what one is about; [`content`] holds what is in one where
//! both ends need it.
//!
//! Invariant: no octets of a peer end in a panic.

mod acknowledge;
pub mod content;
pub mod frame;
mod message;
mod object;
mod resource;
pub mod words;

pub use message::{Header, Message, MessageId, Route};
pub use object::{Look, Uid, Version};
pub use resource::{Collection, Kind, NodeResource, ObjectKey, Resource, ResourceError};
