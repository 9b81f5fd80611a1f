//! What the store writes in a day, and how long it takes to open.
//!
//! A day passes by the twins' clock, second by second, over a store on a real disk; what this process wrote is read
//! from `/proc/self/io`, where the kernel counts pages as they become dirty.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use device_model::{Reading, Timestamp, Value};
use device_twin::{Command, PropertyReport, Report, Settings, SqliteStore, Twins};
use procfs::process::Process;
use serde::Serialize;

use super::{Spread, megabytes, per};
use crate::fleet::resolved;

const DAY: i64 = 24 * 3600;
/// Devices and properties of the day.
const PART: (usize, usize) = (100, 10);
/// Devices and properties of the recovery.
const LARGE: (usize, usize) = (1000, 10);

/// What a day of reports writes.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Each device reports all of its properties each second; so many percent of the values are others than before.
    pub changing_percent: u8,
    /// Seconds that passed by the twins' clock.
    pub seconds: i64,
    /// Commits of one device's report each.
    pub reports: u64,
    /// Written to the disk, in MB, if it goes on for a day so.
    pub megabytes_a_day: f64,
    /// At most that is wanted with 1 %.
    pub wanted: f64,
    /// How long that took.
    pub took_seconds: f64,
}

/// Reports for `seconds`, with `percent` of the values changing in each.
///
/// # Errors
/// The store fails, or `/proc` says nothing.
pub fn day(percent: u8, seconds: i64) -> Result<Disk> {
    let begin = Instant::now();
    let (devices, properties) = PART;
    let directory = tempfile::tempdir()?;
    let settings = Settings {
        sync: Duration::from_secs(10),
        refresh_persist: Duration::from_secs(15 * 60),
        ..Settings::default()
    };
    let start = 1_800_000_000_000;
    let store = SqliteStore::open(&directory.path().join("twins.db"))?;
    let mut twins = Twins::open(store, settings, Timestamp::from_millis(start))?;
    let fleet = resolved(devices, properties)?;
    let load: Vec<_> = fleet.iter().cloned().map(Command::Load).collect();
    twins.apply(load, Timestamp::from_millis(start))?;
    let written = || -> Result<u64> { Ok(Process::myself()?.io()?.write_bytes) };
    let before = written()?;
    let (mut values, mut reports) = (vec![0_i64; devices * properties], 0);
    let mut turn = 0;
    for second in 1..=seconds {
        // Values change in turns; of the seconds' share it is always as many.
        let changing = values.len() * usize::from(percent) / 100;
        for _ in 0..changing {
            // A step that meets all of them, far apart.
            turn = (turn + 37) % values.len();
            values[turn] += 1;
        }
        for (number, device) in fleet.iter().enumerate() {
            // Devices report all over the second, each in a call of its own.
            let at = start + second * 1000 + i64::try_from(number * 1000 / devices)?;
            let now = Timestamp::from_millis(at);
            let mut report = Report::of(device.id.clone());
            for (property, value) in
                values[number * properties..].iter().take(properties).enumerate()
            {
                let sampled = Timestamp::from_millis(at - 20);
                let reading = Reading::good(Value::Int(*value), sampled);
                report.properties.push(PropertyReport::reading(format!("p{property}"), reading));
            }
            twins.apply([Command::Report(report)], now)?;
            reports += 1;
        }
        let now = Timestamp::from_millis(start + second * 1000 + 999);
        twins.apply([Command::Tick], now)?;
    }
    let octets = written()? - before;
    let share = per(u64::try_from(seconds)?, per(u64::try_from(DAY)?, 1.0));
    Ok(Disk {
        changing_percent: percent,
        seconds,
        reports,
        megabytes_a_day: megabytes(octets) / share,
        wanted: 50.0,
        took_seconds: begin.elapsed().as_secs_f64(),
    })
}

/// How long a store of 1,000 x 10 takes to open after its process was killed.
#[derive(Debug, Serialize)]
pub struct Recovery {
    /// Until every twin is read, with half of the values in the journal, in milliseconds.
    pub open_ms: Spread,
    /// At most this median is wanted.
    pub wanted_ms: f64,
}

/// Opens such a store `runs` times.
///
/// # Errors
/// The store fails.
pub fn recovery(runs: usize) -> Result<Recovery> {
    let (devices, properties) = LARGE;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("twins.db");
    let fleet = resolved(devices, properties)?;
    let now = Timestamp::from_millis(1_800_000_000_000);
    let open = || Twins::open(SqliteStore::open(&file)?, Settings::default(), now);
    let mut twins = open()?;
    twins.apply(fleet.iter().cloned().map(Command::Load).collect::<Vec<_>>(), now)?;
    let report = |twins: &mut Twins<SqliteStore>, some: usize, value: i64| -> Result<()> {
        for device in fleet.iter().take(some) {
            let mut report = Report::of(device.id.clone());
            for property in 0..properties {
                let reading = Reading::good(Value::Int(value), now);
                report.properties.push(PropertyReport::reading(format!("p{property}"), reading));
            }
            twins.apply([Command::Report(report)], now)?;
        }
        Ok(())
    };
    report(&mut twins, devices, 1)?;
    // Coming and going folds the journal; what is reported from then on stands there alone.
    let id = fleet.last().context("no device")?.id.clone();
    twins.apply([Command::Remove(id)], now)?;
    report(&mut twins, devices / 2, 2)?;
    drop(twins);
    let mut times = Vec::new();
    for _ in 0..runs {
        let begin = Instant::now();
        let twins = open()?;
        times.push(begin.elapsed());
        ensure!(twins.parked().len() == devices - 1, "not every twin is there");
    }
    Ok(Recovery { open_ms: Spread::of_millis(&times), wanted_ms: 200.0 })
}
