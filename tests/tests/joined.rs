//! A gateway as it ships beneath a cloud as it ships: a real API server, the bridge and the agent as programs, the Modbus
//! mapper and simulated devices.
#![cfg(feature = "peers")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cloud::{Cloud, reported_in};
use e2e::cluster::Cluster;
use e2e::http;
use e2e::wait::eventually;
use e2e::world::{MODEL, Machine, NODE, World};
use serde_json::{Value, json};

/// A real API server and a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A cloud, and a gateway with these machines that was given a token for it.
async fn joined(machines: &[Machine], configuration: Value) -> Result<(Cloud, World)> {
    let cloud = Cloud::with(Cluster::start().await?, configuration).await?;
    cloud.cluster.kubectl(&["create", "namespace", "test"]).await?;
    let mut world = World::tcp(machines).await?.as_programs();
    world.join(cloud.invitation(NODE).await?);
    Ok((cloud, world))
}

/// Applies manifests of the folder, as a person would, with the node's name in them.
async fn apply(cloud: &Cloud, text: &str) -> Result<()> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    let named = format!("spec:\n  nodeName: {NODE}\n  deviceModelRef");
    std::fs::write(file.path(), text.replace("spec:\n  deviceModelRef", &named))?;
    cloud.cluster.apply(file.path()).await
}

async fn patch(cloud: &Cloud, device: &str, setpoint: &str) -> Result<()> {
    let patch =
        json!([{"op": "add", "path": "/spec/properties/1/desired", "value": {"value": setpoint}}]);
    let patch = patch.to_string();
    let arguments =
        ["patch", "device", device, "--namespace", "test", "--type", "json", "--patch", &patch];
    cloud.cluster.kubectl(&arguments).await.map(drop)
}

/// Waits until the DeviceStatus shows this value.
async fn shows(cloud: &Cloud, device: &str, property: &str, value: &str) -> Result<Value> {
    eventually(PATIENCE, "the DeviceStatus", async || {
        let status = cloud.get_in("test", "devicestatus", device).await?;
        let shown = reported_in(&status, property)?;
        ensure!(shown == value, "{property} is {shown}, not {value}: {status}");
        Ok(status)
    })
    .await
}

