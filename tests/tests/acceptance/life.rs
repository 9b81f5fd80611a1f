//! Demand 20: devices come, change and go while the others run.

use anyhow::{Context, Result, ensure};
use device_model::DeviceState;
use e2e::http::Events;
use e2e::world::{Machine, PATIENCE, World, good};
use serde_json::Value as Json;
use tokio::time::timeout;

async fn readiness(world: &World) -> Result<Json> {
    let (status, body) = e2e::http::get(&world.api(), "/readyz").await?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body)?)
}

/// The next event that tells what is wrong with a device's description, or that nothing is any more.
async fn next_problem(events: &mut Events) -> Result<Json> {
    loop {
        let event = events.next().await?.context("the stream of events ended")?;
        if event["kind"] == "problem" {
            return Ok(event);
        }
    }
}

#[tokio::test]
async fn row_20_a_change_of_one_device_leaves_the_others_alone() -> Result<()> {
    let mut machines: Vec<_> =
        (1..=10).map(|unit| Machine::new(format!("m{unit}"), unit)).collect();
    let mut world = World::tcp(&machines).await?;
    world.start().await?;
    for unit in 1..=10 {
        world.until(&format!("m{unit}"), "level", |level| good(level).is_some()).await?;
    }
    // A cycle ten times as long for one; the others go on, on the same connection.
    machines[4] = Machine::new("m5", 5).every(1000);
    world.apply(&machines[4])?;
    let before = world.devices().counters();
    let polled = world.devices().until(|now| {
        [1, 2, 3, 4, 6, 7, 8, 9, 10]
            .iter()
            .all(|unit| now.unit(*unit).requests >= before.unit(*unit).requests + 60)
    });
    let after = timeout(PATIENCE, polled).await?;
    let slow = after.unit(5).requests - before.unit(5).requests;
    assert!(slow <= 30, "the slow one was asked {slow} times");
    assert_eq!(after.connections.accepted, 1, "nobody reconnected");

    // A broken file changes nothing; its last good state stays.
    world.apply_text(
        "m5",
        "apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {name: m5",
    )?;
    let asked = world.devices().counters().unit(5).requests;
    timeout(PATIENCE, world.devices().until(|now| now.unit(5).requests >= asked + 6)).await?;
    let (status, body) = e2e::http::get(&world.api(), "/readyz").await?;
    let told = String::from_utf8_lossy(&body).into_owned();
    assert!(told.contains("m5"), "{status}: {told}");

    let mut watch = e2e::http::events(&world.api(), "/v1/events").await?;
    // Neither does one that is well written and says what cannot be.
    let port = format!("port: {}", world.served()?.port());
    world.apply_text("m5", &world.text(&machines[4]).replace(&port, "port: 70000"))?;
    let refused = world
        .until_device("m5", |m5| m5.problem.as_ref().is_some_and(|text| text.contains("70000")))
        .await?;
    let problem = refused.problem.unwrap_or_default();
    for part in ["spec.protocol.configData.port = \"70000\"", "out of range", "write"] {
        assert!(problem.contains(part), "field, value and remedy: {problem}");
    }
    assert_eq!(refused.state, DeviceState::Online, "the old one keeps running");
    let asked = world.devices().counters().unit(5).requests;
    timeout(PATIENCE, world.devices().until(|now| now.unit(5).requests >= asked + 6)).await?;
    world.until("m5", "level", |level| good(level).is_some()).await?;
    assert_eq!(world.devices().counters().connections.accepted, 1);
    let ready = readiness(&world).await?;
    assert_eq!(ready["status"], "degraded");
    assert_eq!(ready["problems"].as_array().map(Vec::len), Some(1), "{ready}");
    assert_eq!(ready["problems"][0]["device"], "test/m5");
    assert_eq!(ready["problems"][0]["message"], problem.as_str());
    let told = timeout(PATIENCE, next_problem(&mut watch)).await??;
    assert_eq!(told["device"], "test/m5");
    assert_eq!(told["reason"], problem.as_str());

    // Mended, it is as before.
    world.apply(&machines[4])?;
    world.until_device("m5", |m5| m5.problem.is_none()).await?;
    let told = timeout(PATIENCE, next_problem(&mut watch)).await??;
    assert_eq!(told.get("reason"), None, "it is mended");
    assert_eq!(readiness(&world).await?["status"], "ready");
    assert_eq!(world.devices().counters().connections.accepted, 1);

    // Removed and added again, again without harm to the others.
    world.remove("m5")?;
    world.until_gone("m5").await?;
    world.apply(&Machine::new("m5", 5))?;
    world.until("m5", "level", |level| good(level).is_some()).await?;
    assert_eq!(world.devices().counters().connections.accepted, 1);
    world.stop().await
}
