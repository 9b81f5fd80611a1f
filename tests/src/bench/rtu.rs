//! How much of a serial line at 9600 baud the mapper uses, on a pseudo-terminal that takes the time of a real one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use sim_modbus::{Counters, LineOptions};
use tokio::time::timeout;

use super::per;
use crate::world::{Machine, PATIENCE, World, good};

const BAUD: u32 = 9600;
/// Of a character: start, eight data bits, parity and stop (serial line specification, section 2.5.1).
const BITS: u64 = 11;
/// Characters of a transaction that reads a register: request of 8, answer of 7, and 3.5 of silence after each.
const REGISTER: u64 = 22;
/// The same of a coil: its answer is shorter by one.
const COIL: u64 = REGISTER - 1;

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

/// Polls two units as fast as the line goes, one register a request: the hardest case, since each request has its
/// silences. Counts as many transactions as take `seconds` where one follows the other without pause.
///
/// # Errors
/// A part does not start, or the line stands still.
pub async fn run(seconds: u64) -> Result<Rtu> {
    let machine = |name, unit| Machine::new(name, unit).every(1).keys("parity: even, timeout: 5s");
    let machines = [machine("a", 1), machine("b", 2)];
    let mut world = World::line(&machines, LineOptions::paced(BAUD))?;
    world.start().await?;
    world.until("b", "level", |level| good(level).is_some()).await?;
    let (before, start) = (world.devices().counters(), Instant::now());
    let enough = before.requests + seconds * u64::from(BAUD) / (REGISTER * BITS);
    let counted = world.devices().until(|now| now.requests >= enough);
    let patience = Duration::from_secs(seconds) * 3 + PATIENCE;
    let after = timeout(patience, counted).await.context("the line stands still")?;
    let time = start.elapsed();
    world.stop().await?;

    let registers = asked(&after, &[3, 4]) - asked(&before, &[3, 4]);
    let coils = asked(&after, &[1]) - asked(&before, &[1]);
    let bits = (registers * REGISTER + coils * COIL) * BITS;
    let share = per(bits, time.as_secs_f64()) / f64::from(BAUD);
    let transactions_per_second = per(registers + coils, time.as_secs_f64());
    Ok(Rtu {
        transactions_per_second,
        theoretical_per_second: transactions_per_second / share,
        share,
        wanted_share: 0.9,
    })
}

fn asked(counters: &Counters, functions: &[u8]) -> u64 {
    let of_unit = |unit: &sim_modbus::UnitCounters| -> u64 {
        functions.iter().filter_map(|function| unit.functions.get(function)).sum()
    };
    counters.units.values().map(of_unit).sum()
}
