//! `mqtt`: the border to local apps.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `mqtt.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MqttMode {
    /// A broker inside the agent.
    #[default]
    Embedded,
    /// No MQTT.
    Off,
}

/// `mqtt`: the event bus for local apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mqtt {
    /// `embedded` (default) or `off`.
    pub mode: MqttMode,
    /// Address of the embedded broker. Default 127.0.0.1:1883; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Most clients at a time. Default 100.
    pub max_clients: usize,
    /// Largest packet, in bytes. Default 262144.
    pub max_packet: usize,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            mode: MqttMode::Embedded,
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            max_clients: 100,
            max_packet: 256 * 1024,
        }
    }
}
