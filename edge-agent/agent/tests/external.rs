//! The event bus over a broker outside: away, late, frozen, cut, and beside the embedded one.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::net::SocketAddr;

use edge_agent::AgentConfig;
use edge_agent::config::{MqttMode, Span};
use hyper::Method;
use procfs::net::TcpState;
use serde_json::{Value, json};
use world::bus::Bus;
use world::mapper::FakeMapper;
use world::outside::{Gate, Outside, Pace};
use world::{World, eventually};

const UPDATE: &str = "$hw/events/device/demo/pump/twin/update";

fn outside(address: SocketAddr) -> impl FnOnce(&mut AgentConfig) {
    move |config| {
        config.node.name = "node".into();
        config.mqtt.mode = MqttMode::External;
        config.mqtt.external.url = format!("tcp://{address}");
        config.mqtt.external.keep_alive = Span::secs(1);
    }
}

/// How the part `mqtt` is.
async fn part(world: &World) -> Option<Value> {
    let (_, body) = world.request(Method::GET, "/readyz", "").await;
    let ready: Value = serde_json::from_slice(&body).unwrap();
    ready["parts"].as_array().unwrap().iter().find(|part| part["name"] == "mqtt").cloned()
}

async fn until_part(world: &World, status: &str) -> Value {
    let part = async || part(world).await.filter(|part| part["status"] == status);
    eventually(&format!("mqtt to be {status}"), part).await
}

/// Age of the oldest value that the broker has not taken, in seconds.
async fn owed(world: &World) -> f64 {
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let series = "edgetwin_oldest_unreported_seconds{to=\"external_broker\"} ";
    let age = text.lines().find_map(|line| line.strip_prefix(series)).unwrap();
    age.parse().unwrap()
}

async fn report(mapper: &mut FakeMapper, speed: i32) {
    mapper.report("pump", &[("speed", &speed.to_string(), &[])]).await.unwrap();
}

#[tokio::test]
async fn an_app_on_an_external_broker_is_served() {
    let broker = Outside::start().await;
    let mut app = Bus::join(broker.address, "app").await;
    let world = World::start(&[("pump", "")], outside(broker.address)).await;
    until_part(&world, "ok").await;
    assert_eq!(world.addresses.mqtt, None, "nothing listens here");
    app.publish(UPDATE, r#"{"event_id":"e","twin":{"speed":{"expected":{"value":"7"}}}}"#).await;
    let mut topics = Vec::new();
    while topics.len() < 3 {
        let (topic, message) = app.next_answer().await;
        assert!(message["code"].is_null(), "{message}");
        topics.push(topic);
    }
    let expected = ["result", "document", "delta"];
    assert_eq!(topics, expected.map(|leaf| format!("{UPDATE}/{leaf}")));
    let device = world.device("pump").await.unwrap();
    assert_eq!(device.property("speed").unwrap().desired.as_ref().unwrap().value, "7");
    app.publish("$hw/events/node/any/membership/get", r#"{"event_id":"m"}"#).await;
    assert_eq!(app.next("node/node/membership/get/result").await["event_id"], "m");
}

#[tokio::test]
async fn a_broker_that_comes_late_delays_nothing_and_gets_the_newest_values() {
    let alone = Pace::alone().await;
    let address = Outside::nowhere().await;
    let world = World::start(&[("pump", "")], |config| {
        outside(address)(config);
        config.mqtt.retain = true;
    })
    .await;
    let part = until_part(&world, "degraded").await;
    let reason = part["reason"].as_str().unwrap();
    assert!(reason.contains(&address.to_string()), "{part}");
    assert!(part["remedy"].as_str().unwrap().contains("mqtt.external.url"), "{part}");
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let mut pace = Pace::default();
    for speed in 1..=100 {
        pace.note(report(&mut mapper, speed)).await;
    }
    pace.keeps_up_with(&alone);
    let _broker = Outside::start_at(address).await;
    until_part(&world, "ok").await;
    let mut app = Bus::join(address, "app").await;
    let document = app.next("twin/update/document").await;
    assert_eq!(document["twin"]["speed"]["current"]["actual"]["value"], "100");
    assert_eq!(document["twin"]["speed"]["last"], Value::Null);
}

#[tokio::test]
async fn what_apps_sent_while_the_agent_was_away_is_done_when_it_is_back() {
    let broker = Outside::start().await;
    let mut world = World::start(&[("pump", "")], outside(broker.address)).await;
    until_part(&world, "ok").await;
    world.stop().await;
    let mut app = Bus::join(broker.address, "app").await;
    for number in 1..=20 {
        let twin = json!({"speed": {"expected": {"value": number.to_string()}}});
        app.publish(UPDATE, &json!({"event_id": number.to_string(), "twin": twin}).to_string())
            .await;
    }
    for number in 1..=20 {
        assert_eq!(app.next("twin/update").await["event_id"], number.to_string());
    }
    world.restart_stopped().await;
    for number in 1..=20 {
        let result = app.next("update/result").await;
        assert_eq!(result["event_id"], number.to_string(), "in their order, each once");
    }
    let device = world.device("pump").await.unwrap();
    assert_eq!(device.property("speed").unwrap().desired.as_ref().unwrap().value, "20");
}

#[tokio::test]
async fn a_frozen_broker_delays_no_twin_and_gets_the_newest_values_afterwards() {
    let alone = Pace::alone().await;
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let mut app = Bus::join(broker.address, "app").await;
    let world = World::start(&[("pump", "")], outside(gate.address)).await;
    until_part(&world, "ok").await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    report(&mut mapper, 1).await;
    app.next("update/document").await;
    gate.freeze();
    let mut pace = Pace::default();
    for speed in 0..2000 {
        pace.note(report(&mut mapper, speed)).await;
    }
    pace.keeps_up_with(&alone);
    assert_eq!(
        world
            .device("pump")
            .await
            .unwrap()
            .property("speed")
            .unwrap()
            .reported
            .as_ref()
            .unwrap()
            .value
            .as_deref(),
        Some("1999")
    );
    until_part(&world, "degraded").await;
    assert!(owed(&world).await > 0.0, "it has not taken what is committed");
    gate.open();
    until_part(&world, "ok").await;
    let newest =
        |document: &Value| document["twin"]["speed"]["current"]["actual"]["value"] == "1999";
    while !newest(&app.next("update/document").await) {}
    let taken = async || Some(owed(&world).await).filter(|age| *age == 0.0);
    eventually("the broker's last acknowledgement", taken).await;
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("edgetwin_bus_reconnects_total"), "{text}");
}

#[tokio::test]
async fn what_a_cut_took_away_is_told_again_and_what_came_and_went_too() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let mut app = Bus::join(broker.address, "app").await;
    let world = World::start(&[("pump", ""), ("fan", "")], outside(gate.address)).await;
    until_part(&world, "ok").await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    // On its way when the connection ends: written, and taken by nobody.
    gate.freeze();
    report(&mut mapper, 5).await;
    world.remove("fan.yaml");
    eventually("the fan to be gone", async || world.device("fan").await.err()).await;
    gate.cut();
    until_part(&world, "degraded").await;
    world.write("new.yaml", &world::device("new", ""));
    world.until("new", |_| true).await;
    gate.open();
    let mut heard = [false; 3];
    while heard != [true; 3] {
        let (topic, message) = app.next_answer().await;
        let value = &message["twin"]["speed"]["current"]["actual"]["value"];
        heard[0] |= topic.ends_with("document") && value == "5";
        heard[1] |= message["removed_devices"][0]["id"] == "demo/fan";
        heard[2] |= message["added_devices"][0]["id"] == "demo/new";
    }
    // Requests are heard again.
    app.publish(UPDATE, r#"{"event_id":"back","twin":{}}"#).await;
    while app.next("update/result").await["event_id"] != "back" {}
}

#[tokio::test]
async fn h32_after_any_outage_one_connection_is_open_and_no_other() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[("pump", "")], outside(gate.address)).await;
    until_part(&world, "ok").await;
    for frozen in [false, false, true, true] {
        if frozen {
            gate.freeze()
        } else {
            gate.cut()
        }
        until_part(&world, "degraded").await;
        gate.open();
        until_part(&world, "ok").await;
    }
    // The kernel keeps what was closed for a while; what was not closed is in one of these.
    let open = [TcpState::Established, TcpState::CloseWait, TcpState::SynSent];
    let one = async || {
        let all = procfs::net::tcp().unwrap().into_iter();
        let ours =
            all.filter(|one| one.remote_address == gate.address && open.contains(&one.state));
        (ours.count() == 1).then_some(())
    };
    eventually("one connection alone", one).await;
}

