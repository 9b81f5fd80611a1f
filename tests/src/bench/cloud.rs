//! The way of one value through the cloud, down and up, and what both ends cost; beside it KubeEdge's own programs.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::time::{Interval, interval};

use super::{Spread, megabytes};
use crate::cloud::{device, model};
use crate::foreign_mapper::{ForeignMapper, Stack, report, twin};
use crate::kubeedge::Programs;
use crate::kubeedge::ends::{CloudEnd, EdgeEnd};
use crate::kubeedge::objects::NODE;
use crate::statuses::Statuses;

/// How long one value may take; EdgeCore asks again for what it lost after a minute.
const PATIENCE: Duration = Duration::from_secs(150);
/// Between two values: each device has its turn so seldom that no limit of writes for one device holds it up.
const PACE: Duration = Duration::from_millis(200);
/// Devices that take turns.
const DEVICES: usize = 20;
/// The first value; each one after it is one more, and stands nowhere else in what is said.
const FIRST: usize = 700_001;

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Cloud {
    /// Our bridge and our agent.
    pub ours: Way,
    /// CloudCore and EdgeCore.
    pub kubeedge: Option<Way>,
    /// Why there are no figures of theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeedge_left_out: Option<&'static str>,
}

/// One cloud with one node and a mapper on grpc-go.
#[derive(Debug, Serialize)]
pub struct Way {
    /// From the API server's answer to a patch of a desired value until the mapper is called with it.
    pub patch_to_mapper_ms: Spread,
    /// From the mapper's call with a new value until a watcher of the DeviceStatus has it.
    pub report_to_status_ms: Spread,
    /// Resident memory of the cloud's program afterwards.
    pub cloud_mb: f64,
    /// Resident memory of the edge's program afterwards.
    pub edge_mb: f64,
}

/// Sends `values` values down and as many up, one after the other, with ours and with `programs` if there are any.
///
/// # Errors
/// A program does not start, or a value never comes.
pub async fn run(values: usize, programs: &Programs) -> Result<Cloud> {
    let cloud = CloudEnd::bridge().await?;
    let ours = way(&cloud, &EdgeEnd::agent(&cloud).await?, values).await.context("ours")?;
    drop(cloud);
    let (kubeedge, kubeedge_left_out) = match (&programs.cloudcore, &programs.edgecore) {
        (Some(cloudcore), Some(edgecore)) => {
            let cloud = CloudEnd::cloudcore(cloudcore, programs.crds.as_deref()).await?;
            let edge = EdgeEnd::edgecore(edgecore, &cloud).await?;
            (Some(way(&cloud, &edge, values).await.context("KubeEdge's")?), None)
        }
        _ => (None, Some("--cloudcore and --edgecore do not name them")),
    };
    Ok(Cloud { ours, kubeedge, kubeedge_left_out })
}

async fn way(cloud: &CloudEnd, edge: &EdgeEnd, values: usize) -> Result<Way> {
    let folder = tempfile::tempdir()?;
    let own = folder.path().join("mapper.sock");
    let mut mapper = ForeignMapper::start(Stack::GoPath, &edge.dmi(), &own).await?;
    let client = cloud.cluster().client().await?;
    let mut statuses = Statuses::watch(client.clone());
    // A device without a way up is worth nothing below.
    let devices: Vec<_> = (0..DEVICES).map(reporting).collect();
    cloud.cluster().apply_objects(&[&[model("pump")][..], &devices].concat()).await?;
    for _ in 0..DEVICES {
        told(&mut mapper, "RegisterDevice", "").await?;
    }
    let mut pace = interval(PACE);
    // The first report of a property comes to nothing with CloudCore, and the first of a device makes its DeviceStatus.
    for value in ["1", "2"] {
        for number in 0..DEVICES {
            pace.tick().await;
            say(&mut mapper, number, value).await?;
        }
    }
    for number in 0..DEVICES {
        statuses.until(&name(number), "level", "2", PATIENCE).await?;
    }
    let down = down(&client, &mut mapper, values, &mut pace).await?;
    let mut up = Vec::new();
    for value in 0..values {
        pace.tick().await;
        let (number, value) = (value % DEVICES, (FIRST + value).to_string());
        let start = Instant::now();
        say(&mut mapper, number, &value).await?;
        statuses.until(&name(number), "level", &value, PATIENCE).await?;
        up.push(start.elapsed());
    }
    Ok(Way {
        patch_to_mapper_ms: Spread::of_millis(&down),
        report_to_status_ms: Spread::of_millis(&up),
        cloud_mb: megabytes(cloud.usage()?.resident),
        edge_mb: megabytes(edge.usage()?.resident),
    })
}

/// How long each desired value took from the API server's answer to the mapper.
async fn down(
    client: &kube::Client,
    mapper: &mut ForeignMapper,
    values: usize,
    pace: &mut Interval,
) -> Result<Vec<Duration>> {
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", "Device");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let mut times = Vec::new();
    for value in 0..values {
        pace.tick().await;
        let (number, value) = (value % DEVICES, (FIRST + value).to_string());
        let mut wanted = reporting(number);
        wanted["spec"]["properties"][0]["desired"] = json!({"value": value});
        let patch = json!({"spec": {"properties": wanted["spec"]["properties"]}});
        api.patch(&name(number), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let start = Instant::now();
        told(mapper, "UpdateDevice", &format!("\"{value}\"")).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn name(number: usize) -> String {
    format!("d{number}")
}

/// A device whose properties go to the cloud.
fn reporting(number: usize) -> Json {
    let mut device = device(&name(number), "pump", NODE);
    for property in device["spec"]["properties"].as_array_mut().into_iter().flatten() {
        property["reportToCloud"] = json!(true);
    }
    device
}

/// The mapper reports a level.
async fn say(mapper: &mut ForeignMapper, number: usize, value: &str) -> Result<()> {
    let said = report("default", &name(number), &[twin("level", value)]);
    let answer = mapper.call("ReportDeviceStatus", &said, 1).await?;
    anyhow::ensure!(answer["code"] == "OK", "the report is refused: {answer}");
    Ok(())
}

/// Waits until the mapper is called so, with that text in the request.
async fn told(mapper: &mut ForeignMapper, call: &str, text: &str) -> Result<()> {
    let waiting = async {
        loop {
            let (name, request) = mapper.called().await?;
            if name == call && request.to_string().contains(text) {
                return Ok(());
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.with_context(|| format!("no {call} with {text}"))?
}
