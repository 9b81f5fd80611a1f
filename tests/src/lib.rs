//! Whole processes and foreign peers, for the end-to-end tests, the bench and the endurance lines.

pub mod api_peers;
pub mod app;
pub mod bench;
pub mod cloud;
pub mod cluster;
pub mod crash;
pub mod disk;
pub mod edge_fleet;
pub mod edge_node;
pub mod fleet;
pub mod foreign_mapper;
pub mod gate;
pub mod gateway;
pub mod http;
pub mod kubeedge;
pub mod load;
pub mod long;
pub mod machine;
pub mod mosquitto;
pub mod peers;
pub mod power;
pub mod process;
pub mod statuses;
pub mod systemd;
pub mod wait;
pub mod world;
