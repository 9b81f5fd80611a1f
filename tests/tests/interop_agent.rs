//! The whole agent between programs that others wrote: mappers on grpc-go and grpcio, the clients of Mosquitto.
#![cfg(feature = "peers")]

use anyhow::{Context, Result, ensure};
use device_model::DeviceState;
use e2e::foreign_mapper::{ForeignMapper, Stack, report, twin};
use e2e::mosquitto::{Subscriber, publish};
use e2e::wait::eventually;
use e2e::world::{Machine, PATIENCE, World, good};
use serde_json::{Value as Json, json};

/// A device of another protocol, whose mapper is not here.
const BOILER: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: boiler, namespace: test}
spec: {deviceModelRef: {name: machine}, protocol: {protocolName: opcua}}
";

/// A device that comes and goes, with a model of its own.
const LIFT: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: lift, namespace: test}
spec: {properties: [{name: height, type: FLOAT, accessMode: ReadOnly}]}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: lift, namespace: test}
spec:
  deviceModelRef: {name: lift}
  protocol: {protocolName: modbus, configData: {ip: 127.0.0.1, port: 502, slaveID: 9}}
  properties: [{name: height}]
";

const PUMP: &str = "$hw/events/device/test/pump";

/// The property `name` in a message's device.
fn property<'a>(device: &'a Json, name: &str) -> Result<&'a Json> {
    let properties = device["spec"]["properties"].as_array().context("it has properties")?;
    properties.iter().find(|property| property["name"] == name).context("it has the property")
}

/// An agent with a pump, a fan and a boiler, and a foreign mapper of Modbus that has the first two.
struct Site {
    world: World,
    mapper: ForeignMapper,
}

impl Site {
    async fn new(stack: Stack) -> Result<Self> {
        let mut world = World::tcp(&[Machine::new("pump", 1), Machine::new("fan", 2)]).await?;
        world.apply_text("boiler", BOILER)?;
        world.start_agent().await?;
        for name in ["pump", "fan", "boiler"] {
            world.until_device(name, |_| true).await?;
        }
        let own = world.dmi().with_file_name("peer.sock");
        let mapper = ForeignMapper::start(stack, &world.dmi(), &own).await?;
        Ok(Self { world, mapper })
    }

    async fn report(&mut self, device: &str, twins: &[Json]) -> Result<Json> {
        self.mapper.call("ReportDeviceStatus", &report("test", device, twins), 1).await
    }

    async fn accepted(&mut self, device: &str, twins: &[Json]) -> Result<()> {
        let answer = self.report(device, twins).await?;
        ensure!(answer["code"] == "OK", "{answer}");
        Ok(())
    }

    async fn refused(&mut self, device: &str, twins: &[Json], code: &str, why: &str) -> Result<()> {
        let answer = self.report(device, twins).await?;
        let message = answer["message"].as_str().unwrap_or_default();
        ensure!(answer["code"] == code && message.contains(why), "{why} is wanted: {answer}");
        Ok(())
    }
}

async fn registers_reports_and_is_updated(stack: Stack) -> Result<()> {
    let mut site = Site::new(stack).await?;
    is_given_the_devices_of_its_protocol(&mut site).await?;
    reports(&mut site).await?;
    is_told_what_is_desired(&mut site).await?;
    is_told_of_devices_that_come_and_go(&mut site).await?;
    is_found_again_after_a_restart_of_the_agent(&mut site).await?;
    is_refused_what_is_wrong_and_nothing_else(&mut site).await?;
    site.world.stop().await
}

