//! The agent and mosquitto as the broker beside it: late, stopped, frozen, and behind a gate that breaks.
#![cfg(feature = "peers")]

use anyhow::{Context, Result, ensure};
use e2e::gate::{Gate, Outage};
use e2e::gateway::free_port;
use e2e::http;
use e2e::mosquitto::{Broker, Subscriber, publish};
use e2e::wait::eventually;
use e2e::world::{Machine, PATIENCE, World};
use hyper::Method;
use rustix::process::Signal;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PUMP: &str = "$hw/events/device/test/pump";
/// Far less than a broker that does not answer would take.
const SOON: Duration = Duration::from_secs(5);

/// An agent with a pump, whose broker is at `broker`.
async fn world(broker: SocketAddr) -> Result<World> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
    world.publish_at(broker);
    world.start_agent().await?;
    world.until_device("pump", |_| true).await?;
    Ok(world)
}

/// Waits until the part `mqtt` is so.
async fn until_mqtt(world: &World, status: &str) -> Result<()> {
    eventually(PATIENCE, status, async || {
        let (_, body) = http::get(&world.api(), "/readyz").await?;
        let ready: Json = serde_json::from_slice(&body)?;
        let parts = ready["parts"].as_array().context("no parts")?;
        let part = parts.iter().find(|part| part["name"] == "mqtt").context("no mqtt")?;
        ensure!(part["status"] == status, "{part}");
        Ok(())
    })
    .await
}

/// Desires 100 values one after the other, the last one `last`; nothing delays them.
async fn desire(world: &World, last: u32) -> Result<()> {
    let start = Instant::now();
    for value in last - 99..=last {
        world.set("pump", "setpoint", &value.to_string(), "0s").await?;
    }
    ensure!(start.elapsed() < SOON, "{:?}", start.elapsed());
    Ok(())
}

async fn until_told(app: &mut Subscriber, value: u32) -> Result<()> {
    let value = value.to_string();
    let topic = format!("{PUMP}/twin/update/delta");
    app.message(|at, message| at == topic && message["delta"]["setpoint"] == value.as_str())
        .await?;
    Ok(())
}

/// Requests over the broker are answered there.
async fn served(app: &mut Subscriber, broker: SocketAddr, id: &str) -> Result<()> {
    let request = format!("{{\"event_id\":\"{id}\"}}");
    publish(broker, &format!("{PUMP}/twin/get"), &request).await?;
    app.message(|at, message| at.ends_with("get/result") && message["event_id"] == id).await?;
    Ok(())
}

#[tokio::test]
async fn mosquitto_that_comes_late_and_is_started_again_is_told_the_newest_values() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let address = free_port()?;
    let world = world(address).await?;
    until_mqtt(&world, "degraded").await?;
    desire(&world, 100).await?;
    let broker = Broker::start(address, folder.path()).await?;
    let mut app = Subscriber::start(address, &["$hw/events/#"]).await?;
    until_mqtt(&world, "ok").await?;
    desire(&world, 200).await?;
    until_told(&mut app, 200).await?;
    served(&mut app, address, "first").await?;
    broker.stop().await?;
    until_mqtt(&world, "degraded").await?;
    desire(&world, 300).await?;
    let _broker = Broker::start(address, folder.path()).await?;
    // The subscriber comes back by itself, or a new one hears the next values.
    let mut app = Subscriber::start(address, &["$hw/events/#"]).await?;
    until_mqtt(&world, "ok").await?;
    desire(&world, 400).await?;
    until_told(&mut app, 400).await?;
    served(&mut app, address, "again").await?;
    world.stop().await
}

#[tokio::test]
async fn a_frozen_mosquitto_delays_nothing_and_is_told_the_newest_values() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = Broker::start(free_port()?, folder.path()).await?;
    let address = broker.address();
    let mut app = Subscriber::start(address, &["$hw/events/#"]).await?;
    let world = world(address).await?;
    until_mqtt(&world, "ok").await?;
    broker.process().signal(Signal::STOP)?;
    desire(&world, 300).await?;
    until_mqtt(&world, "degraded").await?;
    desire(&world, 500).await?;
    broker.process().signal(Signal::CONT)?;
    until_told(&mut app, 500).await?;
    until_mqtt(&world, "ok").await?;
    served(&mut app, address, "thawed").await?;
    world.stop().await
}

#[tokio::test]
async fn whatever_breaks_the_way_to_mosquitto_it_is_told_the_newest_values() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = Broker::start(free_port()?, folder.path()).await?;
    let address = broker.address();
    let gate = Gate::open()?;
    gate.lead_to(address).await?;
    let mut app = Subscriber::start(address, &["$hw/events/#"]).await?;
    let world = world(gate.address()).await?;
    until_mqtt(&world, "ok").await?;
    let outages = [Outage::Reset, Outage::Close, Outage::BlackHole];
    for (round, outage) in (1..).zip(outages) {
        gate.interrupt(outage).await?;
        desire(&world, round * 200).await?;
        until_mqtt(&world, "degraded").await?;
        desire(&world, round * 200 + 100).await?;
        gate.mend().await?;
        until_told(&mut app, round * 200 + 100).await?;
        until_mqtt(&world, "ok").await?;
        served(&mut app, address, &format!("after {outage:?}")).await?;
    }
    world.stop().await
}

/// Waits until the external broker has the subscription to `filter`.
async fn until_subscribed(world: &World, filter: &str) -> Result<()> {
    eventually(PATIENCE, "a subscription", async || {
        let (status, body) = http::get(&world.api(), &subscription(filter)).await?;
        let one: Json = serde_json::from_slice(&body)?;
        ensure!(status == 200 && one["external"] == "subscribed", "{one}");
        Ok(())
    })
    .await
}

fn subscription(filter: &str) -> String {
    format!("/v1/subscriptions/{}", filter.replace('/', "%2F").replace('#', "%23"))
}

#[tokio::test]
async fn mosquitto_is_asked_for_each_stored_subscription_whenever_it_is_back() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = Broker::start(free_port()?, folder.path()).await?;
    let address = broker.address();
    let world = world(address).await?;
    for filter in ["default/alarms/#", "default/over"] {
        let (status, _) = http::ask(&world.api(), Method::PUT, &subscription(filter)).await?;
        ensure!(status == 201, "{status}");
        until_subscribed(&world, filter).await?;
    }
    let mut messages = http::events(&world.api(), "/v1/messages").await?;
    let mut heard = async |topic: &str, text: &str| -> Result<()> {
        let waiting = tokio::time::timeout(PATIENCE, messages.next());
        let message = waiting.await??.context("the stream ended")?;
        let is = message["topic"] == topic && message["text"] == text;
        ensure!(is && message["broker"] == "external", "{message}, not {topic}: {text}");
        Ok(())
    };
    publish(address, "default/other", "not heard").await?;
    publish(address, "default/alarms/1", "first").await?;
    heard("default/alarms/1", "first").await?;
    broker.stop().await?;
    until_mqtt(&world, "degraded").await?;
    // One that knows nothing of the session.
    let folder = tempfile::tempdir()?;
    let _broker = Broker::start(address, folder.path()).await?;
    until_subscribed(&world, "default/alarms/#").await?;
    publish(address, "default/alarms/2", "second").await?;
    heard("default/alarms/2", "second").await?;
    let over = subscription("default/over");
    let (status, _) = http::ask(&world.api(), Method::DELETE, &over).await?;
    ensure!(status == 204, "{status}");
    publish(address, "default/over", "not heard").await?;
    publish(address, "default/alarms/3", "third").await?;
    heard("default/alarms/3", "third").await?;
    world.stop().await
}
