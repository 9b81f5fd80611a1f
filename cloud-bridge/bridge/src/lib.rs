//! The cloud's end: keeps Devices, their models and the states that nodes report true to each other, between a
//! Kubernetes API server and the edge nodes that are connected.
//!
//! Who is who: [`identity`] holds the certificate authority and the tokens, [`join`] gives nodes their certificates.
//!
//! Down: `objects` watches Devices and models, `hub` sends each node what differs from what it has. Up: a session takes
//! reports, `status` writes them when it is their turn, and only then are they confirmed. `requests` does what a node
//! asks for itself; `claims` says which replica speaks with which node.

pub mod bridge;
mod claims;
pub mod config;
pub mod crds;
mod error;
mod events;
mod https;
mod hub;
pub mod identity;
pub mod join;
mod metrics;
mod nodes;
mod objects;
mod observe;
mod plane;
pub mod program;
mod records;
mod requests;
mod status;
mod syncs;
mod watch;
pub mod webhook;

pub use error::Error;
