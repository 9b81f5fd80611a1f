//! Whole processes and foreign peers, for the end-to-end tests, the bench and the endurance lines.

pub mod api_peers;
pub mod bench;
pub mod crash;
pub mod fleet;
pub mod foreign_mapper;
pub mod gate;
pub mod gateway;
pub mod http;
pub mod long;
pub mod mosquitto;
pub mod peers;
pub mod process;
pub mod wait;
pub mod world;
