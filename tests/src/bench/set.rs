//! From `edgetwin set` on the command line to the register, while the mapper polls as fast as it can.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::Spread;
use crate::process::program;
use crate::world::{Machine, World, good};

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Set {
    /// Start of the command until the device has the value, in milliseconds.
    pub to_register_ms: Spread,
    /// At most this p99 is wanted.
    pub wanted_p99_ms: f64,
    /// Requests a second that the device answered meanwhile.
    pub polls_per_second: f64,
}

/// Runs the command `runs` times.
///
/// # Errors
/// The command failed, or the value never reached the device.
pub async fn run(runs: u16) -> Result<Set> {
    let edgetwin = program("edgetwin")?;
    let machines: Vec<_> =
        (1..=20).map(|unit| Machine::new(format!("m{unit}"), unit).every(20)).collect();
    let mut world = World::tcp(&machines).await?;
    world.start().await?;
    world.until("m20", "level", |level| good(level).is_some()).await?;
    let (before, begin) = (world.devices().counters().requests, Instant::now());
    let mut times = Vec::new();
    for value in 1..=runs {
        let start = Instant::now();
        let mut command = Command::new(&edgetwin)
            .args(["set", "test/m7", &format!("setpoint={value}"), "--socket"])
            .arg(world.api())
            .stdout(Stdio::null())
            .spawn()?;
        let devices = world.devices().clone();
        let reached =
            move |_: &sim_modbus::Counters| devices.holding(7, 0).is_ok_and(|word| word == value);
        tokio::time::timeout(Duration::from_secs(10), world.devices().until(reached)).await?;
        times.push(start.elapsed());
        let ended = tokio::task::spawn_blocking(move || command.wait()).await??;
        ensure!(ended.success(), "edgetwin set: {ended}");
    }
    let polls = world.devices().counters().requests - before;
    let polls_per_second = super::per(polls, begin.elapsed().as_secs_f64());
    world.stop().await?;
    Ok(Set { to_register_ms: Spread::of_millis(&times), wanted_p99_ms: 20.0, polls_per_second })
}
