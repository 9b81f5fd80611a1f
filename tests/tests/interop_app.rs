//! An application that is written for KubeEdge's topics, and knows nothing of ours, beside a foreign mapper.
#![cfg(feature = "peers")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use device_model::DeviceState;
use e2e::foreign_mapper::{ForeignMapper, Stack, report, twin};
use e2e::peers::program;
use e2e::world::{Machine, World, good};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Python takes a second to start, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many values the mapper reports.
const VALUES: u64 = 300;

/// No mapper speaks its protocol: the application does.
const LAMP: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: lamp, namespace: test}
spec: {properties: [{name: brightness, type: INT, accessMode: ReadWrite}]}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: lamp, namespace: test}
spec:
  deviceModelRef: {name: lamp}
  protocol: {protocolName: by-hand}
  properties: [{name: brightness}]
";

/// `tests/peers/python/app.py`; killed when dropped.
struct App {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl App {
    async fn start(broker: SocketAddr, node: &str) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/python/app.py");
        let mut command = Command::new(program("EDGETWIN_PYTHON").await?);
        command.args([script, &broker.port().to_string(), node]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let output = process.stdout.take().context("its output is piped")?;
        Ok(Self { process, lines: BufReader::new(output).lines() })
    }

    /// What it says, up to the first thing for which `wanted` holds.
    async fn until(&mut self, wanted: impl Fn(&Json) -> bool) -> Result<Vec<Json>> {
        let mut said = Vec::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await? {
                said.push(serde_json::from_str(&line)?);
                if said.last().is_some_and(&wanted) {
                    return Ok(());
                }
            }
            anyhow::bail!("it ended")
        };
        let read = timeout(PATIENCE, reading).await.map_err(anyhow::Error::from).flatten();
        read.with_context(|| format!("it said {said:?}"))?;
        Ok(said)
    }

    async fn hears(&mut self, event: Json) -> Result<()> {
        self.until(|said| *said == event).await.map(drop).with_context(|| event.to_string())
    }

    /// Closes its input and waits for its end.
    async fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let ended = timeout(PATIENCE, self.process.wait()).await??;
        ensure!(ended.success(), "{ended}");
        Ok(())
    }
}

fn changed(device: &str, property: &str, last: impl Into<Json>, current: &str) -> Json {
    let last = last.into();
    json!({"event": "changed", "device": device, "property": property, "last": last, "current": current})
}

#[tokio::test]
async fn an_application_for_kubeedge_sees_every_value_and_its_wishes_reach_the_mapper() -> Result<()>
{
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
    world.apply_text("lamp", LAMP)?;
    world.start_agent().await?;
    for device in ["pump", "lamp"] {
        world.until_device(device, |_| true).await?;
    }
    let own = world.dmi().with_file_name("peer.sock");
    let mut mapper = ForeignMapper::start(Stack::Python, &world.dmi(), &own).await?;
    mapper.event("answer").await?;

    let mut app = App::start(world.mqtt()?, "test").await?;
    app.hears(json!({"event": "devices", "ids": ["test/lamp", "test/pump"]})).await?;
    app.hears(json!({"event": "state", "device": "lamp", "state": "online"})).await?;
    app.hears(changed("test/lamp", "brightness", Json::Null, "0")).await?;
    world.until_device("lamp", |lamp| lamp.state == DeviceState::Online).await?;

    // Somebody wants something of the lamp; the application does it and says so.
    world.set("lamp", "brightness", "70", "0s").await?;
    app.hears(changed("test/lamp", "brightness", "0", "70")).await?;
    world.until("lamp", "brightness", |value| good(value) == Some("70")).await?;

    // The pump's level rises by one with each report.
    let levels = report("test", "pump", &[twin("level", "")]);
    let answer = mapper.call("ReportDeviceStatus", &levels, VALUES).await?;
    assert_eq!((&answer["ok"], &answer["failed"]), (&json!(VALUES), &json!(0)), "{answer}");
    let last = VALUES.to_string();
    let said =
        app.until(|said| said["event"] == "wanted" && said["value"] == last.as_str()).await?;
    let pump = |event: &str, property: &str| -> Vec<&Json> {
        let of = |said: &&Json| {
            said["event"] == event && said["device"] == "test/pump" && said["property"] == property
        };
        said.iter().filter(of).collect()
    };
    let before = |value: u64| (value > 1).then(|| (value - 1).to_string());
    let all: Vec<_> = (1..=VALUES)
        .map(|value| changed("test/pump", "level", before(value), &value.to_string()))
        .collect();
    assert_eq!(pump("changed", "level"), all.iter().collect::<Vec<_>>());
    let wanted: Vec<_> = pump("wanted", "setpoint").iter().map(|said| &said["value"]).collect();
    assert_eq!(wanted, ["100", "200", "300"]);
    assert!(!said.iter().any(|said| said["event"] == "refused"), "{said:?}");

    // What it wanted last, the mapper is told last, and does.
    let mut told = Vec::new();
    while told.last().is_none_or(|value| *value != last) {
        let (call, request) = mapper.called().await?;
        assert_eq!(call, "UpdateDevice");
        let properties =
            request["device"]["spec"]["properties"].as_array().context("properties")?;
        let setpoint = properties.iter().find(|property| property["name"] == "setpoint");
        let desired = setpoint.context("no setpoint")?["desired"]["value"].as_str();
        told.push(desired.unwrap_or_default().to_owned());
    }
    assert!(told.is_sorted_by_key(|value| value.parse::<u64>().ok()), "{told:?}");
    let done = report("test", "pump", &[twin("setpoint", &last)]);
    mapper.call("ReportDeviceStatus", &done, 1).await?;
    app.hears(changed("test/pump", "setpoint", Json::Null, &last)).await?;

    // A device that goes, goes for the application, too.
    world.remove("lamp")?;
    app.hears(json!({"event": "removed_devices", "ids": ["test/lamp"]})).await?;
    app.end().await?;
    world.stop().await
}
