//! How much of a serial line at 9600 baud the mapper uses, on a pseudo-terminal that takes the time of a real one.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use sim_modbus::{Counters, LineOptions};

use crate::world::{Machine, World, good};

const BAUD: u32 = 9600;
/// Start, eight data bits, parity and stop (serial line specification, section 2.5.1).
const BITS_A_CHARACTER: f64 = 11.0;

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Rtu {
    /// Transactions of the mapper a second.
    pub transactions_per_second: f64,
    /// Transactions that fit if one followed the other with the least silence that the specification asks for.
    pub theoretical_per_second: f64,
    /// The first by the second.
    pub share: f64,
    /// At least this share is wanted.
    pub wanted_share: f64,
}

/// Polls two units as fast as the line goes for `seconds`, one register a request: the hardest case, since each
/// request has its silences.
///
/// # Errors
/// Nothing was read.
pub async fn run(seconds: u64) -> Result<Rtu> {
    let machine = |name, unit| Machine::new(name, unit).every(1).keys("parity: even, timeout: 5s");
    let machines = [machine("a", 1), machine("b", 2)];
    let mut world = World::line(&machines, LineOptions::paced(BAUD))?;
    world.start().await?;
    world.until("b", "level", |level| good(level).is_some()).await?;
    let (before, start) = (world.devices().counters(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (after, time) = (world.devices().counters(), start.elapsed());
    world.stop().await?;

    let words = asked(&after, &[3, 4]) - asked(&before, &[3, 4]);
    let bits = asked(&after, &[1]) - asked(&before, &[1]);
    // Request of 8 characters, answer of 7 (a register) or 6 (a coil), and 3.5 of silence after each.
    let line = (words * 22.0 + bits * 21.0) * BITS_A_CHARACTER / f64::from(BAUD);
    let share = line / time.as_secs_f64();
    let transactions_per_second = (words + bits) / time.as_secs_f64();
    Ok(Rtu {
        transactions_per_second,
        theoretical_per_second: transactions_per_second / share,
        share,
        wanted_share: 0.9,
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn asked(counters: &Counters, functions: &[u8]) -> f64 {
    let of_unit = |unit: &sim_modbus::UnitCounters| -> u64 {
        functions.iter().filter_map(|function| unit.functions.get(function)).sum()
    };
    counters.units.values().map(of_unit).sum::<u64>() as f64
}
