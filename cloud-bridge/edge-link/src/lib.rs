//! The channel between a cloud and an edge node, as KubeEdge speaks it, without I/O, clock or task.
//!
//! [`frame`] reads and writes a [`Message`]; [`Resource`] is what one is about; [`content`] holds what is in one where
//! both ends need it. [`down`] and [`up`] are the rules of what is sent again and what is acknowledged, for both ends:
//! each is a state that is told what happened, with the caller's time, and says what to do. The rules, each with its
//! test, are listed in `docs/channel.md`.
//!
//! Invariants:
//! - what is acknowledged is committed, and what is confirmed is visible in the cloud;
//! - within one life of an object an older state never takes the place of a newer one, in either direction;
//! - the end of a life never ends another one of the same name;
//! - no octets of a peer end in a panic.

mod acknowledge;
pub mod content;
pub mod down;
pub mod frame;
mod message;
mod object;
mod resource;
pub mod up;
pub mod words;

pub use message::{Header, Message, MessageId, Route};
pub use object::{Look, Uid, Version};
pub use resource::{Collection, Kind, NodeResource, ObjectKey, Resource, ResourceError};
