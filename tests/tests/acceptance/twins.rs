//! Demand 13: what a twin says, whoever writes it and whatever breaks in between.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::app::{App, TOPIC};
use e2e::gateway::{Gateway, plain_devices};
use e2e::http;
use e2e::long::histories::{self, Size};
use e2e::wait::PATIENCE;
use serde_json::json;

/// A step that takes longer than [`PATIENCE`] breaks its history, and names it; `./test long histories` lives through more.
#[tokio::test]
async fn row_13_no_history_of_writers_kills_and_deletions_loses_or_revives_anything() -> Result<()>
{
    let seen = histories::run(Size { first: 13, seeds: 4, steps: 60 }).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    assert_eq!(seen.steps.values().sum::<u64>(), 4 * 60, "{seen:#?}");
    Ok(())
}

/// What a mapper of KubeEdge's older kind does: nothing but the topics, and a device with two registers.
#[tokio::test]
async fn row_13_a_mapper_that_knows_mqtt_alone_gets_each_wish_as_a_delta_and_ends_it() -> Result<()>
{
    let mut gateway = Gateway::new(true)?;
    gateway.manifest("devices.yaml", &plain_devices(1, 2))?;
    gateway.start(None).await?;
    gateway.loaded(1).await?;
    let mut mapper = App::join(&gateway).await?;
    let mut registers = BTreeMap::from([("p0".to_owned(), "0".to_owned())]);
    let actual = |name: &str, value: &str| json!({ name: { "actual": { "value": value } } });
    mapper.update(&actual("p0", "0")).await?;

    let wishes = json!({ "properties": { "p0": { "value": 7 }, "p1": { "value": 8 } } });
    let path = "/v1/devices/bench/d0/desired";
    let (status, _) = http::patch(&gateway.api(), path, &wishes).await?;
    ensure!(status == 200, "{status}");
    let delta = mapper.hear(&format!("{TOPIC}/twin/update/delta")).await?;
    assert_eq!(delta["delta"], json!({ "p0": "7", "p1": "8" }), "{delta}");
    for (name, value) in delta["delta"].as_object().context("an object")? {
        registers.insert(name.clone(), value.as_str().context("a text")?.to_owned());
    }
    assert_eq!(registers.get("p0").map(String::as_str), Some("7"), "it was written");

    // Half of it is reported: the other half is still to do.
    mapper.update(&actual("p0", &registers["p0"])).await?;
    assert_eq!(mapper.delta().await?, BTreeMap::from([("p1".to_owned(), "8".to_owned())]));
    mapper.update(&actual("p1", &registers["p1"])).await?;
    assert_eq!(mapper.delta().await?, BTreeMap::new(), "nothing is left to do");

    // One that says what it wrote, too, as KubeEdge's own do, settles the wish.
    let both = json!({ "p0": { "expected": { "value": "7" }, "actual": { "value": "7" } } });
    mapper.update(&both).await?;
    let view = gateway.devices().await?.pop().context("a device")?;
    let property = |name| view.property(name).context("a property");
    assert_eq!(property("p0")?.ack.as_ref().map(|ack| ack.word.as_str()), Some("verified"));
    assert!(property("p0")?.settled && property("p0")?.in_sync, "{view:#?}");
    assert_eq!(property("p1")?.ack, None, "nobody said that it was written");

    // What the device does by itself is no wish, and opens the delta again.
    mapper.update(&actual("p1", "3")).await?;
    assert_eq!(mapper.delta().await?, BTreeMap::from([("p1".to_owned(), "8".to_owned())]));
    gateway.stop(PATIENCE).await?;
    Ok(())
}