async fn is_given_the_devices_of_its_protocol(site: &mut Site) -> Result<()> {
    let answer = site.mapper.event("answer").await?;
    assert_eq!(answer["code"], "OK", "{answer}");
    let mut devices = Vec::new();
    for _ in 0..site.mapper.unread("device") {
        devices.push(site.mapper.event("device").await?["device"].clone());
    }
    devices.sort_by_key(|device| device["name"].to_string());
    let names: Vec<_> = devices.iter().map(|device| &device["name"]).collect();
    assert_eq!(names, ["fan", "pump"], "the boiler speaks another protocol");
    assert_eq!(devices[1]["spec"]["protocol"]["protocolName"], "modbus");
    // Nothing is desired, and yet the member is there: mappers of KubeEdge look into it unseen.
    assert!(property(&devices[1], "setpoint")?["desired"].is_object(), "{}", devices[1]);
    assert_eq!(site.mapper.unread("model"), 1, "two devices of one model");
    assert_eq!(site.mapper.event("model").await?["model"]["name"], "machine");
    site.world.until_device("pump", |pump| pump.mapper.is_some()).await?;
    assert_eq!(site.world.device("boiler").await?.mapper, None);
    Ok(())
}

async fn reports(site: &mut Site) -> Result<()> {
    let topic = format!("{PUMP}/twin/update/document");
    let mut bus = Subscriber::start(site.world.mqtt()?, &[&topic]).await?;
    site.accepted("pump", &[twin("level", "42"), twin("relay", "true")]).await?;
    let pump = site.world.device("pump").await?;
    assert_eq!(pump.property("level").and_then(good), Some("42"));
    assert_eq!(pump.property("relay").and_then(good), Some("true"));
    let (_, document) = bus.message(|_, said| said["twin"]["level"].is_object()).await?;
    let level = &document["twin"]["level"]["current"];
    assert_eq!(level["actual"]["value"], "42", "{document}");
    assert_eq!(level["actual"]["metadata"]["quality"], "good", "{document}");
    assert_eq!(level["metadata"]["type"], "int", "{document}");

    let state = json!({ "deviceName": "pump", "deviceNamespace": "test", "state": "online" });
    assert_eq!(site.mapper.call("ReportDeviceStates", &state, 1).await?["code"], "OK");
    site.world.until_device("pump", |pump| pump.state == DeviceState::Online).await?;
    Ok(())
}

async fn is_told_what_is_desired(site: &mut Site) -> Result<()> {
    site.world.set("pump", "setpoint", "450", "1ms").await?;
    let (call, request) = site.mapper.called().await?;
    assert_eq!((call.as_str(), &request["device"]["name"]), ("UpdateDevice", &json!("pump")));
    let desired = &property(&request["device"], "setpoint")?["desired"];
    assert_eq!(desired["value"], "450", "{request}");
    assert_eq!(desired["metadata"]["version"], "1", "{request}");
    assert_eq!(desired["metadata"]["type"], "int", "{request}");
    // It knows nothing of acknowledgements: that the device has the value is what tells.
    let setpoint = json!({
        "propertyName": "setpoint", "observedDesired": { "value": "450" }, "reported": { "value": "450" },
    });
    site.accepted("pump", &[setpoint]).await?;
    let setpoint = site.world.until("pump", "setpoint", |setpoint| setpoint.settled).await?;
    assert!(setpoint.in_sync, "{setpoint:#?}");
    Ok(())
}

async fn is_told_of_devices_that_come_and_go(site: &mut Site) -> Result<()> {
    site.world.apply_text("lift", LIFT)?;
    let (call, request) = site.mapper.called().await?;
    assert_eq!((call.as_str(), &request["model"]["name"]), ("CreateDeviceModel", &json!("lift")));
    assert_eq!(request["model"]["spec"]["properties"][0]["type"], "FLOAT", "{request}");
    let (call, request) = site.mapper.called().await?;
    assert_eq!((call.as_str(), &request["device"]["name"]), ("RegisterDevice", &json!("lift")));
    let wire = &request["device"]["spec"]["protocol"]["configData"]["data"];
    assert_eq!(wire["slaveID"]["value"], "9", "{request}");
    site.accepted("lift", &[twin("height", "2.5")]).await?;
    let lift = site.world.device("lift").await?;
    assert_eq!(lift.property("height").and_then(good), Some("2.5"));

    site.world.remove("lift")?;
    let (call, request) = site.mapper.called().await?;
    assert_eq!(call, "RemoveDevice");
    assert_eq!(request, json!({ "deviceName": "lift", "deviceNamespace": "test" }));
    site.refused("lift", &[twin("height", "3")], "NOTFOUND", "test/lift").await
}

