//! Row 6: answers that come after they were given up, and none of them taken for the answer to another request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use sim_modbus::{Fault, FaultKind, LineOptions};

use super::Broken;
use super::watch::Watch;
use crate::world::{Machine, World};

/// Unit 1 counts upwards from here, unit 2 from the double, so that no value of one can be one of the other.
const RANGE: i64 = 15_000;
/// One answer of so many comes late.
const EVERY: u64 = 197;

/// What it counted.
#[derive(Debug, Serialize)]
pub struct Late {
    /// Over Modbus TCP: an answer is known by its transaction number.
    pub tcp: Wire,
    /// Over RTU, where a late answer looks like any other.
    pub rtu: Wire,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// One wire.
#[derive(Debug, Default, Serialize)]
pub struct Wire {
    /// Requests that the devices were asked.
    pub requests: u64,
    /// Answers that came 50 ms after the mapper had given them up.
    pub late: u64,
    /// Late answers that the mapper saw and threw away.
    pub discarded: u64,
    /// Values that a subscriber saw.
    pub values: u64,
    /// Values of another unit, or of another property.
    pub mixed_up: u64,
    /// Values older than one that was seen before.
    pub gone_back: u64,
    /// Connections; 1 is right, a serial line has none.
    pub connections: u64,
    /// How long it took.
    pub seconds: u64,
}

/// Reads two units every 10 ms over each wire until they were asked `requests` times, 36,000 being an hour at 10 Hz.
///
/// # Errors
/// A part does not start or ends.
pub async fn run(requests: u64) -> Result<Late> {
    let machines = [counting("a", 1, RANGE), counting("b", 2, 2 * RANGE)];
    let tcp = World::tcp(&machines).await?;
    let line = World::line(&machines, LineOptions::default())?;
    let (tcp, rtu) = tokio::try_join!(wire(tcp, requests), wire(line, requests))?;
    let mut broken = Broken::default();
    for (name, wire) in [("TCP", &tcp), ("RTU", &rtu)] {
        broken.unless(wire.mixed_up == 0, format_args!("{name}: no value is another's"));
        broken
            .unless(wire.gone_back == 0, format_args!("{name}: no value is older than one before"));
        broken.unless(wire.late > 0, format_args!("{name}: answers were late"));
        let told = wire.values > wire.seconds;
        broken.unless(told, format_args!("{name}: values are told all the time"));
        broken.unless(wire.discarded > 0, format_args!("{name}: late answers are counted"));
    }
    broken.unless(tcp.connections == 1, "TCP: the connection is kept");
    Ok(Late { tcp, rtu, broken })
}

/// A machine whose level counts upwards ten times a second from `from`.
fn counting(name: &str, unit: u8, from: i64) -> Machine {
    let last = from + RANGE - 1;
    let keys =
        format!("simWave: counter, simMin: {from}, simMax: {last}, simStep: 1, simPeriod: 100ms");
    Machine::new(name, unit).every(10).keys("timeout: 100ms").level(&keys)
}

async fn wire(mut world: World, requests: u64) -> Result<Wire> {
    world.start_agent().await?;
    let mut watch = Watch::open(&world).await?;
    world.start_mapper("mapper").await?;
    world.devices().inject(Fault::new(FaultKind::Late(Duration::from_millis(150))).every(EVERY));
    let start = Instant::now();
    let mut wire = Wire::default();
    let mut newest = BTreeMap::new();
    let asked = world.devices().until(|counters| counters.requests >= requests);
    let watching = async {
        loop {
            let told = watch.good().await?;
            wire.values += 1;
            let right = match (told.machine.as_str(), told.property.as_str()) {
                ("a", "level") => RANGE..2 * RANGE,
                ("b", "level") => 2 * RANGE..3 * RANGE,
                (_, "setpoint") => 0..1,
                _ => continue,
            };
            wire.mixed_up += u64::from(!right.contains(&told.value));
            let newest = newest.entry((told.machine, told.property)).or_insert(told.value);
            wire.gone_back += u64::from(told.value < *newest);
            *newest = told.value.max(*newest);
        }
    };
    let counters = tokio::select! {
        counters = asked => counters,
        ended = watching => return ended,
    };
    wire.requests = counters.requests;
    wire.late = counters.faults;
    wire.connections = counters.connections.accepted;
    wire.discarded = world.metrics().context("no mapper")?.discarded.count();
    wire.seconds = start.elapsed().as_secs();
    world.stop().await?;
    Ok(wire)
}
