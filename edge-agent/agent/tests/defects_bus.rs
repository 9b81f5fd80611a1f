//! EdgeCore's defects on the event bus, each shown not to be ours. `docs/kubeedge-defects.md` lists them all.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::net::SocketAddr;

use edge_agent::config::MqttMode;
use hyper::Method;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use world::bus::Bus;
use world::mapper::FakeMapper;
use world::outside::{Outside, Pace};
use world::{World, eventually, within};

const UPDATE: &str = "$hw/events/device/demo/pump/twin/update";

async fn pump_and_app() -> (World, Bus) {
    let world = World::with(&[("pump", "")]).await;
    let bus = Bus::join(world.mqtt(), "app").await;
    (world, bus)
}

fn update(id: &str, twin: &Value) -> String {
    json!({"event_id": id, "twin": twin}).to_string()
}

async fn speed(world: &World) -> edge_agent::api::view::PropertyView {
    world.device("pump").await.unwrap().property("speed").unwrap().clone()
}

#[tokio::test]
async fn h04_order_is_kept_from_the_first_update_to_the_last() {
    let (world, mut bus) = pump_and_app().await;
    for number in 0..500 {
        let twin = json!({"speed": {"actual": {"value": number.to_string()}}});
        bus.publish(UPDATE, &update(&number.to_string(), &twin)).await;
    }
    for number in 0..500 {
        assert_eq!(bus.next("update/result").await["event_id"], number.to_string());
    }
    assert_eq!(speed(&world).await.reported.unwrap().value.as_deref(), Some("499"));
}

