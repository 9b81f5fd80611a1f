//! Days of a gateway in minutes: 200 devices, each property another value every minute, by a clock that is an argument.
//! Guests come and go every hour, visitors come once. What is kept on disk and in memory does not grow with the days.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use device_model::{Device, DeviceId, Reading, Timestamp, Value};
use device_twin::{
    Command, Desire, EventKey, PropertyReport, Report, Settings, SqliteStore, Store, Twins, Writer,
};
use procfs::process::Process;
use serde::Serialize;

use super::Broken;
use crate::fleet::resolved;

const DEVICES: usize = 200;
const PROPERTIES: usize = 10;
/// Of the devices, so many are removed and made again every hour.
const GUESTS: usize = 20;
/// So many of a new name come every hour, for an hour.
const VISITORS: usize = 5;
/// Devices that share a commit, as in one call of a mapper.
const CALL: usize = 20;
/// How long deletions are remembered: shorter than the run, so that its end is seen.
const REMEMBERED: u64 = 24;
const MINUTE: Duration = Duration::from_secs(60);
/// 2027-01-15.
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// What resident memory may differ by without anything having grown.
const NOISE: u64 = 2 << 20;

/// What a run showed. Sizes are in octets.
#[derive(Debug, Default, Serialize)]
pub struct Days {
    /// Hours of the gateway's clock.
    pub hours: u64,
    /// Values that were reported, each another one than before.
    pub reported: u64,
    /// Desired values that were accepted, one a device and hour.
    pub desired: u64,
    /// Devices that came and went.
    pub visits: u64,
    /// The largest that was seen in the first third of the hours.
    pub early: Extent,
    /// The same in the last third.
    pub late: Extent,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Extent {
    /// `twins.db`.
    pub database: u64,
    /// `twins.db-wal`.
    pub wal: u64,
    /// `twins.journal`.
    pub journal: u64,
    /// Resident memory of this process.
    pub resident: u64,
    /// Deletions that are remembered.
    pub tombstones: usize,
}

/// Lives through `hours`; three are the least that says something. `alone`: nothing else moves this process's memory.
///
/// # Errors
/// The store does not take something.
pub fn run(hours: u64, alone: bool) -> Result<Days> {
    ensure!(hours >= 3, "{hours} hours have no thirds");
    let directory = tempfile::tempdir()?;
    let store = SqliteStore::open(&directory.path().join(SqliteStore::FILE))?;
    let tombstone_life = Duration::from_secs(REMEMBERED * 3600);
    let mut gateway = Gateway {
        twins: Twins::open(store, Settings { tombstone_life, ..Settings::default() }, START)?,
        devices: resolved(DEVICES, PROPERTIES)?,
        now: START,
        seen: Days { hours, ..Days::default() },
    };
    let load = gateway.devices.iter().cloned().map(Command::Load).collect();
    gateway.apply(load)?;
    for hour in 0..hours {
        gateway.hour(hour)?;
        let extent = gateway.extent(directory.path())?;
        if hour < hours / 3 {
            gateway.seen.early = gateway.seen.early.or(extent);
        } else if hour >= hours - hours / 3 {
            gateway.seen.late = gateway.seen.late.or(extent);
        }
    }
    let mut seen = gateway.seen;
    let (early, late) = (seen.early, seen.late);
    let broken = &mut seen.broken;
    broken
        .unless(late.database <= early.database * 5 / 4 + (1 << 20), "the database does not grow");
    broken.unless(early.wal.max(late.wal) <= 16 << 20, "the WAL stays below 16 MiB");
    broken.unless(late.journal == 4 << 20, "the journal has its 4 MiB");
    let most = GUESTS + VISITORS * usize::try_from(hours.min(REMEMBERED + 2))?;
    broken.unless(late.tombstones <= most, "deletions are forgotten in time");
    let flat = late.resident <= early.resident + NOISE;
    broken.unless(flat || !alone, "memory does not grow");
    Ok(seen)
}

struct Gateway {
    twins: Twins<SqliteStore>,
    devices: Vec<Arc<Device>>,
    now: Timestamp,
    seen: Days,
}

impl Gateway {
    fn hour(&mut self, hour: u64) -> Result<()> {
        self.come_and_go(hour)?;
        self.desire(hour)?;
        for minute in 0..60 {
            self.now = self.now.plus(MINUTE);
            let value = Value::Int(i64::try_from(hour * 60 + minute)?);
            for call in 0..DEVICES / CALL {
                let devices = &self.devices[call * CALL..(call + 1) * CALL];
                let report = |device: &Arc<Device>| {
                    let reading = || Reading::good(value.clone(), self.now);
                    let properties = device.properties.iter();
                    Command::Report(properties.fold(
                        Report::of(device.id.clone()),
                        |report, one| {
                            report.with(PropertyReport::reading(one.name.as_str(), reading()))
                        },
                    ))
                };
                let reports = devices.iter().map(report).collect();
                self.apply(reports)?;
                self.seen.reported += u64::try_from(CALL * PROPERTIES)?;
            }
            self.apply(vec![Command::Tick])?;
        }
        Ok(())
    }

    /// Guests go and come again, the visitors of the hour before go for good, and new ones come.
    fn come_and_go(&mut self, hour: u64) -> Result<()> {
        let guests = self.devices[..GUESTS].to_vec();
        self.apply(guests.iter().map(|guest| Command::Remove(guest.id.clone())).collect())?;
        self.apply(guests.into_iter().map(Command::Load).collect())?;
        let visitor =
            |hour: u64, number: usize| DeviceId::new("visitors", &format!("v{hour}-{number}"));
        for number in 0..VISITORS {
            let mut device = Device::clone(self.devices.last().context("no device")?);
            device.id = visitor(hour, number)?;
            let mut commands = vec![Command::Load(Arc::new(device))];
            if let Some(before) = hour.checked_sub(1) {
                commands.push(Command::Remove(visitor(before, number)?));
            }
            self.apply(commands)?;
            self.seen.visits += 1;
        }
        Ok(())
    }

    /// Something else of each device, by a client that numbers its requests.
    fn desire(&mut self, hour: u64) -> Result<()> {
        for at in 0..DEVICES {
            let device = self.devices[at].id.clone();
            let event = EventKey { client: "days".into(), id: hour.to_string().into() };
            let desire = Desire::of(device, Writer::local("days"))
                .with("p0", Value::Int(i64::try_from(hour)?));
            self.apply(vec![Command::Desire(Desire { event: Some(event), ..desire })])?;
            self.seen.desired += 1;
        }
        Ok(())
    }

    fn apply(&mut self, commands: Vec<Command>) -> Result<()> {
        for outcome in self.twins.apply(commands, self.now)? {
            outcome.result.map_err(|rejected| anyhow::anyhow!("{rejected}"))?;
        }
        Ok(())
    }

    fn extent(&mut self, directory: &Path) -> Result<Extent> {
        let length = |name: &str| Ok::<_, anyhow::Error>(directory.join(name).metadata()?.len());
        Ok(Extent {
            database: length("twins.db")?,
            wal: length("twins.db-wal")?,
            journal: length("twins.journal")?,
            resident: Process::myself()?.status()?.vmrss.context("no VmRSS")? * 1024,
            tombstones: self.twins.store().load()?.tombstones.len(),
        })
    }
}

impl Extent {
    /// The larger of each.
    fn or(self, other: Self) -> Self {
        Self {
            database: self.database.max(other.database),
            wal: self.wal.max(other.wal),
            journal: self.journal.max(other.journal),
            resident: self.resident.max(other.resident),
            tombstones: self.tombstones.max(other.tombstones),
        }
    }
}
