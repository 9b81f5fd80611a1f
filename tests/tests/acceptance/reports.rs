//! Demands 7, 15, 29 and 39: what is told about a value and a device, when, and to whom.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use device_model::{DeviceState, Quality, QualityCode, Timestamp};
use e2e::world::{Machine, PATIENCE, World, good};
use edge_agent::api::view::DeviceView;
use edge_agent::config::Span;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::Value as Json;
use sim_modbus::{Fault, FaultKind};
use tokio::time::timeout;

/// What an app hears of the pump over MQTT.
struct Documents {
    events: EventLoop,
    /// Kept open.
    _client: AsyncClient,
}

impl Documents {
    async fn of(world: &World) -> Result<Self> {
        let broker = world.mqtt()?;
        let options = MqttOptions::new("acceptance", broker.ip().to_string(), broker.port());
        let (client, mut events) = AsyncClient::new(options, 16);
        let topic = "$hw/events/device/test/pump/twin/update/document";
        client.subscribe(topic, QoS::AtLeastOnce).await?;
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        Ok(Self { events, _client: client })
    }

    /// Waits for a document whose new level is `wanted`; gives that level.
    async fn level(&mut self, wanted: impl Fn(&Json) -> bool) -> Result<Json> {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await? {
                let document: Json = serde_json::from_slice(&publish.payload)?;
                let level = &document["twin"]["level"]["current"]["actual"];
                if wanted(level) {
                    return Ok(level.clone());
                }
            }
        }
    }
}

#[tokio::test]
async fn row_07_every_value_carries_quality_and_times() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1).keys("timeout: 100ms")]).await?;
    world.devices().set_value("test/pump", "level", 42.0)?;
    world.start().await?;
    let level = world.until("pump", "level", |level| good(level) == Some("42")).await?;
    let before = level.reported.context("reported")?;
    assert!(before.sample_time <= before.received_at);

    world.devices().inject(Fault::new(FaultKind::Silence));
    let level = world.until("pump", "level", |level| good(level).is_none()).await?;
    let after = level.reported.context("reported")?;
    assert_eq!(after.quality, Quality::Bad, "{after:?}");
    assert!(matches!(after.code, QualityCode::Timeout | QualityCode::NoCommunication), "{after:?}");
    assert_eq!(
        after.value.as_deref(),
        Some("42"),
        "the last good value stays, and is not called good"
    );
    world.stop().await
}

#[tokio::test]
async fn row_07_quality_and_times_reach_mqtt_when_a_device_dies() -> Result<()> {
    let (cycle, patience) = (Duration::from_millis(500), Duration::from_millis(500));
    let pump = Machine::new("pump", 1).every(500).keys("timeout: 500ms");
    let mut world = World::tcp(&[pump]).await?;
    world.start().await?;
    world.until("pump", "level", |level| good(level) == Some("0")).await?;
    let mut documents = Documents::of(&world).await?;
    world.devices().set_value("test/pump", "level", 42.0)?;
    let read = timeout(PATIENCE, documents.level(|level| level["value"] == "42")).await??;
    assert_eq!(read["metadata"]["quality"], "good", "{read}");
    let times = ["timestamp", "receivedTimestamp"].map(|time| read["metadata"][time].as_u64());
    assert!(times[0].is_some() && times[0] <= times[1], "{read}");

    let died = Instant::now();
    world.kill_devices();
    let gone = documents.level(|level| level["metadata"]["quality"] == "bad");
    let gone = timeout(PATIENCE, gone).await??;
    // Half of this is over at the latest when the mapper finds the connection closed.
    assert!(died.elapsed() <= cycle + patience, "{:?}", died.elapsed());
    assert_eq!(gone["metadata"]["qualityCode"], "no_communication", "{gone}");
    assert_eq!(gone["value"], "42", "the last good value stays, and is not called good");
    assert!(gone["metadata"]["timestamp"].as_u64() > times[0], "{gone}");
    world.stop().await
}