#[tokio::test]
async fn h05_a_poisoned_update_harms_neither_its_device_nor_another() {
    let world = World::with(&[("pump", ""), ("fan", "")]).await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    for poison in
        [r#"{"twin":{"speed":{"actual":{}}}}"#, r#"{"twin":{"speed":{"expected":[]}}}"#, "[[[["]
    {
        bus.publish(UPDATE, poison).await;
        assert_eq!(bus.next("update/result").await["code"], 400, "{poison}");
    }
    for device in ["pump", "fan"] {
        let topic = format!("$hw/events/device/demo/{device}/twin/update");
        bus.publish(&topic, &update(device, &json!({"speed": {"actual": {"value": "1"}}}))).await;
        assert_eq!(bus.next("update/result").await["twin"]["speed"]["actual"]["value"], "1");
    }
}

#[tokio::test]
async fn h07_without_a_broker_reports_are_stored_as_fast_as_ever() {
    let alone = Pace::alone().await;
    let address = Outside::nowhere().await;
    let world = World::start(&[("pump", "")], |config| {
        config.mqtt.mode = MqttMode::External;
        config.mqtt.external.url = format!("tcp://{address}");
    })
    .await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let mut pace = Pace::default();
    for number in 0..1000 {
        let speed = number.to_string();
        let report = [("speed", &*speed, &[][..])];
        pace.note(mapper.report("pump", &report)).await.unwrap();
    }
    pace.keeps_up_with(&alone);
    assert_eq!(speed(&world).await.reported.unwrap().value.as_deref(), Some("999"));
}

#[tokio::test]
async fn h10_an_error_bears_its_device_and_its_event_id() {
    let (_world, mut bus) = pump_and_app().await;
    bus.publish(UPDATE, r#"{"event_id":"mine"}"#).await;
    let (topic, answer) = bus.next_answer().await;
    assert_eq!((topic, &answer["event_id"]), (format!("{UPDATE}/result"), &json!("mine")));
}

#[tokio::test]
async fn h11_any_name_is_a_namespace_and_a_node() {
    let world = World::start(&[], |config| {
        config.node.name = "node".into();
        std::fs::create_dir_all(&config.manifests.dir).unwrap();
        for namespace in ["dev", "device", "event", "events", "e", "hw", "d"] {
            let text = format!("{}---{}", world::MODEL, world::device("pump", ""));
            let text = text.replace("namespace: demo", &format!("namespace: {namespace}"));
            std::fs::write(config.manifests.dir.join(format!("{namespace}.yaml")), text).unwrap();
        }
    })
    .await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    for namespace in ["dev", "device", "event", "events", "e", "hw", "d"] {
        let topic = format!("$hw/events/device/{namespace}/pump/twin/update");
        bus.publish(&topic, &update(namespace, &json!({}))).await;
        let (answer, message) = bus.next_answer().await;
        assert_eq!(answer, format!("{topic}/result"));
        assert!(message["code"].is_null(), "{message}");
    }
    bus.publish("$hw/events/node/node/membership/get", r#"{"event_id":"m"}"#).await;
    assert_eq!(bus.next("node/node/membership/get/result").await["event_id"], "m");
}

#[tokio::test]
async fn h21_h22_devices_come_and_go_under_load() {
    let (world, bus) = pump_and_app().await;
    let mut apps = JoinSet::new();
    for name in ["a", "b"] {
        let mut app = Bus::join(world.mqtt(), name).await;
        apps.spawn(async move {
            for number in 0..200 {
                let id = format!("{name}{number}");
                let twin = json!({"speed": {"actual": {"value": number.to_string()}}});
                let topic = "$hw/events/device/demo/fan/twin/update";
                app.publish(topic, &update(&id, &twin)).await;
                // Known or not, it is answered.
                while app.next("demo/fan/twin/update/result").await["event_id"] != id.as_str() {}
            }
        });
    }
    for _ in 0..10 {
        world.write("fan.yaml", &world::device("fan", ""));
        world.until("fan", |_| true).await;
        world.remove("fan.yaml");
        eventually("the fan to be gone", async || world.device("fan").await.err()).await;
    }
    while let Some(ended) = apps.join_next().await {
        ended.unwrap();
    }
    drop(bus);
    assert!(world.device("pump").await.is_ok());
}

#[tokio::test]
async fn h23_a_device_that_is_described_again_is_no_news() {
    let (world, mut bus) = pump_and_app().await;
    bus.publish(UPDATE, &update("1", &json!({"speed": {"actual": {"value": "5"}}}))).await;
    bus.next("update/document").await;
    world.write("pump.yaml", &world::device("pump", ""));
    // The folder is read as a whole: the other one is there when the pump was read again.
    world.write("fan.yaml", &world::device("fan", ""));
    let (topic, message) = bus.next_answer().await;
    assert!(topic.ends_with("membership/updated"), "{topic}");
    assert_eq!(message["added_devices"][0]["id"], "demo/fan");
    assert_eq!(speed(&world).await.reported.unwrap().value.as_deref(), Some("5"));
}

#[tokio::test]
async fn h24_going_offline_keeps_the_time_of_being_online() {
    let (_world, mut bus) = pump_and_app().await;
    for state in ["online", "offline"] {
        bus.publish(
            "$hw/events/device/demo/pump/state/update",
            &json!({"state": state}).to_string(),
        )
        .await;
        bus.next("state/update/result").await;
    }
    bus.publish("$hw/events/node/x/membership/get", "{}").await;
    let device = &bus.next("membership/get/result").await["devices"][0];
    assert_eq!(device["state"], "offline");
    assert!(device["last_online"].as_str().unwrap().ends_with('Z'), "{device}");
}

#[tokio::test]
async fn h27_the_first_wish_is_checked_like_any_other() {
    let (world, mut bus) = pump_and_app().await;
    for (twin, code) in [
        (json!({"speed": {"expected": {"value": "fast"}}}), 400),
        (json!({"speed": {"expected": {"value": "3001"}}}), 400),
        (json!({"temperature": {"expected": {"value": "1"}}}), 403),
    ] {
        bus.publish(UPDATE, &update("e", &twin)).await;
        assert_eq!(bus.next("update/result").await["code"], code, "{twin}");
    }
    assert!(speed(&world).await.desired.is_none());
}

const ALL_TYPES: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: all, namespace: demo}
spec:
  protocol: test
  properties:
    - {name: int, type: INT, accessMode: ReadWrite}
    - {name: float, type: FLOAT, accessMode: ReadWrite}
    - {name: double, type: DOUBLE, accessMode: ReadWrite, minimum: '-0.5'}
    - {name: string, type: STRING, accessMode: ReadWrite}
    - {name: boolean, type: BOOLEAN, accessMode: ReadWrite}
    - {name: bytes, type: BYTES, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: all, namespace: demo}
spec:
  deviceModelRef: {name: all}
  protocol: {protocolName: test, configData: {port: 1}}
  properties: [{name: int}, {name: float}, {name: double}, {name: string}, {name: boolean}, {name: bytes}]
";

#[tokio::test]
async fn h27_the_first_value_of_every_type_is_checked_on_either_side() {
    let world = World::start(&[], |config| {
        std::fs::create_dir_all(&config.manifests.dir).unwrap();
        std::fs::write(config.manifests.dir.join("all.yaml"), ALL_TYPES).unwrap();
    })
    .await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    let topic = "$hw/events/device/demo/all/twin/update";
    let too_long = "x".repeat(64 * 1024 + 1);
    let cases: [(&str, &str, &[&str]); 6] = [
        ("int", "-9223372036854775808", &["9223372036854775808", "5.5", "five", ""]),
        ("float", "NaN", &["1e39", "warm", ""]),
        ("double", "1.5", &["1e309", "1,5", ""]),
        ("string", "any \u{e4}", &[&too_long]),
        ("boolean", "true", &["yes", "2", ""]),
        ("bytes", "AQID", &["%%", "A"]),
    ];
    // What a device reports outside of the range is kept, as uncertain; nobody may wish it.
    bus.publish(topic, &update("r", &json!({"double": {"expected": {"value": "-0.51"}}}))).await;
    let answer = bus.next("update/result").await;
    assert_eq!((&answer["event_id"], &answer["code"]), (&json!("r"), &json!(400)), "{answer}");
    for (name, good, bad) in cases {
        for value in bad {
            let code = if *value == too_long { 413 } else { 400 };
            for side in ["expected", "actual"] {
                bus.publish(topic, &update("b", &json!({name: {side: {"value": value}}}))).await;
                let answer = bus.next("update/result").await;
                assert_eq!(answer["code"], code, "{name} {side} {value:.40}: {answer:.300}");
                assert!(answer["reason"].as_str().unwrap().contains(name), "{answer:.300}");
            }
        }
        let all = world.device("all").await.unwrap();
        let property = all.property(name).unwrap();
        assert!(property.desired.is_none() && property.reported.is_none(), "{name}");
        for side in ["expected", "actual"] {
            bus.publish(topic, &update("g", &json!({name: {side: {"value": good}}}))).await;
            let answer = bus.next("update/result").await;
            assert_eq!(answer["twin"][name][side]["value"], good, "{answer}");
        }
    }
    let all = world.device("all").await.unwrap();
    for (name, good, _) in cases {
        let property = all.property(name).unwrap();
        assert_eq!(property.desired.as_ref().unwrap().value, good);
        assert_eq!(property.reported.as_ref().unwrap().value.as_deref(), Some(good));
    }
}

#[tokio::test]
async fn h28_taking_away_what_is_not_there_leaves_the_rest_alone() {
    let (world, mut bus) = pump_and_app().await;
    let twin = json!({"a": null, "speed": {"expected": {"value": "7"}}, "z": null});
    bus.publish(UPDATE, &update("e", &twin)).await;
    assert_eq!(bus.next("update/result").await["twin"]["speed"]["expected"]["value"], "7");
    assert_eq!(speed(&world).await.desired.unwrap().value, "7");
}

#[tokio::test]
async fn h30_an_app_is_not_the_cloud() {
    let (world, mut bus) = pump_and_app().await;
    let twin = json!({"speed": {"expected": {"value": "7"}, "expected_version": {"cloud": 9}}});
    bus.publish("$hw/events/device/demo/pump/twin/cloud_updated", &update("c", &twin)).await;
    bus.publish(UPDATE, &update("after", &json!({}))).await;
    assert_eq!(bus.next("update/result").await["event_id"], "after");
    assert!(speed(&world).await.desired.is_none());
}

#[tokio::test]
async fn h38_the_same_value_again_is_no_change() {
    let (world, mut bus) = pump_and_app().await;
    for id in ["1", "2", "3"] {
        bus.publish(UPDATE, &update(id, &json!({"speed": {"actual": {"value": "5"}}}))).await;
        assert_eq!(bus.next("update/result").await["event_id"], id);
        // The first one follows the device's description.
        assert_eq!(world.device("pump").await.unwrap().rev, 2);
    }
}

#[tokio::test]
async fn h40_a_word_that_is_no_state_is_counted() {
    let (world, mut bus) = pump_and_app().await;
    let state = "$hw/events/device/demo/pump/state/update";
    for payload in
        [r#"{"state":"disconnected"}"#, r#"{"state":"asleep"}"#, "{}", r#"{"state":"ok"}"#]
    {
        bus.publish(state, payload).await;
    }
    assert_eq!(bus.next("state/update/result").await["device"]["state"], "ok");
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in ["{reason=\"bad_state\"} 2\n", "{reason=\"unreadable\"} 1\n"] {
        assert!(text.contains(&format!("edgetwin_bus_refused_total{line}")), "{text}");
    }
}

#[tokio::test]
async fn h41_members_are_told_in_order() {
    let world = World::with(&[("c", ""), ("a", ""), ("b", ""), ("d", "")]).await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    bus.publish("$hw/events/node/other/membership/get", "{}").await;
    let node = format!("node/{}/membership/get/result", world.config.node.name);
    let message = bus.next(&node).await;
    let ids = message["devices"].as_array().unwrap().iter().map(|device| device["id"].clone());
    assert_eq!(ids.collect::<Vec<_>>(), ["demo/a", "demo/b", "demo/c", "demo/d"]);
}

#[tokio::test]
async fn h43_the_type_is_the_models_and_changes_with_it() {
    let (world, mut bus) = pump_and_app().await;
    bus.publish(UPDATE, &update("1", &json!({"speed": {"actual": {"value": "quick"}}}))).await;
    assert_eq!(bus.next("update/result").await["code"], 400);
    let number =
        "{name: speed, type: INT, accessMode: ReadWrite, minimum: '0', maximum: '3000', unit: rpm}";
    let text = "{name: speed, type: STRING, accessMode: ReadWrite}";
    assert!(world::MODEL.contains(number));
    world.write("model.yaml", &world::MODEL.replace(number, text));
    let changed = |device: &edge_agent::api::view::DeviceView| {
        device.property("speed").unwrap().data_type == device_model::DataType::String
    };
    world.until("pump", changed).await;
    bus.publish(UPDATE, &update("2", &json!({"speed": {"actual": {"value": "quick"}}}))).await;
    let result = bus.next("update/result").await;
    assert_eq!(result["twin"]["speed"]["metadata"]["type"], "string", "{result}");
}

/// The documents that a client gets who subscribes to them.
async fn documents(address: SocketAddr) -> (AsyncClient, EventLoop) {
    let options = MqttOptions::new("late", address.ip().to_string(), address.port());
    let (client, events) = AsyncClient::new(options, 8);
    client.subscribe("$hw/events/device/+/+/twin/update/document", QoS::ExactlyOnce).await.unwrap();
    (client, events)
}

/// The speed in the next document, its quality, and whether it was retained.
async fn next_document(events: &mut EventLoop) -> (Value, QoS, bool) {
    loop {
        let event = within("a document", events.poll()).await.unwrap();
        if let Event::Incoming(Packet::Publish(publish)) = event {
            let document: Value = serde_json::from_slice(&publish.payload).unwrap();
            let speed = document["twin"]["speed"]["current"]["actual"]["value"].clone();
            return (speed, publish.qos, publish.retain);
        }
    }
}

#[tokio::test]
async fn h44_quality_and_retain_count_at_either_broker() {
    for (number, quality) in [(0, QoS::AtMostOnce), (1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        let outside = Outside::start().await;
        let mut far = Bus::join(outside.address, "far").await;
        let world = World::start(&[("pump", "")], |config| {
            config.mqtt.mode = MqttMode::Both;
            config.mqtt.external.url = format!("tcp://{}", outside.address);
            (config.mqtt.qos, config.mqtt.retain) = (number, true);
        })
        .await;
        let mut near = Bus::join(world.mqtt(), "near").await;
        let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
        mapper.report("pump", &[("speed", "5", &[])]).await.unwrap();
        near.next("update/document").await;
        far.next("update/document").await;
        let (_one, mut embedded) = documents(world.mqtt()).await;
        let (_other, mut external) = documents(outside.address).await;
        for events in [&mut embedded, &mut external] {
            assert_eq!(next_document(events).await, (json!("5"), quality, true));
        }
        mapper.report("pump", &[("speed", "6", &[])]).await.unwrap();
        for events in [&mut embedded, &mut external] {
            assert_eq!(next_document(events).await, (json!("6"), quality, false));
        }
    }
}

#[tokio::test]
async fn h47_a_refusal_does_not_show_what_was_sent() {
    let (_world, mut bus) = pump_and_app().await;
    for payload in ["secret", r#"{"event_id":"e","twin":"secret"}"#, r#"{"password":"secret"}"#] {
        bus.publish(UPDATE, payload).await;
        let answer = bus.next("update/result").await;
        assert!(!answer["reason"].as_str().unwrap().contains("secret"), "{answer}");
    }
}
