//! Demands 1, 2, 3, 6 and 24: what happens on a wire that devices share.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use device_model::{DeviceState, Quality, QualityCode};
use e2e::world::{Machine, PATIENCE, World, good, word};
use sim_modbus::{Fault, FaultKind, LineOptions};
use tokio::time::timeout;

fn machines(count: u8) -> Vec<Machine> {
    (1..=count).map(|unit| Machine::new(format!("m{unit}"), unit)).collect()
}

#[tokio::test]
async fn row_01_a_device_that_was_away_is_read_again() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1).keys("timeout: 100ms")]).await?;
    let away = world.devices().inject(Fault::new(FaultKind::Reset));
    let start = Instant::now();
    world.start().await?;
    world.until_device("pump", |pump| pump.state == DeviceState::Offline).await?;
    let bad = |level: &edge_agent::api::view::PropertyView| {
        level.reported.as_ref().is_some_and(|reported| reported.quality == Quality::Bad)
    };
    let level = world.until("pump", "level", bad).await?;
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    let reported = level.reported.context("reported")?;
    assert_eq!((reported.value, reported.code), (None, QualityCode::NoCommunication));
    world.devices().clear(away);
    for round in 0..5 {
        world.devices().set_value("test/pump", "level", f64::from(round))?;
        let text = round.to_string();
        world.until("pump", "level", |level| good(level) == Some(text.as_str())).await?;
        let kind = if round % 2 == 0 { FaultKind::Reset } else { FaultKind::Silence };
        let away = world.devices().inject(Fault::new(kind));
        world.until("pump", "level", |level| good(level).is_none()).await?;
        world.devices().clear(away);
    }
    assert_eq!(world.devices().counters().connections.max, 1, "never two connections");
    world.stop().await
}