async fn ready(cloud: &Cloud, world: &World) -> Result<()> {
    let waiting = eventually(PATIENCE, "the node", async || {
        let node = cloud.get("node", NODE).await?;
        let conditions = node["status"]["conditions"].as_array().context("no conditions")?;
        let ready = conditions.iter().find(|one| one["type"] == "Ready").context("not Ready")?;
        ensure!(ready["status"] == "True", "{ready}");
        let lease = cloud.get_in("kube-node-lease", "lease", NODE).await?;
        ensure!(lease["spec"]["renewTime"].is_string(), "{lease}");
        Ok(())
    });
    // The agent says why.
    waiting.await.with_context(|| world.agent_log().unwrap_or_default().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_joins_by_a_token_and_its_devices_follow_the_cloud() -> Result<()> {
    let (cloud, mut world) = joined(&[Machine::new("pump", 1)], json!({})).await?;
    world.start().await?;
    ready(&cloud, &world).await?;
    let node = cloud.get("node", NODE).await?;
    assert_eq!(node["status"]["allocatable"]["pods"], "0");
    assert_eq!(node["spec"]["taints"][0]["key"], "edgetwin.io/no-pods");

    apply(&cloud, &(MODEL.to_owned() + &world.text(&Machine::new("pump", 1)))).await?;
    world.devices().set_value("test/pump", "level", 42.0)?;
    let status = shows(&cloud, "pump", "level", "42").await?;
    assert_eq!(status["status"]["state"], "online");
    let connections = world.devices().counters().connections.accepted;

    patch(&cloud, "pump", "7").await?;
    let status = shows(&cloud, "pump", "setpoint", "7").await?;
    let status = eventually(PATIENCE, "the acknowledgement", async || {
        let status = cloud.get_in("test", "devicestatus", "pump").await.unwrap_or(status.clone());
        let twins = status["status"]["twins"].as_array().context("no twins")?;
        let twin = twins.iter().find(|twin| twin["propertyName"] == "setpoint").context("none")?;
        ensure!(twin["observedDesired"]["metadata"]["ackCode"] == "209", "{twin}");
        Ok(status)
    })
    .await?;
    let conditions = &status["status"]["extensions"]["edgetwin"]["conditions"];
    let settled =
        conditions.as_array().context("none")?.iter().find(|one| one["type"] == "Settled");
    assert_eq!(settled.context("none")?["status"], "True");
    assert_eq!(world.devices().counters().connections.accepted, connections, "no new session");

    // What the cloud takes away is gone, and made again it begins anew.
    let first = world.device("pump").await?.incarnation;
    cloud.cluster.kubectl(&["delete", "device", "pump", "--namespace", "test"]).await?;
    world.until_gone("pump").await?;
    apply(&cloud, &world.text(&Machine::new("pump", 1))).await?;
    let again = world.until_device("pump", |pump| pump.incarnation != first).await?;
    assert_eq!(again.property("setpoint").context("none")?.desired, None);
    shows(&cloud, "pump", "setpoint", "7").await?;

    // A Node that somebody deletes is registered again.
    cloud.cluster.kubectl(&["delete", "node", NODE]).await?;
    ready(&cloud, &world).await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_on_both_sides_without_a_link_converges_after_any_restart() -> Result<()> {
    let machines = [Machine::new("a", 1), Machine::new("b", 2)];
    let (mut cloud, mut world) = joined(&machines, json!({})).await?;
    world.start().await?;
    let both = machines.iter().map(|machine| world.text(machine));
    apply(&cloud, &(MODEL.to_owned() + &both.collect::<String>())).await?;
    patch(&cloud, "a", "1").await?;
    for name in ["a", "b"] {
        shows(&cloud, name, "level", "0").await?;
    }
    shows(&cloud, "a", "setpoint", "1").await?;

    // The cloud is away: the gateway goes on, restarts by itself, and has all it had.
    cloud.stop_bridge("first").await?;
    world.devices().set_value("test/a", "level", 5.0)?;
    world.until("a", "level", |level| reads(level, "5")).await?;
    world.kill_agent();
    world.start_agent().await?;
    world.until("a", "level", |level| reads(level, "5")).await?;
    let (status, outbox) = http::get(&world.api(), "/v1/outbox").await?;
    let outbox: Value = serde_json::from_slice(&outbox)?;
    ensure!(status == 200 && outbox["linked"] == false, "{outbox}");
    patch(&cloud, "a", "2").await?;
    patch(&cloud, "a", "3").await?;
    patch(&cloud, "b", "9").await?;
    cloud.start_bridge("first").await?;
    shows(&cloud, "a", "level", "5").await?;
    shows(&cloud, "a", "setpoint", "3").await?;
    shows(&cloud, "b", "setpoint", "9").await?;

    // The gateway is away: what is newest then is what it is told.
    world.kill_agent();
    patch(&cloud, "a", "4").await?;
    cloud.cluster.kubectl(&["delete", "device", "b", "--namespace", "test"]).await?;
    world.start_agent().await?;
    shows(&cloud, "a", "setpoint", "4").await?;
    world.until_gone("b").await?;

    // Its store is lost: it is told everything, and what it reports counts.
    world.stop_agent().await?;
    world.lose_store()?;
    world.start_agent().await?;
    world.devices().set_value("test/a", "level", 6.0)?;
    shows(&cloud, "a", "level", "6").await?;
    eventually(PATIENCE, "the outbox", async || {
        let (_, outbox) = http::get(&world.api(), "/v1/outbox").await?;
        let outbox: Value = serde_json::from_slice(&outbox)?;
        ensure!(outbox["linked"] == true && outbox["devices"] == json!([]), "{outbox}");
        Ok(())
    })
    .await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_while_the_devices_go_on() -> Result<()> {
    let short = json!({"join": {"certificateLife": "20s"}});
    let (cloud, mut world) = joined(&[Machine::new("pump", 1)], short).await?;
    world.start().await?;
    apply(&cloud, &(MODEL.to_owned() + &world.text(&Machine::new("pump", 1)))).await?;
    eventually(PATIENCE, "two renewals", async || {
        let renewed = cloud
            .metric("first", "edgetwin_bridge_certificates_total{for=\"certificate\"}")
            .await?;
        ensure!(renewed >= 2.0, "{renewed}");
        Ok(())
    })
    .await?;
    world.devices().set_value("test/pump", "level", 8.0)?;
    shows(&cloud, "pump", "level", "8").await?;
    world.stop().await
}

fn reads(property: &edge_agent::api::view::PropertyView, value: &str) -> bool {
    e2e::world::good(property) == Some(value)
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_cloud_and_gateway_end_in_agreement() -> Result<()> {
    let size = e2e::long::joined::Size { first: 1, seeds: 10, steps: 12 };
    let lived = e2e::long::joined::run(size).await?;
    println!("{lived:?}");
    assert!(lived.broken.is_empty(), "{lived:#?}");
    Ok(())
}
