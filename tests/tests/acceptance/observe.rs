//! Demand 40: what happens can be followed, through every process, without a line for each value.

use anyhow::{Context, Result, ensure};
use e2e::http;
use e2e::wait::eventually;
use e2e::world::{Machine, PATIENCE, World, device_path, good};
use serde_json::{Value, json};

/// The example of W3C Trace Context.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Reports are in a mapper's log at this level.
const LOG: &str = "info,mapper_sdk=debug";

#[tokio::test]
async fn row_40_one_number_leads_from_the_request_to_the_register_and_back() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?.as_programs().mapper_logs(LOG);
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
        let last = lines.iter().rfind(|line| line.contains("\"acknowledged\""));
        ensure!(last.is_some_and(|line| line.contains("verified")), "{lines:#?}");
        ensure!(lines.iter().any(|line| said(line, "report", "taken")), "{lines:#?}");
        Ok(lines)
    });
    let agent = agent.await?;
    let last = agent.iter().rfind(|line| line.contains("\"acknowledged\""));
    let last: Value = serde_json::from_str(last.context("no line")?)?;
    let (fields, span) = (&last["fields"], &last["span"]);
    assert_eq!((&fields["message"], &fields["code"]), (&json!("acknowledged"), &json!("verified")));
    assert_eq!((&span["device"], &span["property"]), (&json!("test/pump"), &json!("setpoint")));
    assert!(agent[0].contains("accepted"), "{agent:#?}");
    let mapper: Vec<_> = lines(world.mapper_log()?).collect();
    assert!(mapper.iter().any(|line| line.contains("verified")), "{mapper:#?}");
    // The report that brings the acknowledgement goes on with it.
    assert!(mapper.iter().any(|line| said(line, "report", "acknowledges")), "{mapper:#?}");

    let (_, page) = http::get(&world.api(), "/metrics").await?;
    let page = String::from_utf8(page.to_vec())?;
    for line in ["edgetwin_desired_settle_seconds_count 1", "edgetwin_store_commit_seconds_bucket"]
    {
        assert!(page.contains(line), "{line}\n{page}");
    }
    world.stop().await
}

#[tokio::test]
async fn row_40_a_report_has_one_number_in_both_processes() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?.as_programs().mapper_logs(LOG);
    world.start().await?;
    world.until("pump", "level", |reading| good(reading).is_some()).await?;
    let mut events = http::events(&world.api(), "/v1/events").await?;
    world.devices().set_value("test/pump", "level", 321.0)?;
    events.next().await?.context("no event")?;
    let told = [("report", "taken"), ("", "committed"), ("", "told to a reader of events")];
    eventually(PATIENCE, "one number in both", async || {
        let agent = world.agent_log()?;
        let mut traces = world.mapper_log()?.into_iter().filter_map(|line| trace_of_report(&line));
        let whole = |trace: &String| {
            let lines: Vec<_> = agent.iter().filter(|line| line.contains(trace)).collect();
            told.iter().all(|(span, text)| lines.iter().any(|line| said(line, span, text)))
        };
        ensure!(traces.any(|trace| whole(&trace)), "{agent:#?}");
        Ok(())
    })
    .await?;
    world.stop().await
}

/// Whether a line of a log says `text` in the span of that name; none: in any.
fn said(line: &str, span: &str, text: &str) -> bool {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
    let there = span.is_empty() || line["span"]["name"] == span;
    there && line["fields"]["message"] == text
}

/// The number of the report that a line is about.
fn trace_of_report(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let span = &line["span"];
    (span["name"] == "report").then(|| span["trace"].as_str().map(str::to_owned)).flatten()
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