#[tokio::test]
async fn row_07_a_dead_mapper_leaves_values_stale() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1).keys("staleAfter: 500ms")]).await?;
    world.start().await?;
    world.until("pump", "level", |level| good(level).is_some()).await?;
    world.kill_mapper();
    let level = world.until("pump", "level", |level| good(level).is_none()).await?;
    let reported = level.reported.context("reported")?;
    assert_eq!((reported.quality, reported.code), (Quality::Uncertain, QualityCode::Stale));
    world.stop().await
}

#[tokio::test]
async fn row_15_reports_on_change_with_deadband_and_heartbeat() -> Result<()> {
    let machine = Machine::new("pump", 1).every(20).level("deadband: 10");
    let mut world = World::tcp(&[machine]).await?;
    world.start().await?;
    let first = world.until("pump", "level", |level| good(level) == Some("0")).await?;
    let first = first.reported.context("reported")?;
    // A drift in small steps is told once it leaves the deadband, and not before.
    for step in 1..=9_u8 {
        world.devices().set_value("test/pump", "level", step.into())?;
        let asked = world.devices().counters().requests;
        timeout(PATIENCE, world.devices().until(|counters| counters.requests >= asked + 4)).await?;
    }
    let still = world.device("pump").await?;
    let still =
        still.property("level").and_then(|level| level.reported.clone()).context("reported")?;
    assert_eq!((still.value.as_deref(), still.version), (Some("0"), first.version));
    world.devices().set_value("test/pump", "level", 10.0)?;
    world.until("pump", "level", |level| good(level) == Some("10")).await?;
    world.stop().await?;

    let machine = Machine::new("pump", 1).every(20).level("heartbeat: 200ms");
    let mut world = World::tcp(&[machine]).await?;
    world.start().await?;
    let first = world.until("pump", "level", |level| good(level).is_some()).await?;
    let first = first.reported.context("reported")?;
    let again = world.until("pump", "level", |level| {
        level.reported.as_ref().is_some_and(|level| level.sample_time > first.sample_time)
    });
    assert_eq!(
        again.await?.reported.context("reported")?.version,
        first.version,
        "no change, only fresh"
    );
    world.stop().await
}

#[tokio::test]
async fn row_15_a_sine_is_told_no_more_often_than_its_deadband_allows() -> Result<()> {
    // Up and down over 1000 in 8 s, asked for every 20 ms; the deadband is 1 %.
    let (span, period, deadband) = (1000.0, 8.0, 10.0);
    let sine = "deadband: 10, simWave: sine, simMin: 0, simMax: 1000, simPeriod: 8s";
    let mut world = World::tcp(&[Machine::new("pump", 1).every(20).level(sine)]).await?;
    world.start().await?;
    let start = Instant::now();
    let first = world.until("pump", "level", |level| good(level).is_some()).await?;
    let before = world.devices().counters().requests;
    // Each cycle is three requests.
    let polled = world.devices().until(|counters| counters.requests >= before + 600);
    timeout(PATIENCE, polled).await?;
    let last = world.until("pump", "level", |level| good(level).is_some()).await?;
    let half_periods = start.elapsed().as_secs_f64() * 2.0 / period;
    // The way that a sine goes: its span in each half period, and in the rest of one at most this, about its middle.
    let rest = (half_periods.fract() * std::f64::consts::FRAC_PI_2).sin();
    let allowed = span * (half_periods.trunc() + rest) / deadband + 1.0;
    let versions = |level: edge_agent::api::view::PropertyView| {
        level.reported.map(|reported| reported.version).context("reported")
    };
    let told = versions(last)? - versions(first)?;
    let told = f64::from(u32::try_from(told)?);
    assert!(told <= allowed, "{told} of {allowed} readings were told");
    assert!(told >= 10.0, "{told} readings of a moving value");
    world.stop().await
}

