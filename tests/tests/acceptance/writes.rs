//! Demands 8 and 46: what becomes of a desired value, and how a mapper ends.

use std::time::Duration;

use anyhow::{Context, Result};
use device_model::DeviceState;
use e2e::world::{Machine, PATIENCE, World, good, word};
use sim_modbus::{Fault, FaultKind};
use tokio::time::timeout;

#[tokio::test]
async fn row_08_a_write_is_acknowledged_and_never_repeated() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
    world.start().await?;
    world.until("pump", "setpoint", |setpoint| good(setpoint).is_some()).await?;
    assert_eq!(
        world.devices().counters().write_requests,
        0,
        "nothing is desired, nothing is written"
    );

    let answer = world.set("pump", "setpoint", "450", "10s").await?;
    assert_eq!(word(&answer, "setpoint").as_deref(), Some("verified"), "{answer:#?}");
    assert_eq!(world.devices().holding(1, 0)?, 450);
    assert_eq!(world.devices().counters().write_requests, 1);

    for _ in 0..5 {
        world.stop_mapper().await?;
        let before = world.devices().counters().requests;
        world.start_mapper("mapper").await?;
        let polled = world.devices().until(|counters| counters.requests > before + 6);
        timeout(PATIENCE, polled).await?;
    }
    world.stop_agent().await?;
    world.start_agent().await?;
    let before = world.devices().counters().requests;
    timeout(PATIENCE, world.devices().until(|counters| counters.requests > before + 6)).await?;
    world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
    assert_eq!(world.devices().counters().write_requests, 1, "a restart writes nothing again");
    world.stop().await
}

#[tokio::test]
async fn row_08_a_refusal_is_told_with_its_code_and_polling_goes_on() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
    world.start().await?;
    world.until("pump", "level", |level| good(level).is_some()).await?;
    let refuses = world.devices().inject(Fault::new(FaultKind::Exception(2)).function(6));
    let also = world.devices().inject(Fault::new(FaultKind::Exception(2)).function(16));
    let answer = world.set("pump", "setpoint", "7", "10s").await?;
    let ack = answer.properties["setpoint"].ack.clone().context("no acknowledgement")?;
    assert_eq!((ack.code.number(), ack.word.as_str()), (404, "not-found"), "{ack:?}");
    world.devices().set_value("test/pump", "level", 77.0)?;
    world.until("pump", "level", |level| good(level) == Some("77")).await?;
    world.devices().clear(refuses);
    world.devices().clear(also);

    let out = world.set("pump", "setpoint", "1001", "1s").await.unwrap_err().to_string();
    assert!(out.contains("1001") || out.contains("0 to 1000"), "{out}");
    let read_only = world.set("pump", "level", "5", "1s").await.unwrap_err().to_string();
    assert!(read_only.contains("ReadOnly"), "{read_only}");
    world.stop().await
}

#[tokio::test]
async fn row_08_an_enforced_value_is_written_once_for_each_drift() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1).setpoint("enforce: true")]).await?;
    world.start().await?;
    world.set("pump", "setpoint", "450", "10s").await?;
    let written = world.devices().counters().write_requests;
    world.devices().set_value("test/pump", "setpoint", 5.0)?;
    let devices = world.devices().clone();
    let back = world.devices().until(move |_| devices.holding(1, 0).is_ok_and(|word| word == 450));
    let counters = timeout(PATIENCE, back).await?;
    assert_eq!(counters.write_requests, written + 1);
    let before = counters.requests;
    let later = world.devices().until(|counters| counters.requests > before + 9);
    assert_eq!(timeout(PATIENCE, later).await?.write_requests, written + 1);
    world.stop().await
}

#[tokio::test]
async fn row_46_a_stop_leaves_outputs_safe() -> Result<()> {
    // As programs: stopped by SIGTERM, and anything but exit code 0 is an error.
    let pump = Machine::new("pump", 1).setpoint("safeValue: 0");
    let mut world = World::tcp(&[pump]).await?.as_programs();
    world.start().await?;
    world.until("pump", "setpoint", |setpoint| good(setpoint).is_some()).await?;
    world.set("pump", "setpoint", "450", "10s").await?;
    world.devices().inject(Fault::new(FaultKind::Delay(Duration::from_millis(100))));
    let time = world.stop_mapper().await?;
    assert!(time < Duration::from_secs(2), "{time:?}");
    assert_eq!(world.devices().holding(1, 0)?, 0, "the safe value");
    let counters = world.devices().counters();
    assert_eq!(counters.requests, counters.answers, "the transaction in flight was finished");
    world.stop().await
}
