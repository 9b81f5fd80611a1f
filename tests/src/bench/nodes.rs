//! Many edge nodes on one bridge: memory, times until they are there, traffic at rest; beside it CloudCore with as many.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::{megabytes, per};
use crate::cloud::{Cloud, device, model};
use crate::cluster::Cluster;
use crate::edge_fleet::{EdgeFleet, Tally};
use crate::edge_node::{Kind, Papers};
use crate::kubeedge::Programs;
use crate::kubeedge::ends::CloudEnd;
use crate::process::{Usage, output};
use crate::wait::eventually;

/// How long all nodes may take for anything.
const PATIENCE: Duration = Duration::from_secs(900);
/// At the first start nodes come within this time; after a loss each within the time that it rests anyway.
const SPREAD: Duration = Duration::from_secs(10);
/// Requests to the API server under way while devices are made.
const MAKERS: usize = 64;

/// How many.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Devices of each.
    pub devices: usize,
    /// How long their traffic at rest is counted.
    pub rest: Duration,
}

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Nodes {
    /// Nodes.
    pub nodes: usize,
    /// Devices of each.
    pub devices: usize,
    /// How long it took to make the devices at the API server.
    pub devices_made_seconds: f64,
    /// Our bridge.
    pub ours: Load,
    /// CloudCore with as many.
    pub kubeedge: Option<Load>,
    /// Why there are no figures of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeedge_left_out: Option<String>,
}

/// What one cloud needed.
#[derive(Debug, Serialize)]
pub struct Load {
    /// From the first node's start until all are connected; they come within 10 s.
    pub connected_seconds: f64,
    /// The same until all nodes have all of their devices.
    pub devices_there_seconds: f64,
    /// From the program's start after a kill until all nodes are connected again.
    pub storm_seconds: f64,
    /// Octets on the wire of one node in a minute at rest, both ways, TLS and all.
    pub rest_octets_a_minute: f64,
    /// Resident memory when all devices are there.
    pub memory_mb: f64,
    /// Resident memory after a report of each device and the storm.
    pub memory_after_mb: f64,
    /// Largest resident memory before the kill.
    pub memory_peak_mb: f64,
    /// From the nodes' first report of each device until all are confirmed. CloudCore confirms before it writes.
    pub reports_confirmed_seconds: f64,
    /// The program's processor time until then.
    pub processor_seconds: f64,
}

/// Measures ours, then `programs` if there is a CloudCore.
///
/// # Errors
/// A program does not start, or some node does not get what it should.
pub async fn run(size: Size, programs: &Programs) -> Result<Nodes> {
    // Both ends of each link are on this machine.
    let all = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: all, maximum: all })?;
    let cluster = Cluster::start().await?;
    // What is wanted is the bridge's own pace, not that of the default limit of writes.
    let limits = json!({"status": {"rate": 5000, "burst": 5000}, "hub": {"nodes": size.nodes}});
    let cloud = CloudEnd::Bridge(Cloud::with(cluster, limits).await?);
    let devices_made_seconds = make(cloud.cluster(), size).await?;
    let ours = load(cloud, Kind::Ours, size).await.context("ours")?;
    let (kubeedge, kubeedge_left_out) = match &programs.cloudcore {
        Some(program) => {
            let cloud = CloudEnd::cloudcore(program, programs.crds.as_deref()).await?;
            make(cloud.cluster(), size).await?;
            match load(cloud, Kind::EdgeCore, size).await {
                Ok(load) => (Some(load), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            }
        }
        None => (None, Some("--cloudcore does not name it".into())),
    };
    let Size { nodes, devices, .. } = size;
    Ok(Nodes { nodes, devices, devices_made_seconds, ours, kubeedge, kubeedge_left_out })
}

