//! Reports under load, the agent killed at a random moment, and what is there afterwards.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dmi::connect;
use dmi::proto::{
    DeviceStatus, MapperInfo, MapperRegisterRequest, ReportDeviceStatusRequest, Twin, TwinProperty,
};
use rand::RngExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use crate::gateway::{Gateway, plain_devices};
use crate::long::Broken;
use crate::wait::PATIENCE;

const DEVICES: usize = 4;
const PROPERTIES: usize = 5;
/// The agent is killed after at most so many acknowledgements,
const ACKNOWLEDGED: u64 = 800;
/// and at most so many turns of this process later. The calls that follow are under way then; without these turns
/// the kill would always come a moment after a commit.
const TURNS: u32 = 1000;

/// The newest number of each device that the agent acknowledged.
type Acknowledged = [i64; DEVICES];

/// What a run of kills showed.
#[derive(Debug, Default, Serialize)]
pub struct Kills {
    /// How often the agent was killed.
    pub kills: usize,
    /// Property values that were acknowledged.
    pub acknowledged: u64,
    /// Reports that were under way at a kill, and are there: the kill came between commit and acknowledgement.
    pub committed_unanswered: u64,
    /// Reports that were under way at a kill, and are not there: it came before their commit.
    pub uncommitted: u64,
    /// Properties that came back older than acknowledged.
    pub lost: usize,
    /// Devices whose revision went back.
    pub revisions_back: usize,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Kills the agent `kills` times while every device is reported as fast as it goes.
///
/// # Errors
/// Something else went wrong than a loss.
pub async fn kills(kills: usize) -> Result<Kills> {
    let mut gateway = Gateway::new(false)?;
    gateway.manifest("devices.yaml", &plain_devices(DEVICES, PROPERTIES))?;
    let acknowledged = watch::Sender::new(Acknowledged::default());
    let mut result = Kills { kills, ..Kills::default() };
    let mut revisions = [0; DEVICES];
    for _ in 0..kills {
        gateway.start(None).await?;
        gateway.loaded(DEVICES).await?;
        let before = total(&acknowledged.borrow());
        kill_under_load(&mut gateway, &acknowledged).await?;
        let newest = *acknowledged.borrow();
        result.acknowledged += (total(&newest) - before) * PROPERTIES as u64;

        gateway.start(None).await?;
        gateway.loaded(DEVICES).await?;
        for view in gateway.devices().await? {
            let number: usize = view.name[1..].parse()?;
            let least = newest[number];
            let mut found = least;
            for property in &view.properties {
                let value = property.reported.as_ref().and_then(|reported| reported.value.as_ref());
                let value: i64 = value.map_or(Ok(0), |text| text.parse())?;
                result.lost += usize::from(value < least);
                found = found.max(value);
            }
            result.uncommitted += u64::from(found == least);
            result.committed_unanswered += u64::from(found > least);
            result.revisions_back += usize::from(view.rev < revisions[number]);
            revisions[number] = view.rev;
        }
        gateway.crash()?;
    }
    ensure!(result.acknowledged > 0, "nothing was acknowledged: the test shows nothing");
    result.broken.unless(result.lost == 0, "nothing that was acknowledged is lost");
    result.broken.unless(result.revisions_back == 0, "no revision goes back");
    Ok(result)
}

/// Reports every device, and kills the agent after a random number of acknowledgements.
async fn kill_under_load(
    gateway: &mut Gateway,
    acknowledged: &watch::Sender<Acknowledged>,
) -> Result<()> {
    let mut load = JoinSet::new();
    for device in 0..DEVICES {
        load.spawn(report_for_ever(gateway.dmi(), device, acknowledged.clone()));
    }
    let (more, turns) =
        (rand::rng().random_range(1..=ACKNOWLEDGED), rand::rng().random_range(0..=TURNS));
    let mut news = acknowledged.subscribe();
    let enough = total(&news.borrow_and_update()) + more;
    let reached = timeout(PATIENCE, news.wait_for(|newest| total(newest) >= enough));
    tokio::select! {
        reached = reached => drop(reached.with_context(|| format!("no {more} acknowledgements"))??),
        Some(ended) = load.join_next() => {
            ended.context("load")??;
            bail!("the agent was gone before it was killed");
        }
    }
    for _ in 0..turns {
        yield_now().await;
    }
    gateway.crash()?;
    while let Some(ended) = load.join_next().await {
        ended.context("load")??;
    }
    Ok(())
}

fn total(acknowledged: &Acknowledged) -> u64 {
    acknowledged.iter().map(|number| number.unsigned_abs()).sum()
}

/// Reports rising numbers for all properties of one device until the agent is gone.
async fn report_for_ever(
    socket: PathBuf,
    device: usize,
    acknowledged: watch::Sender<Acknowledged>,
) -> Result<()> {
    let mut agent = connect::manager(socket, Duration::from_secs(2));
    let registered = agent
        .mapper_register(MapperRegisterRequest {
            with_data: true,
            mapper: Some(MapperInfo {
                name: format!("load-{device}"),
                // A protocol of its own: this peer holds no lease and owns no device.
                protocol: "load".into(),
                address: b"/nowhere.sock".to_vec(),
                ..MapperInfo::default()
            }),
        })
        .await;
    if registered.is_err() {
        return Ok(());
    }
    let mut number = acknowledged.borrow()[device];
    loop {
        number += 1;
        match agent.report_device_status(report(device, PROPERTIES, number)).await {
            Ok(_) => acknowledged.send_modify(|newest| newest[device] = number),
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {}
            Err(status) if is_gone(&status) => return Ok(()),
            Err(status) => return Err(status.into()),
        }
    }
}

fn is_gone(status: &tonic::Status) -> bool {
    use tonic::Code::{Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown};
    matches!(status.code(), Cancelled | DeadlineExceeded | Internal | Unavailable | Unknown)
}

/// A report of `value` for the first `properties` properties of a plain device.
pub fn report(device: usize, properties: usize, value: i64) -> ReportDeviceStatusRequest {
    report_of(device, &vec![value; properties])
}

/// A report of `values` for the first properties of a plain device.
pub fn report_of(device: usize, values: &[i64]) -> ReportDeviceStatusRequest {
    let side = |text: String| Some(TwinProperty { value: text, ..TwinProperty::default() });
    let twins = values.iter().enumerate().map(|(property, value)| Twin {
        property_name: format!("p{property}"),
        observed_desired: side(String::new()),
        reported: side(value.to_string()),
    });
    ReportDeviceStatusRequest {
        device_name: format!("d{device}"),
        device_namespace: "bench".into(),
        reported_device: Some(DeviceStatus { twins: twins.collect(), ..DeviceStatus::default() }),
        ..ReportDeviceStatusRequest::default()
    }
}