#[tokio::test]
async fn row_29_device_state_is_true_and_stable() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1).keys("timeout: 100ms")]).await?;
    world.start().await?;
    let online = world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
    assert_eq!(online.state_reason, None, "nothing is wrong");
    let begin = Timestamp::from(SystemTime::now());
    let watch = e2e::http::events(&world.api(), "/v1/events").await?;
    let mut watch = std::pin::pin!(watch);
    let silent = world.devices().inject(Fault::new(FaultKind::Silence));
    let offline = world.until_device("pump", |pump| pump.state == DeviceState::Offline).await?;
    assert_eq!(offline.state_reason.as_deref(), Some("unit 1 said nothing for 100ms"));
    assert!(offline.state_since >= begin && offline.state_since > online.state_since);
    let told = async {
        loop {
            let event = watch.next().await?.context("the stream of events ended")?;
            if event["kind"] == "state" {
                return anyhow::Ok(event);
            }
        }
    };
    let told = timeout(PATIENCE, told).await??;
    assert_eq!(
        (&told["state"], &told["reason"]),
        (&"offline".into(), &"unit 1 said nothing for 100ms".into())
    );

    world.devices().clear(silent);
    let online = world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
    assert_eq!(online.state_reason, None);
    assert!(online.state_since > offline.state_since);
    let sampled = |pump: &DeviceView| {
        pump.property("level").and_then(|level| Some(level.reported.as_ref()?.sample_time))
    };
    let later = world.until_device("pump", |pump| sampled(pump) > sampled(&online)).await?;
    assert_eq!(later.state_since, online.state_since, "it is still the same state");
    world.stop().await
}

#[tokio::test]
async fn row_29_a_killed_mapper_leaves_unknown_devices_long_before_its_lease_ends() -> Result<()> {
    let world = World::tcp(&[Machine::new("pump", 1)]).await?;
    let mut world = world.as_programs().lease(Span::secs(30));
    world.start().await?;
    let online = world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
    let start = Instant::now();
    world.kill_mapper();
    let unknown = world.until_device("pump", |pump| pump.state == DeviceState::Unknown).await?;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(
        unknown.state_reason.as_deref(),
        Some("its mapper mapper is gone: its socket does not answer")
    );
    assert!(unknown.state_since > online.state_since);
    assert_eq!(unknown.mapper, None);
    world.start_mapper("mapper").await?;
    let online = world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
    assert_eq!(online.state_reason, None);
    world.stop().await
}

#[tokio::test]
async fn row_39_one_read_feeds_twin_mqtt_watch_and_table() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1).every(200)]).await?;
    world.devices().set_value("test/pump", "level", 1.0)?;
    world.start().await?;
    world.until("pump", "level", |level| good(level) == Some("1")).await?;
    let mut documents = Documents::of(&world).await?;
    let watch = e2e::http::events(&world.api(), "/v1/events").await?;
    let mut watch = std::pin::pin!(watch);

    let before = world.devices().counters();
    let start = Instant::now();
    world.devices().set_value("test/pump", "level", 2.0)?;
    let subscriber = documents.level(|level| level["value"] == "2");
    let watcher = async {
        while let Some(event) = watch.next().await? {
            if event["property"] == "level" && event["reported"] == "2" {
                return anyhow::Ok(());
            }
        }
        anyhow::bail!("the stream of events ended")
    };
    let twin = world.until("pump", "level", |level| good(level) == Some("2"));
    let all = async { tokio::try_join!(subscriber, watcher, twin) };
    timeout(PATIENCE, all).await.context("not all of them heard of it")??;
    let cycles = u64::try_from(start.elapsed().as_millis() / 200)? + 2;
    let read = world.devices().counters().unit(1).requests - before.unit(1).requests;
    assert!(read <= cycles * 3, "{read} requests in {cycles} cycles of three");
    world.stop().await
}
