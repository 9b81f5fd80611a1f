//! The edge agent: device twins on one machine, served over DMI, MQTT and a local HTTP API.
//!
//! [`Agent::bind`] opens the store and every socket and starts nothing; [`Agent::run`] works until it is
//! cancelled. Configuration is one [`AgentConfig`].
//!
//! The way of a value, as files: `dmi_server` → `twins` → `feed` → `eventbus` and `api`. The way of a wish:
//! `manifests`, `api` or `eventbus` → `twins` → `feed` → `mappers`.

#[cfg(panic = "abort")]
compile_error!(
    "build with panic = \"unwind\": a fault in one part must still bring the rest to disk"
);

pub mod api;
pub mod config;
pub mod identity;
pub mod program;

mod agent;
mod broker;
mod catalogue;
mod clock;
mod connect;
mod dmi_server;
mod error;
mod eventbus;
mod feed;
mod health;
mod history;
mod leases;
mod manifests;
mod mappers;
mod messages;
mod metrics;
mod refuse;
mod reload;
mod socket;
mod subscriptions;
mod traces;
mod twins;
mod uplink;

pub use agent::{Addresses, Agent};
pub use config::AgentConfig;
pub use error::Error;
pub use reload::{Reloaded, Reloader};
