//! Row 2 on a serial line: silence between frames, no two at a time, and each unit's own answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use sim_modbus::LineOptions;
use tokio::time::timeout;

use super::Broken;
use super::watch::Watch;
use crate::world::{Machine, PATIENCE, World};

const BAUD: u32 = 9600;
/// 3.5 characters of 11 bits (serial line specification, section 2.5.1.1).
const SILENCE: Duration = Duration::from_nanos(35 * 11 * 1_000_000_000 / (10 * BAUD as u64));
/// Six times what a transaction takes on such a line.
const SLOWEST: Duration = Duration::from_millis(150);
const UNITS: u8 = 4;

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct Rtu {
    /// Requests that the units were asked.
    pub requests: u64,
    /// How long that took.
    pub seconds: u64,
    /// Fewest that one of the units was asked.
    pub fewest_of_a_unit: u64,
    /// Shortest silence before a request, as the simulator measured it, in microseconds.
    pub smallest_gap_micros: u64,
    /// At least so much is asked for.
    pub wanted_gap_micros: u64,
    /// Requests that began while a frame was on the line.
    pub overlapping_frames: u64,
    /// What the simulator could not read.
    pub bad_frames: u64,
    /// Values that a subscriber saw.
    pub values: u64,
    /// Values of another unit or property.
    pub mixed_up: u64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Polls four units as fast as the line goes, until they were asked `requests` times.
///
/// # Errors
/// A part does not start or ends, or a transaction takes six times as long as it should.
pub async fn run(requests: u64) -> Result<Rtu> {
    let machines: Vec<_> = (1..=UNITS)
        .map(|unit| {
            let from = i64::from(unit) * 1000;
            let keys = format!(
                "simWave: random, simMin: {from}, simMax: {}, simPeriod: 300ms",
                from + 999
            );
            // With a parity bit a character has the eleven bits of the paced line.
            let machine = Machine::new(format!("m{unit}"), unit).keys("parity: even, timeout: 5s");
            machine.every(1).level(&keys)
        })
        .collect();
    let mut world = World::line(&machines, LineOptions::paced(BAUD))?;
    world.start_agent().await?;
    let mut watch = Watch::open(&world).await?;
    world.start_mapper("mapper").await?;
    let mut rtu = Rtu::default();
    let watching = async {
        loop {
            let told = watch.good().await?;
            let unit: i64 = told.machine.trim_start_matches('m').parse()?;
            let right = match told.property.as_str() {
                "level" => told.value / 1000 == unit,
                _ => told.value == 0,
            };
            rtu.values += 1;
            rtu.mixed_up += u64::from(!right);
        }
    };
    let start = Instant::now();
    let asked = world.devices().until(|counters| counters.requests >= requests);
    let patience = SLOWEST * u32::try_from(requests)? + PATIENCE;
    let counters = tokio::select! {
        asked = timeout(patience, asked) => asked.context("the line stands still")?,
        ended = watching => return ended,
    };
    world.stop().await?;
    rtu.seconds = start.elapsed().as_secs();
    rtu.requests = counters.requests;
    rtu.fewest_of_a_unit =
        (1..=UNITS).map(|unit| counters.unit(unit).requests).min().unwrap_or_default();
    let gap = counters.smallest_gap.context("nothing was asked")?;
    rtu.smallest_gap_micros = u64::try_from(gap.as_micros())?;
    rtu.wanted_gap_micros = u64::try_from(SILENCE.as_micros())?;
    rtu.overlapping_frames = counters.overlapping_frames;
    rtu.bad_frames = counters.bad_frames;
    rtu.broken.unless(gap >= SILENCE, "3.5 characters of silence before each request");
    rtu.broken.unless(rtu.overlapping_frames == 0, "one frame at a time");
    rtu.broken.unless(rtu.bad_frames == 0, "no broken frame");
    rtu.broken.unless(rtu.mixed_up == 0, "no value is another's");
    rtu.broken.unless(rtu.values > 0, "it shows something");
    let fair = rtu.fewest_of_a_unit * u64::from(UNITS) * 10 >= rtu.requests * 9;
    rtu.broken.unless(fair, "each unit has its turns");
    Ok(rtu)
}
