//! What a running agent writes to the disk: 100 devices of 10 properties, reported over DMI once a second.
//!
//! `/proc/PID/io` counts the pages that the agent's writes made dirty. What the disk itself is written is more: the file
//! system notes in its own journal when a file was written to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use dmi::connect;
use rustix::fs::{major, minor};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::{megabytes, per};
use crate::crash::report_of;
use crate::gateway::{Gateway, plain_devices};

const DEVICES: usize = 100;
const PROPERTIES: usize = 10;
const DAY: u64 = 24 * 3600;

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// Seconds of each load.
    pub seconds: u64,
    /// One line for each share of the values that changes each second.
    pub loads: Vec<Load>,
    /// At most so many MB a day are wanted with 1 %.
    pub wanted_megabytes_a_day: f64,
}

/// One load.
#[derive(Debug, Serialize)]
pub struct Load {
    /// So many percent of the values are others than a second before; all are reported.
    pub changing_percent: usize,
    /// Written by the agent, in MB, if it goes on for a day so.
    pub megabytes_a_day: f64,
    /// What the block device under the store's folder was written in the same seconds, by whomever, with the file
    /// system's own journal; none where the folder is on no block device. It says something of the agent where nobody else
    /// writes: `TMPDIR` names the folder.
    pub device_megabytes_a_day: Option<f64>,
    /// Reports that the agent took.
    pub reports: u64,
}

/// Each load for `seconds`, on an agent with the defaults of `store.sync` (10 s) and `store.refresh` (15 min).
///
/// # Errors
/// A report was refused, or `/proc` says nothing.
pub async fn run(seconds: u64) -> Result<Disk> {
    let mut loads = Vec::new();
    for percent in [1, 100] {
        loads.push(load(percent, seconds).await?);
    }
    Ok(Disk { seconds, loads, wanted_megabytes_a_day: 50.0 })
}

async fn load(changing_percent: usize, seconds: u64) -> Result<Load> {
    let mut gateway = Gateway::new(false)?;
    gateway.manifest("devices.yaml", &plain_devices(DEVICES, PROPERTIES))?;
    gateway.start(None).await?;
    gateway.loaded(DEVICES).await?;
    let mut agent = connect::manager(gateway.dmi(), Duration::from_secs(5));
    let mut values = vec![0_i64; DEVICES * PROPERTIES];
    // The first reports make the rows, once.
    for (device, values) in values.chunks(PROPERTIES).enumerate() {
        agent.report_device_status(report_of(device, values)).await?;
    }
    let pid = i32::try_from(gateway.agent()?.pid())?;
    let process = procfs::process::Process::new(pid)?;
    let before = process.io()?.write_bytes;
    let device = Device::under(gateway.folder())?;
    let device_before = device.as_ref().map(Device::written).transpose()?;
    // Devices report all over the second, each in a call of its own.
    let mut turn = interval(Duration::from_secs(1) / u32::try_from(DEVICES)?);
    turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut changed, mut reports) = (0, 0);
    for _ in 0..seconds {
        for _ in 0..values.len() * changing_percent / 100 {
            // A step that meets all of them, far apart.
            changed = (changed + 37) % values.len();
            values[changed] += 1;
        }
        for (device, values) in values.chunks(PROPERTIES).enumerate() {
            turn.tick().await;
            agent.report_device_status(report_of(device, values)).await?;
            reports += 1;
        }
    }
    let a_day = |written| megabytes(written) * per(DAY, 1.0) / per(seconds, 1.0);
    let written = process.io().context("the agent is gone")?.write_bytes - before;
    let device_after = device.as_ref().map(Device::written).transpose()?;
    let device = device_after.zip(device_before).map(|(after, before)| after - before);
    Ok(Load {
        changing_percent,
        megabytes_a_day: a_day(written),
        device_megabytes_a_day: device.map(a_day),
        reports,
    })
}

/// What the kernel counts of a block device.
#[derive(Debug)]
struct Device(PathBuf);

impl Device {
    /// The one that `folder` is on.
    fn under(folder: &Path) -> Result<Option<Self>> {
        let number = fs::metadata(folder)?.dev();
        let place = format!("/sys/dev/block/{}:{}/stat", major(number), minor(number));
        let place = PathBuf::from(place);
        Ok(place.exists().then_some(Self(place)))
    }

    /// Octets written so far.
    fn written(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.0)?;
        // Sectors of 512 octets, whatever the device has (Documentation/block/stat.rst of Linux).
        let sectors = text.split_whitespace().nth(6).context("the kernel does not count")?;
        Ok(sectors.parse::<u64>()? * 512)
    }
}
