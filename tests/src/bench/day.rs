//! What the store writes in a day.
//!
//! A day passes by the twins' clock, second by second, over a store on a real disk; what this process wrote is read
//! from `/proc/self/io`, where the kernel counts pages as they become dirty.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use device_model::{Reading, Timestamp, Value};
use device_twin::{Command, PropertyReport, Report, Settings, SqliteStore, Twins};
use procfs::process::Process;
use serde::Serialize;

use super::{megabytes, per};
use crate::fleet::resolved;

const DAY_SECONDS: i64 = 24 * 3600;
/// Devices and properties of the day.
const PART: (usize, usize) = (100, 10);

/// What a day of reports writes.
#[derive(Debug, Serialize)]
pub struct Day {
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

/// Reports for `seconds`, with `percent` of the values changing in each. `folder` is on the disk that is meant.
///
/// # Errors
/// The store fails, or `/proc` says nothing.
pub fn run(percent: u8, seconds: i64, folder: &Path) -> Result<Day> {
    let begin = Instant::now();
    let (devices, properties) = PART;
    let directory = tempfile::tempdir_in(folder)?;
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
    let share = per(u64::try_from(seconds)?, per(u64::try_from(DAY_SECONDS)?, 1.0));
    Ok(Day {
        changing_percent: percent,
        seconds,
        reports,
        megabytes_a_day: megabytes(octets) / share,
        wanted: 50.0,
        took_seconds: begin.elapsed().as_secs_f64(),
    })
}