#[tokio::test]
async fn row_01_a_device_that_reboots_is_written_again_what_it_forgot() -> Result<()> {
    let pump = [Machine::new("pump", 1).keys("timeout: 100ms, reapply: true")];
    for mut world in [World::tcp(&pump).await?, World::line(&pump, LineOptions::default())?] {
        world.start().await?;
        world.until("pump", "level", |level| good(level) == Some("0")).await?;
        let answer = world.set("pump", "setpoint", "7", "5s").await?;
        assert_eq!(word(&answer, "setpoint").as_deref(), Some("verified"));
        world.devices().set_value("test/pump", "level", 3.0)?;
        world.until("pump", "level", |level| good(level) == Some("3")).await?;
        let time = Duration::from_millis(500);
        world.devices().inject(Fault::new(FaultKind::Reboot(time)).count(1));
        world.until_device("pump", |pump| pump.state == DeviceState::Offline).await?;
        // The registers are as at the start, until the mapper sees to it.
        let devices = world.devices().clone();
        let written = world.devices().until(|_| devices.holding(1, 0).is_ok_and(|word| word == 7));
        timeout(PATIENCE, written).await?;
        world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
        world.until("pump", "level", |level| good(level) == Some("0")).await?;
        world.until("pump", "setpoint", |setpoint| good(setpoint) == Some("7")).await?;
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn row_02_one_connection_serves_thirty_two_devices() -> Result<()> {
    let mut world = World::tcp(&machines(32)).await?;
    world.devices().inject(Fault::new(FaultKind::OneConnection));
    world.start().await?;
    let polled =
        world.devices().until(|counters| (1..=32).all(|unit| counters.unit(unit).requests >= 20));
    let counters = timeout(PATIENCE, polled).await?;
    assert_eq!((counters.connections.accepted, counters.connections.refused), (1, 0));
    for unit in 1..=32 {
        world.until(&format!("m{unit}"), "level", |level| good(level).is_some()).await?;
    }
    world.stop().await
}

#[tokio::test]
async fn row_02_one_serial_line_serves_its_units_without_overlap() -> Result<()> {
    // With a parity bit a character has the eleven bits of the paced line.
    let machines: Vec<_> =
        machines(8).into_iter().map(|machine| machine.keys("parity: even")).collect();
    let mut world = World::line(&machines, LineOptions::paced(9600))?;
    world.start().await?;
    let polled =
        world.devices().until(|counters| (1..=8).all(|unit| counters.unit(unit).requests >= 10));
    let counters = timeout(PATIENCE, polled).await?;
    assert_eq!((counters.overlapping_frames, counters.bad_frames), (0, 0));
    let gap = counters.smallest_gap.context("no gap was measured")?;
    assert!(gap >= Duration::from_secs(1).mul_f64(3.5 * 11.0 / 9600.0), "{gap:?}");
    world.stop().await
}

#[tokio::test]
async fn row_03_a_dead_unit_leaves_its_neighbours_their_turns() -> Result<()> {
    let machines: Vec<_> =
        machines(8).into_iter().map(|machine| machine.every(500).keys("timeout: 200ms")).collect();
    // Two lines alike; the second one is healthy and shows what this machine can do at this moment.
    let mut line = World::line(&machines, LineOptions::default())?;
    let mut witness = World::line(&machines, LineOptions::default())?;
    for dead in [3, 5, 7] {
        line.devices().inject(Fault::new(FaultKind::Silence).unit(dead));
    }
    line.start().await?;
    witness.start().await?;
    for dead in [3, 5, 7] {
        line.until_device(&format!("m{dead}"), |dead| dead.state == DeviceState::Offline).await?;
    }
    witness.until("m8", "level", |level| good(level).is_some()).await?;
    // From here on the dead ones rest. Each cycle of a unit is three requests: input, holding, coil.
    let before = (line.devices().counters(), witness.devices().counters());
    let enough =
        |now: &sim_modbus::Counters| now.unit(1).requests >= before.1.unit(1).requests + 90;
    let other = timeout(PATIENCE * 2, witness.devices().until(enough)).await?;
    let after = line.devices().counters();
    for unit in [1, 2, 4, 6, 8] {
        let read = after.unit(unit).requests - before.0.unit(unit).requests;
        let could = other.unit(unit).requests - before.1.unit(unit).requests;
        // One cycle may be under way at either end.
        assert!((read + 3) * 100 >= could * 95, "unit {unit}: {read} requests of {could}");
    }
    line.devices().clear_faults();
    for revived in [3, 5, 7] {
        line.until_device(&format!("m{revived}"), |unit| unit.state == DeviceState::Online).await?;
    }
    witness.stop().await?;
    line.stop().await
}

#[tokio::test]
async fn row_06_a_late_answer_is_never_taken_for_the_next() -> Result<()> {
    let keys = "timeout: 100ms";
    let pair = [Machine::new("a", 1).keys(keys), Machine::new("b", 2).keys(keys)];
    let worlds = [World::tcp(&pair).await?, World::line(&pair, LineOptions::default())?];
    for mut world in worlds {
        world.devices().set_value("test/a", "level", 111.0)?;
        world.devices().set_value("test/b", "level", 222.0)?;
        let late = Fault::new(FaultKind::Late(Duration::from_millis(150))).every(5);
        world.devices().inject(late);
        world.start().await?;
        let served = world.devices().until(|counters| counters.faults >= 10);
        let watching = async {
            loop {
                for (name, right) in [("a", "111"), ("b", "222")] {
                    if let Ok(device) = world.device(name).await {
                        let level = device.property("level").and_then(good);
                        assert!(level.is_none_or(|level| level == right), "{name} read {level:?}");
                    }
                }
            }
        };
        tokio::select! {
            served = timeout(PATIENCE, served) => served.map(drop)?,
            () = watching => {}
        }
        world.devices().clear_faults();
        world.until("a", "level", |level| good(level) == Some("111")).await?;
        world.until("b", "level", |level| good(level) == Some("222")).await?;
        assert!(world.metrics()?.discarded.count() > 0, "no late answer was recognized as one");
        let connections = world.devices().counters().connections;
        if world.served().is_ok() {
            assert_eq!(connections.accepted, 1, "the connection was kept");
        }
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn row_24_writes_go_before_reads_on_a_full_bus() -> Result<()> {
    let machines: Vec<_> = machines(4).into_iter().map(|machine| machine.every(10)).collect();
    // 19200 baud: one transaction takes about 15 ms, so polling every 10 ms fills the line many times over.
    let mut world = World::line(&machines, LineOptions::paced(19_200))?;
    world.start().await?;
    world.until("m4", "level", |level| good(level).is_some()).await?;
    let metrics = world.metrics()?;
    let mut slowest = Duration::ZERO;
    for value in 1..=10_u16 {
        let start = Instant::now();
        let devices = world.devices().clone();
        let body = value.to_string();
        let set = world.set("m2", "setpoint", &body, "10s");
        let written = async {
            let seen = devices.clone();
            devices.until(move |_| seen.holding(2, 0).is_ok_and(|word| word == value)).await;
            start.elapsed()
        };
        let (answer, time) = tokio::join!(set, timeout(PATIENCE, written));
        assert_eq!(word(&answer?, "setpoint").as_deref(), Some("verified"));
        slowest = slowest.max(time?);
    }
    assert!(metrics.overruns.count() > 0, "the line was not full");
    // Far above what it takes, far below a round of all devices behind which a write could have queued for ever.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    world.stop().await
}