/// It registered once, at its start, and does not notice that the agent was away.
async fn is_found_again_after_a_restart_of_the_agent(site: &mut Site) -> Result<()> {
    site.world.set("pump", "setpoint", "460", "1ms").await?;
    assert_eq!(site.mapper.called().await?.0, "UpdateDevice");
    // That it was told is noted when it is told of something else.
    site.world.apply_text("lift", LIFT)?;
    assert_eq!(site.mapper.called().await?.0, "RegisterDevice");
    site.world.stop_agent().await?;
    site.world.remove("lift")?;
    site.world.start_agent().await?;

    let (call, request) = site.mapper.called().await?;
    assert_eq!((call.as_str(), &request["deviceName"]), ("RemoveDevice", &json!("lift")));
    let pump = site.world.device("pump").await?;
    assert_eq!(pump.mapper.as_deref(), site.world.device("fan").await?.mapper.as_deref());
    assert!(pump.mapper.is_some());
    // Its connection breaks with the agent, and grpc takes a second to make another.
    let level = [twin("level", "42")];
    eventually(PATIENCE, "its report", async || site.accepted("pump", &level).await).await?;

    site.world.set("pump", "setpoint", "470", "1ms").await?;
    assert_eq!(site.mapper.called().await?.0, "CreateDeviceModel");
    let (call, request) = site.mapper.called().await?;
    assert_eq!((call.as_str(), &request["device"]["name"]), ("UpdateDevice", &json!("pump")));
    let desired = &property(&request["device"], "setpoint")?["desired"];
    assert_eq!((&desired["value"], &desired["metadata"]["version"]), (&json!("470"), &json!("3")));
    assert_eq!(site.mapper.unread("called"), 0, "nothing else had changed");
    let state = json!({ "deviceName": "pump", "deviceNamespace": "test", "state": "online" });
    assert_eq!(site.mapper.call("ReportDeviceStates", &state, 1).await?["code"], "OK");
    Ok(())
}

async fn is_refused_what_is_wrong_and_nothing_else(site: &mut Site) -> Result<()> {
    let before = (site.world.device("fan").await?, site.world.device("boiler").await?);
    let invalid = "INVALIDARGUMENT";
    let tall = [twin("level", "tall"), twin("relay", "false")];
    site.refused("pump", &tall, invalid, "reportedDevice.twins[0].reported.value").await?;
    let nil = [twin("relay", "true"), json!({ "propertyName": "level" })];
    site.refused("pump", &nil, invalid, "reportedDevice.twins[1].reported").await?;
    let depth = [twin("depth", "1"), twin("setpoint", "451")];
    site.refused("pump", &depth, invalid, "reportedDevice.twins[0].propertyName").await?;
    site.refused("pump", &[], invalid, "reportedDevice.twins").await?;
    site.refused("ghost", &[twin("level", "1")], "NOTFOUND", "deviceName").await?;
    let no_device = json!({ "deviceName": "pump", "deviceNamespace": "test" });
    let answer = site.mapper.call("ReportDeviceStatus", &no_device, 1).await?;
    assert_eq!(answer["code"], invalid, "{answer}");
    let state = json!({ "deviceName": "pump", "deviceNamespace": "test", "state": "asleep" });
    let answer = site.mapper.call("ReportDeviceStates", &state, 1).await?;
    assert_eq!(answer["code"], invalid, "{answer}");
    // As many as there can be: what the status says still fits into the headers that the peer takes.
    let many = vec![twin("level", "tall"); 1000];
    site.refused("pump", &many, invalid, "reportedDevice.twins[0].reported.value").await?;

    let pump = site.world.device("pump").await?;
    let now = |name| pump.property(name).and_then(good);
    assert_eq!(now("level"), Some("42"), "none of the wrong values counts");
    assert_eq!(now("relay"), Some("true"), "what came beside a wrong value counts");
    assert_eq!(now("setpoint"), Some("451"), "what came beside an unknown property counts");
    assert_eq!(pump.state, DeviceState::Online);
    let after = (site.world.device("fan").await?, site.world.device("boiler").await?);
    assert_eq!(after, before, "other devices are not touched");
    Ok(())
}