#[tokio::test]
async fn in_mode_both_each_app_gets_each_answer_once() {
    let broker = Outside::start().await;
    let mut far = Bus::join(broker.address, "far").await;
    let world = World::start(&[("pump", "")], |config| {
        outside(broker.address)(config);
        config.mqtt.mode = MqttMode::Both;
        config.mqtt.qos = 2;
    })
    .await;
    until_part(&world, "ok").await;
    let mut near = Bus::join(world.mqtt(), "near").await;
    far.publish(UPDATE, r#"{"event_id":"far","twin":{"speed":{"actual":{"value":"1"}}}}"#).await;
    near.publish(UPDATE, r#"{"event_id":"near","twin":{"note":{"actual":{"value":"x"}}}}"#).await;
    near.publish(UPDATE, r#"{"event_id":"end","twin":{}}"#).await;
    for app in [&mut near, &mut far] {
        let mut heard = Vec::new();
        while !heard.contains(&"end result".to_owned()) || heard.len() < 5 {
            let (topic, message) = app.next_answer().await;
            let leaf = topic.rsplit('/').next().unwrap();
            heard.push(format!("{} {leaf}", message["event_id"].as_str().unwrap()));
        }
        heard.sort();
        let expected = ["end result", "far document", "far result", "near document", "near result"];
        assert_eq!(heard, expected);
    }
}

#[tokio::test]
async fn a_request_that_a_broker_kept_is_not_done_at_each_connection() {
    let broker = Outside::start().await;
    let mut app = Bus::join(broker.address, "app").await;
    let old = r#"{"event_id":"old","twin":{"speed":{"expected":{"value":"1"}}}}"#;
    app.publish_retained(UPDATE, old).await;
    app.next("twin/update").await;
    let world = World::start(&[("pump", "")], outside(broker.address)).await;
    until_part(&world, "ok").await;
    app.publish(UPDATE, r#"{"event_id":"new","twin":{}}"#).await;
    assert_eq!(app.next("update/result").await["event_id"], "new");
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("edgetwin_bus_refused_total{reason=\"retained\"} 1\n"), "{text}");
}
