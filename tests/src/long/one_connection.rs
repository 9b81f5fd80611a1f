//! Row 2 on TCP: one connection for all devices behind a gateway that takes no second one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use sim_modbus::{Counters, Fault, FaultKind};
use tokio::time::timeout;

use super::Broken;
use crate::world::{Machine, PATIENCE, World, good};

const UNITS: u8 = 32;
const CYCLE: Duration = Duration::from_millis(100);
/// Requests in a cycle: input register, holding register, coil.
const REQUESTS: u64 = 3;

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct OneConnection {
    /// How long it took.
    pub seconds: u64,
    /// Connections that were taken; 1 is right.
    pub connections: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Cycles of 100 ms that the device with the fewest of them had, and the one with the most.
    pub fewest_cycles: u64,
    /// The most.
    pub most_cycles: u64,
    /// Cycles that the mapper skipped because the wire was busy, of all devices together.
    pub overruns: u64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Polls 32 devices of one gateway every 100 ms, until each of them had `cycles`.
///
/// # Errors
/// A part does not start, or a device has no value at first, or not half of the cycles that it should have.
pub async fn run(cycles: u32) -> Result<OneConnection> {
    let machines: Vec<_> = (1..=UNITS).map(|unit| Machine::new(format!("m{unit}"), unit)).collect();
    let mut world = World::tcp(&machines).await?;
    world.devices().inject(Fault::new(FaultKind::OneConnection));
    world.start().await?;
    for unit in 1..=UNITS {
        world.until(&format!("m{unit}"), "level", |level| good(level).is_some()).await?;
    }
    let metrics = world.metrics()?;
    let (before, overruns) = (world.devices().counters(), metrics.overruns.count());
    let start = Instant::now();
    let had =
        |now: &Counters, unit| (now.unit(unit).requests - before.unit(unit).requests) / REQUESTS;
    let all = world.devices().until(|now| (1..=UNITS).all(|unit| had(now, unit) >= cycles.into()));
    let patience = CYCLE * cycles * 2 + PATIENCE;
    let after = timeout(patience, all).await.context("a device has no turns")?;
    let seconds = start.elapsed().as_secs();
    let overruns = metrics.overruns.count() - overruns;
    let cycles: Vec<_> = (1..=UNITS).map(|unit| had(&after, unit)).collect();
    let mut one = OneConnection {
        seconds,
        connections: after.connections.accepted,
        refused: after.connections.refused,
        fewest_cycles: cycles.iter().copied().min().unwrap_or_default(),
        most_cycles: cycles.iter().copied().max().unwrap_or_default(),
        overruns,
        broken: Broken::default(),
    };
    one.broken.unless(one.connections == 1, "exactly one connection");
    one.broken.unless(one.refused == 0, "no try at a second one");
    // A cycle may be under way at either end, and a skipped one is counted for each of its three requests.
    let all = one.fewest_cycles + overruns + 2 >= one.most_cycles;
    one.broken.unless(all, "every device every cycle");
    world.stop().await?;
    Ok(one)
}