async fn load(mut cloud: CloudEnd, kind: Kind, size: Size) -> Result<Load> {
    let (hub, papers) = (cloud.hub()?, papers(&cloud, size.nodes).await?);
    let (nodes, devices) = (u64::try_from(size.nodes)?, u64::try_from(size.nodes * size.devices)?);
    let start = Instant::now();
    let fleet = EdgeFleet::start(hub, papers, kind, SPREAD);
    reached("nodes", nodes, || Tally::of(&fleet.tally.connected)).await?;
    let connected_seconds = start.elapsed().as_secs_f64();
    reached("devices", devices, || Tally::of(&fleet.tally.devices)).await?;
    let devices_there_seconds = start.elapsed().as_secs_f64();
    let memory_mb = megabytes(cloud.usage()?.resident);
    let before = octets(hub)?;
    sleep(size.rest).await;
    let moved = octets(hub)?.saturating_sub(before);
    let minutes = size.rest.as_secs_f64() / 60.0;
    let rest_octets_a_minute = per(moved, per(nodes, 1.0) * minutes);
    let start = Instant::now();
    fleet.report();
    reached("confirmed reports", devices, || Tally::of(&fleet.tally.confirmed)).await?;
    let reports_confirmed_seconds = start.elapsed().as_secs_f64();
    let Usage { cpu, peak, .. } = cloud.usage()?;
    cloud.crash()?;
    reached("nodes that are away", nodes, || nodes - Tally::of(&fleet.tally.connected).min(nodes))
        .await?;
    let start = Instant::now();
    cloud.restart().await?;
    reached("nodes again", nodes, || Tally::of(&fleet.tally.connected)).await?;
    let storm_seconds = start.elapsed().as_secs_f64();
    let memory_after_mb = megabytes(cloud.usage()?.resident);
    fleet.stop().await;
    Ok(Load {
        connected_seconds,
        devices_there_seconds,
        storm_seconds,
        rest_octets_a_minute,
        memory_mb,
        memory_after_mb,
        memory_peak_mb: megabytes(peak),
        reports_confirmed_seconds,
        processor_seconds: cpu.as_secs_f64(),
    })
}

async fn reached(what: &str, wanted: u64, count: impl Fn() -> u64) -> Result<()> {
    eventually(PATIENCE, what, async || {
        let there = count();
        ensure!(there >= wanted, "{there} of {wanted}");
        Ok(())
    })
    .await
}

async fn papers(cloud: &CloudEnd, nodes: usize) -> Result<Vec<(String, Papers)>> {
    let authority = cloud.authority().await?;
    let of = |number| {
        let name = node(number);
        let papers = Papers::of(&authority, &format!("system:node:{name}"))?;
        Ok((name, papers))
    };
    (0..nodes).map(of).collect()
}

fn node(number: usize) -> String {
    format!("node-{number}")
}

/// Makes a model, and the devices of all nodes; the seconds that it took.
async fn make(cluster: &Cluster, size: Size) -> Result<f64> {
    let start = Instant::now();
    cluster.apply_objects(&[model("pump")]).await?;
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", "Device"));
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client().await?, "default", &resource);
    let (api, post) = (&api, &PostParams::default());
    let numbers = (0..size.nodes).flat_map(|node| (0..size.devices).map(move |one| (node, one)));
    stream::iter(numbers)
        .map(async |(node, one)| {
            let object: DynamicObject = serde_json::from_value(of(node, one))?;
            anyhow::Ok(api.create(post, &object).await.map(drop)?)
        })
        .buffer_unordered(MAKERS)
        .try_collect::<()>()
        .await?;
    Ok(start.elapsed().as_secs_f64())
}

fn of(number: usize, one: usize) -> Json {
    device(&format!("d{number}-{one}"), "pump", &node(number))
}

/// What the kernel has sent and received over the connections of that port of ours, which still are.
fn octets(hub: SocketAddr) -> Result<u64> {
    let filter = format!("sport = :{}", hub.port());
    let said = output(Command::new("ss").args(["-tinH", "state", "established", &filter]))?;
    let counts = said.split_whitespace().filter_map(|word| {
        let (name, count) = word.split_once(':')?;
        ["bytes_sent", "bytes_received"].contains(&name).then(|| count.parse::<u64>().ok())?
    });
    Ok(counts.sum())
}
