//! Sequential updates of one property, as a subscriber of the embedded broker sees them.

use std::time::Duration;

use anyhow::{Context, Result};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde::Serialize;

use crate::crash::report;
use crate::gateway::{Gateway, plain_devices};

/// What it counted.
#[derive(Debug, Serialize)]
pub struct Order {
    /// Updates sent, one after the other's answer.
    pub updates: usize,
    /// Values that reached the subscriber.
    pub seen: usize,
    /// Values that came after a newer one.
    pub inversions: usize,
    /// Whether the newest one was seen.
    pub newest_seen: bool,
}

/// Reports `updates` rising numbers and reads the `document` topic.
///
/// # Errors
/// A report was refused, or nothing arrived.
pub async fn run(updates: usize) -> Result<Order> {
    let mut gateway = Gateway::new(true)?;
    gateway.manifest("devices.yaml", &plain_devices(1, 1))?;
    gateway.start(None).await?;
    gateway.loaded(1).await?;
    let broker = gateway.mqtt().context("no broker")?;
    let mut options = MqttOptions::new("order", broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 64);
    client.subscribe("$hw/events/device/bench/d0/twin/update/document", QoS::AtLeastOnce).await?;
    while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}

    let socket = gateway.dmi();
    let last = i64::try_from(updates)?;
    let sending = async {
        let mut agent = dmi::connect::manager(socket, Duration::from_secs(2));
        for number in 1..=last {
            agent.report_device_status(report(0, 1, number)).await?;
        }
        anyhow::Ok(())
    };
    let reading = async {
        let (mut seen, mut inversions, mut newest) = (0, 0, 0);
        while newest < last {
            let event = tokio::time::timeout(Duration::from_secs(10), events.poll()).await;
            let Ok(event) = event else { break };
            let Event::Incoming(Packet::Publish(publish)) = event? else { continue };
            let document: serde_json::Value = serde_json::from_slice(&publish.payload)?;
            let value = document["twin"]["p0"]["current"]["actual"]["value"].as_str();
            let value: i64 = value.context("no value in the document")?.parse()?;
            seen += 1;
            inversions += usize::from(value < newest);
            newest = newest.max(value);
        }
        anyhow::Ok((seen, inversions, newest == last))
    };
    let ((), (seen, inversions, newest_seen)) = tokio::try_join!(sending, reading)?;
    Ok(Order { updates, seen, inversions, newest_seen })
}
