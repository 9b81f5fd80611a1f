//! The edge agent: device twins on one machine, served over DMI, MQTT and a local HTTP API.
//!
//! [`Agent::bind`] opens the store and every socket and starts nothing; [`Agent::run`] works until it is
//! cancelled. Configuration is one [`AgentConfig`].

pub mod api;
pub mod config;

mod agent;

pub use agent::{Addresses, Agent, Error};
pub use config::AgentConfig;
