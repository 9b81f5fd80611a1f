//! Demand 40: what happens can be followed, through every process, without a line for each value.

use anyhow::{Context, Result, ensure};
use e2e::http;
use e2e::wait::eventually;
use e2e::world::{Machine, PATIENCE, World, device_path, good};
use serde_json::json;

/// The example of W3C Trace Context.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn row_40_one_number_leads_from_the_request_to_the_register_and_back() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?.as_programs();
    world.start().await?;
    world.until("pump", "level", |reading| good(reading).is_some()).await?;
    let path = format!("{}/desired?wait=20s", device_path("pump"));
    let body = json!({"properties": {"setpoint": {"value": "7"}}});
    let header = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let (status, body) =
        http::patch_with(&world.api(), &path, &body, &[("traceparent", &header)]).await?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));

    let lines = |log: Vec<String>| log.into_iter().filter(|line| line.contains(TRACE));
    let agent = eventually(PATIENCE, "the agent's last word", async || {
        let lines: Vec<_> = lines(world.agent_log()?).collect();
        ensure!(lines.last().is_some_and(|line| line.contains("verified")), "{lines:#?}");
        Ok(lines)
    });
    let agent = agent.await?;
    let last: serde_json::Value = serde_json::from_str(agent.last().context("no line")?)?;
    let (fields, span) = (&last["fields"], &last["span"]);
    assert_eq!((&fields["message"], &fields["code"]), (&json!("acknowledged"), &json!("verified")));
    assert_eq!((&span["device"], &span["property"]), (&json!("test/pump"), &json!("setpoint")));
    assert!(agent[0].contains("accepted"), "{agent:#?}");
    let mapper: Vec<_> = lines(world.mapper_log()?).collect();
    assert!(mapper.iter().any(|line| line.contains("verified")), "{mapper:#?}");

    let (_, page) = http::get(&world.api(), "/metrics").await?;
    let page = String::from_utf8(page.to_vec())?;
    for line in ["edgetwin_desired_settle_seconds_count 1", "edgetwin_store_commit_seconds_bucket"]
    {
        assert!(page.contains(line), "{line}\n{page}");
    }
    world.stop().await
}

#[tokio::test]
async fn row_40_more_devices_make_no_more_series() -> Result<()> {
    let mut series = Vec::new();
    for count in [1, 8] {
        let machines: Vec<_> =
            (1..=count).map(|unit| Machine::new(format!("pump{unit}"), unit)).collect();
        let mut world = World::tcp(&machines).await?;
        world.start().await?;
        let (_, page) = http::get(&world.api(), "/metrics").await?;
        let page = String::from_utf8(page.to_vec())?;
        series.push(page.lines().filter(|line| !line.starts_with('#')).count());
        world.stop().await?;
    }
    assert_eq!(series[0], series[1]);
    Ok(())
}
