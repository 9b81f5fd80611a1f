//! How long a store takes to open, after a stop and after a kill.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::{Result, ensure};
use device_model::{Device, Reading, Timestamp, Value};
use device_twin::{Command, PropertyReport, Report, Settings, SqliteStore, Twins};
use serde::Serialize;

use super::Spread;
use crate::fleet::resolved;

const DEVICES: usize = 1000;
const PROPERTIES: usize = 10;
const FILE: &str = "twins.db";
/// A journal that is not folded after so many reports of each device is none.
const ROUNDS: i64 = 10_000;

/// How long a store of 1,000 x 10 takes to open, until every twin is read.
#[derive(Debug, Serialize)]
pub struct Recovery {
    /// After a stop, in milliseconds.
    pub stopped_ms: Spread,
    /// After a kill, with a journal that is nine tenths full, in milliseconds.
    pub killed_ms: Spread,
    /// Reports of each device that this journal holds.
    pub reports_in_journal: i64,
    /// At most these medians are wanted.
    pub wanted_ms: f64,
}

/// Opens such stores `runs` times.
///
/// # Errors
/// The store fails.
pub fn run(runs: usize) -> Result<Recovery> {
    let folder = tempfile::tempdir()?;
    let fleet = resolved(DEVICES, PROPERTIES)?;
    let mut twins = open(folder.path())?;
    twins.apply(fleet.iter().cloned().map(Command::Load).collect::<Vec<_>>(), now())?;
    let mut value = 0;
    // From one folding of the journal into the database to the next, and nine tenths of the way to the one after it:
    // larger numbers take more room.
    let mut until_folded = |twins: &mut Twins<SqliteStore>, most: i64| -> Result<i64> {
        let before = database_written(folder.path())?;
        for round in 1..=most {
            value += 1;
            report(twins, &fleet, value)?;
            if database_written(folder.path())? != before {
                return Ok(round);
            }
        }
        Ok(most)
    };
    until_folded(&mut twins, ROUNDS)?;
    let rounds = until_folded(&mut twins, ROUNDS)?;
    ensure!(rounds < ROUNDS, "the journal is never folded");
    let folded = database_written(folder.path())?;
    let reports_in_journal = until_folded(&mut twins, rounds * 9 / 10)?;
    ensure!(database_written(folder.path())? == folded, "the journal was folded early");

    // The files of a store that is open are what a kill leaves.
    let mut killed = Vec::new();
    for _ in 0..runs {
        let copy = tempfile::tempdir()?;
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            fs::copy(file.path(), copy.path().join(file.file_name()))?;
        }
        killed.push(copy);
    }
    drop(twins);
    let timed = |folder: &Path| -> Result<_> {
        let begin = Instant::now();
        let twins = open(folder)?;
        let took = begin.elapsed();
        ensure!(twins.parked().len() == DEVICES, "not every twin is there");
        Ok(took)
    };
    let killed: Vec<_> = killed.iter().map(|copy| timed(copy.path())).collect::<Result<_>>()?;
    let stopped: Vec<_> = (0..runs).map(|_| timed(folder.path())).collect::<Result<_>>()?;
    Ok(Recovery {
        stopped_ms: Spread::of_millis(&stopped),
        killed_ms: Spread::of_millis(&killed),
        reports_in_journal,
        wanted_ms: 200.0,
    })
}

fn open(folder: &Path) -> Result<Twins<SqliteStore>> {
    Ok(Twins::open(SqliteStore::open(&folder.join(FILE))?, Settings::default(), now())?)
}

/// One report of `value` of every property, device by device.
fn report(twins: &mut Twins<SqliteStore>, fleet: &[Arc<Device>], value: i64) -> Result<()> {
    for device in fleet {
        let mut report = Report::of(device.id.clone());
        for property in 0..PROPERTIES {
            let reading = Reading::good(Value::Int(value), now());
            report.properties.push(PropertyReport::reading(format!("p{property}"), reading));
        }
        twins.apply([Command::Report(report)], now())?;
    }
    Ok(())
}

/// When the database was last written to.
fn database_written(folder: &Path) -> Result<SystemTime> {
    Ok(fs::metadata(folder.join(format!("{FILE}-wal")))?.modified()?)
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000)
}
