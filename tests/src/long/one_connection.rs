//! Row 2 on TCP: one connection for all devices behind a gateway that takes no second one.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use sim_modbus::{Fault, FaultKind};
use tokio::time::sleep;

use super::Broken;
use crate::world::{Machine, World, good};

const UNITS: u8 = 32;

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct OneConnection {
    /// How long the devices were polled.
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

/// Polls 32 devices of one gateway every 100 ms, for `seconds`.
///
/// # Errors
/// A part does not start, or a device has no value in the end.
pub async fn run(seconds: u64) -> Result<OneConnection> {
    let machines: Vec<_> = (1..=UNITS).map(|unit| Machine::new(format!("m{unit}"), unit)).collect();
    let mut world = World::tcp(&machines).await?;
    world.devices().inject(Fault::new(FaultKind::OneConnection));
    world.start().await?;
    for unit in 1..=UNITS {
        world.until(&format!("m{unit}"), "level", |level| good(level).is_some()).await?;
    }
    let metrics = world.metrics()?;
    let (before, overruns) = (world.devices().counters(), metrics.overruns.count());
    sleep(Duration::from_secs(seconds)).await;
    let after = world.devices().counters();
    let overruns = metrics.overruns.count() - overruns;
    // Three requests a cycle: input register, holding register, coil.
    let cycles: Vec<_> = (1..=UNITS)
        .map(|unit| (after.unit(unit).requests - before.unit(unit).requests) / 3)
        .collect();
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
    one.broken.unless(all && one.fewest_cycles > 0, "every device every cycle");
    world.stop().await?;
    Ok(one)
}
