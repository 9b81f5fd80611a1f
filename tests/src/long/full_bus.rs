//! Row 24: writes go before reads on a line that polling alone fills.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use sim_modbus::LineOptions;
use tokio::time::timeout;

use super::Broken;
use crate::bench::Spread;
use crate::world::{Machine, PATIENCE, World, good, word};

const BAUD: u32 = 19_200;
/// Request of 8 characters and answer of 8, with 3.5 of silence after each; 11 bits a character.
const TRANSACTION: Duration = Duration::from_nanos(23 * 11 * 1_000_000_000 / BAUD as u64);

/// What it counted.
#[derive(Debug, Serialize)]
pub struct FullBus {
    /// Values that were set.
    pub writes: u16,
    /// From the request to the agent until the device has the value, in milliseconds.
    pub to_register_ms: Spread,
    /// At most this p99 is wanted: the transaction in flight, the write's own, and the tolerance.
    pub wanted_p99_ms: f64,
    /// Cycles that were skipped: more than none, or the line was not full.
    pub overruns: u64,
    /// Requests that wrote: one for each value.
    pub write_requests: u64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Sets one value after another on a line that is asked for many times more than it can carry.
///
/// # Errors
/// A part does not start, or a value is not acknowledged as verified.
pub async fn run(writes: u16, tolerance: Duration) -> Result<FullBus> {
    let machines: Vec<_> =
        (1..=4).map(|unit| Machine::new(format!("m{unit}"), unit).every(10)).collect();
    let mut world = World::line(&machines, LineOptions::paced(BAUD))?;
    world.start().await?;
    world.until("m4", "level", |level| good(level).is_some()).await?;
    let metrics = world.metrics()?;
    let mut times = Vec::new();
    for number in 0..writes {
        let (unit, value) = (u8::try_from(number % 4)? + 1, number % 1000 + 1);
        let start = Instant::now();
        let devices = world.devices().clone();
        let (machine, text) = (format!("m{unit}"), value.to_string());
        let set = world.set(&machine, "setpoint", &text, "10s");
        let written = async {
            let seen = devices.clone();
            devices.until(move |_| seen.holding(unit, 0).is_ok_and(|word| word == value)).await;
            start.elapsed()
        };
        let (answer, time) = tokio::join!(set, timeout(PATIENCE, written));
        let word = word(&answer?, "setpoint");
        ensure!(word.as_deref() == Some("verified"), "{word:?}");
        times.push(time?);
    }
    let counters = world.devices().counters();
    let to_register_ms = Spread::of_millis(&times);
    let wanted_p99_ms = (2 * TRANSACTION + tolerance).as_secs_f64() * 1000.0;
    let mut broken = Broken::default();
    broken.unless(to_register_ms.p99 <= wanted_p99_ms, "a write waits for one transaction");
    broken.unless(metrics.overruns.count() > 0, "the line is full");
    broken.unless(counters.write_requests == u64::from(writes), "each value is written once");
    let overruns = metrics.overruns.count();
    world.stop().await?;
    let write_requests = counters.write_requests;
    Ok(FullBus { writes, to_register_ms, wanted_p99_ms, overruns, write_requests, broken })
}