#[tokio::test]
async fn a_go_mapper_registers_reports_and_is_updated() -> Result<()> {
    registers_reports_and_is_updated(Stack::GoPath).await
}

#[tokio::test]
async fn a_go_mapper_that_dials_anew_for_each_call_registers_reports_and_is_updated() -> Result<()>
{
    registers_reports_and_is_updated(Stack::GoFresh).await
}

#[tokio::test]
async fn a_python_mapper_registers_reports_and_is_updated() -> Result<()> {
    registers_reports_and_is_updated(Stack::Python).await
}

#[tokio::test]
async fn mosquitto_clients_speak_with_the_embedded_broker() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
    world.start().await?;
    let broker = world.mqtt()?;
    world.until("pump", "setpoint", |setpoint| good(setpoint) == Some("0")).await?;

    let any = "$hw/events/device/+/+/twin/update/document";
    let mut documents = Subscriber::start(broker, &[any]).await?;
    world.devices().set_value("test/pump", "level", 42.0)?;
    let (topic, document) = documents
        .message(|_, said| said["twin"]["level"]["current"]["actual"]["value"] == "42")
        .await?;
    assert_eq!(topic, format!("{PUMP}/twin/update/document"));
    assert_eq!(document["twin"]["level"]["last"]["actual"]["value"], "0", "{document}");

    let results = [format!("{PUMP}/twin/update/result"), format!("{PUMP}/twin/get/result")];
    let mut results = Subscriber::start(broker, &results.each_ref().map(String::as_str)).await?;
    let update = format!("{PUMP}/twin/update");
    publish(broker, &update, r#"{"twin":{"setpoint":{"expected":{"value":"450"}}}}"#).await?;
    let (topic, result) =
        results.message(|_, said| said["twin"]["setpoint"]["expected"].is_object()).await?;
    assert_eq!(topic, format!("{PUMP}/twin/update/result"));
    assert_eq!(result["twin"]["setpoint"]["expected"]["value"], "450", "{result}");
    let setpoint = world
        .until("pump", "setpoint", |setpoint| setpoint.settled && good(setpoint) == Some("450"))
        .await?;
    assert_eq!(setpoint.ack.map(|ack| ack.word).as_deref(), Some("verified"));
    assert_eq!(world.devices().holding(1, 0)?, 450);

    // Refused with a reason: by the model's range, and as no JSON.
    for (event, payload, reason) in [
        ("e1", r#"{"event_id":"e1","twin":{"setpoint":{"expected":{"value":"1001"}}}}"#, "1000"),
        ("", "level=1", "JSON"),
    ] {
        publish(broker, &update, payload).await?;
        let (_, refusal) =
            results.message(|_, said| said["event_id"] == event && said["code"] == 400).await?;
        assert!(refusal["reason"].to_string().contains(reason), "{refusal}");
    }

    // Only the cloud may say this, and what a client publishes does not come from there.
    let spoof = r#"{"event_id":"spoof","twin":{"setpoint":{"expected":{"value":"1"}}}}"#;
    publish(broker, &format!("{PUMP}/twin/cloud_updated"), spoof).await?;
    let get = format!("{PUMP}/twin/get");
    publish(broker, &get, r#"{"event_id":"e2","timestamp":0}"#).await?;
    let (topic, twin) = results.message(|_, said| said["event_id"] == "e2").await?;
    assert_eq!(topic, format!("{PUMP}/twin/get/result"));
    let setpoint = &twin["twin"]["setpoint"];
    assert_eq!(setpoint["expected"]["value"], "450", "{twin}");
    assert_eq!(setpoint["expected"]["metadata"]["version"], 1, "{twin}");
    assert_eq!(setpoint["actual"]["value"], "450", "{twin}");
    assert_eq!(twin["twin"]["level"]["actual"]["value"], "42", "{twin}");
    let writes: Vec<_> =
        world.devices().counters().writes.into_iter().map(|write| write.values).collect();
    assert_eq!(writes, [[450]], "the register was written once");
    world.stop().await
}
