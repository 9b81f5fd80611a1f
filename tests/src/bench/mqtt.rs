//! The event bus under load, and beside it the broker part alone: ours and Mosquitto.

mod broker;
mod client;
mod twins;

use anyhow::Result;
use serde::Serialize;

use super::Spread;

/// Subscribers of a fan-out.
const SUBSCRIBERS: usize = 50;

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Mqtt {
    /// Updates of twins by an application, up to what the agent publishes of them.
    pub twins: Twins,
    /// Messages of applications among themselves, with 50 subscribers each: the brokers alone.
    pub brokers: Vec<Broker>,
}

/// The agent with its embedded broker, one property a device; what is desired of it is never reached.
#[derive(Debug, Serialize)]
pub struct Twins {
    /// Devices that are updated in turn.
    pub devices: usize,
    /// At this many updates a second the times were measured.
    pub paced_per_second: u64,
    /// From an update to its document, in milliseconds.
    pub document_ms: Spread,
    /// From an update to its delta, in milliseconds.
    pub delta_ms: Spread,
    /// Updates committed and acknowledged a second, as fast as one client sends with 100 on the way.
    pub updates_per_second: f64,
    /// Documents and deltas that one subscriber got a second meanwhile.
    pub messages_per_second: f64,
    /// Messages that this subscriber did not get: it reads slower than all is published, and the oldest go.
    pub skipped: u64,
    /// Processor time of the agent for 10,000 of these updates, in milliseconds.
    pub cpu_ms_per_10000: f64,
    /// Each document told to 50 subscribers.
    pub fan_out: FanOut,
    /// Resident after all of it, in MB.
    pub resident_mb: f64,
    /// Largest on the way, in MB.
    pub peak_mb: f64,
}

/// One broker.
#[derive(Debug, Serialize)]
pub struct Broker {
    /// Whose it is.
    pub name: &'static str,
    /// Messages of 400 octets with QoS 1 that one publisher brought to one subscriber a second, 100 on the way.
    pub messages_per_second: f64,
    /// Processor time of the broker for 10,000 of them, in milliseconds.
    pub cpu_ms_per_10000: f64,
    /// Each message told to 50 subscribers.
    pub fan_out: FanOut,
    /// Resident after all of it, in MB.
    pub resident_mb: f64,
}

/// One message, many subscribers.
#[derive(Debug, Serialize)]
pub struct FanOut {
    /// Who gets each message.
    pub subscribers: usize,
    /// At this many messages a second.
    pub paced_per_second: u64,
    /// From a message to each of its deliveries, in milliseconds.
    pub delivery_ms: Spread,
    /// Messages that did not come to a subscriber.
    pub missing: u64,
    /// Processor time of the broker's process for 10,000 deliveries, in milliseconds.
    pub cpu_ms_per_10000: f64,
}

/// Each load for `seconds`, at `rate` messages a second where it is paced.
///
/// # Errors
/// Mosquitto is not installed, or a broker sends a client away.
pub async fn run(seconds: u64, rate: u64) -> Result<Mqtt> {
    let (twins, embedded) = twins::run(seconds, rate).await?;
    let mosquitto = broker::mosquitto(seconds, rate / 10).await?;
    Ok(Mqtt { twins, brokers: vec![embedded, mosquitto] })
}
