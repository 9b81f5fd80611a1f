//! The event bus, as an app sees it: the golden vectors, and the rows where we differ on purpose.

mod world;

use serde_json::{Value, json};
use world::World;
use world::bus::Bus;
use world::mapper::FakeMapper;

const UPDATE: &str = "$hw/events/device/demo/pump/twin/update";

async fn pump_and_app() -> (World, Bus) {
    let world = World::with(&[("pump", "")]).await;
    let bus = Bus::join(world.mqtt(), "app").await;
    (world, bus)
}

/// What of `message` does not depend on the clock or on us.
fn bare(mut message: Value) -> Value {
    fn strip(value: &mut Value) {
        if let Value::Object(object) = value {
            for key in [
                "timestamp",
                "quality",
                "qualityCode",
                "receivedTimestamp",
                "version",
                "rev",
                "uid",
            ] {
                object.remove(key);
            }
            object.retain(|key, value| key != "metadata" || *value != json!({}));
            object.values_mut().for_each(strip);
            object.retain(|key, value| key != "metadata" || *value != json!({}));
        }
    }
    strip(&mut message);
    message
}

#[tokio::test]
async fn an_app_reports_a_value() {
    let (_world, mut bus) = pump_and_app().await;
    // Vector 1.
    let payload = r#"{"event_id":"e1","timestamp":1,"twin":{"speed":{"actual":{"value":"21","metadata":{"timestamp":5}},"metadata":{"type":"int"}}}}"#;
    bus.publish(UPDATE, payload).await;
    let result = bus.next("update/result").await;
    assert!(result["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
    let twin = json!({"actual": {"value": "21"}, "optional": true, "metadata": {"type": "int"}});
    assert_eq!(bare(result), json!({"event_id": "e1", "twin": {"speed": twin}}));
    let document = bus.next("update/document").await;
    let both = json!({"last": null, "current": twin});
    assert_eq!(bare(document), json!({"event_id": "e1", "twin": {"speed": both}}));
    // Vector 2: the same again is answered, and is no new version.
    bus.publish(UPDATE, &payload.replace("e1", "e2")).await;
    let again = bus.next("update/result").await;
    assert_eq!(again["event_id"], "e2");
    assert_eq!(again["twin"]["speed"]["actual"]["value"], "21");
    let document = bus.next("update/document").await;
    assert_eq!(document["event_id"], "e2");
    assert_eq!(document["twin"]["speed"]["last"]["actual"]["value"], "21");
    // Vector 33: keys in any case.
    bus.publish(UPDATE, r#"{"EVENT_ID":"i","Twin":{"speed":{"Actual":{"VALUE":"22"}}}}"#).await;
    let result = bus.next("update/result").await;
    assert_eq!(
        (&result["event_id"], &result["twin"]["speed"]["actual"]["value"]),
        (&json!("i"), &json!("22"))
    );
}

#[tokio::test]
async fn an_app_desires_a_value() {
    let (world, mut bus) = pump_and_app().await;
    // Vectors 3 and 4.
    bus.publish(UPDATE, r#"{"event_id":"e3","twin":{"speed":{"expected":{"value":"25"}}}}"#).await;
    let result = bus.next("update/result").await;
    assert_eq!(bare(result)["twin"]["speed"]["expected"], json!({"value": "25"}));
    assert_eq!(
        bus.next("update/document").await["twin"]["speed"]["current"]["expected"]["value"],
        "25"
    );
    let delta = bus.next("update/delta").await;
    assert_eq!(delta["delta"], json!({"speed": "25"}));
    assert_eq!(delta["event_id"].as_str().unwrap().len(), 36);
    let device = world.device("pump").await.unwrap();
    assert_eq!(device.property("speed").unwrap().desired.as_ref().unwrap().writer, "local:mqtt");

    // Vector 34: repeated with every accepted update until it is reached.
    bus.publish(UPDATE, r#"{"event_id":"e4","twin":{"note":{"actual":{"value":"x"}}}}"#).await;
    assert_eq!(bus.next("update/delta").await["delta"], json!({"speed": "25"}));
    bus.publish(UPDATE, r#"{"event_id":"e5","twin":{"speed":{"actual":{"value":"25"}}}}"#).await;
    assert_eq!(bus.next("update/result").await["event_id"], "e5");
    assert_eq!(bus.next("update/document").await["event_id"], "e5");
    bus.publish("$hw/events/device/demo/pump/twin/get", r#"{"event_id":"g"}"#).await;
    let mut topics = Vec::new();
    let got = loop {
        let (topic, message) = bus.next_any().await;
        if topic.ends_with("get/result") {
            break message;
        }
        topics.push(topic);
    };
    assert!(!topics.iter().any(|topic| topic.ends_with("delta")), "{topics:?}");
    assert_eq!(got["event_id"], "g");
    assert_eq!(got["twin"]["speed"]["expected"]["value"], "25");
    assert_eq!(got["twin"]["speed"]["actual"]["value"], "25");

    // An echo beside a report is no wish; null withdraws one.
    let echo = r#"{"twin":{"speed":{"expected":{"value":"25"},"actual":{"value":"24"}}}}"#;
    bus.publish(UPDATE, echo).await;
    bus.next("update/result").await;
    let device = world.device("pump").await.unwrap();
    assert_eq!(device.property("speed").unwrap().desired.as_ref().unwrap().version.0, 1);
    bus.publish(UPDATE, r#"{"event_id":"e9","twin":{"speed":null}}"#).await;
    let result = bus.next("update/result").await;
    assert_eq!((&result["event_id"], &result["twin"]), (&json!("e9"), &json!({"speed": null})));
    assert!(world.device("pump").await.unwrap().property("speed").unwrap().desired.is_none());
}

/// The next two messages are document and delta of a wish for the speed.
async fn wish_is_told(bus: &mut Bus, last: Value, current: &str) {
    let (topic, document) = bus.next_answer().await;
    assert!(topic.ends_with("demo/pump/twin/update/document"), "{topic}");
    let speed = &document["twin"]["speed"];
    assert_eq!(speed["last"]["expected"]["value"], last, "{document}");
    assert_eq!(speed["current"]["expected"]["value"], current, "{document}");
    let (topic, delta) = bus.next_answer().await;
    assert!(topic.ends_with("demo/pump/twin/update/delta"), "{topic}");
    assert_eq!(delta["delta"], json!({"speed": current}));
    assert_eq!(delta["twin"]["speed"]["expected"]["value"], current, "{delta}");
}

#[tokio::test]
async fn a_wish_of_the_api_or_of_a_manifest_is_told_unasked() {
    let (world, mut bus) = pump_and_app().await;
    let (status, _) = world.set("pump", "", r#"{"properties":{"speed":{"value":"25"}}}"#).await;
    assert_eq!(status, 200);
    wish_is_told(&mut bus, Value::Null, "25").await;
    world.write("pump.yaml", &world::device("pump", "30"));
    wish_is_told(&mut bus, json!("25"), "30").await;
    bus.publish("$hw/events/device/demo/pump/twin/get", r#"{"event_id":"g"}"#).await;
    let (topic, twin) = bus.next_answer().await;
    assert!(topic.ends_with("twin/get/result"), "nothing else was told: {topic}");
    assert_eq!(twin["twin"]["speed"]["expected"]["value"], "30");
}

#[tokio::test]
async fn what_is_wrong_is_answered_where_it_was_asked() {
    let (world, mut bus) = pump_and_app().await;
    for (payload, id, code) in [
        (r#"{"event_id":"e5","twin":{"speed":{"actual":{"value":"hot"}}}}"#, "e5", 400),
        (r#"{"event_id":"e6","twin":{"colour":{"actual":{"value":"red"}}}}"#, "e6", 404),
        (r#"{"event_id":"e7","twin":{"speed":{"actual":{"value":21}}}}"#, "e7", 400),
        (r#"{"event_id":"e8","timestamp":"1","twin":{}}"#, "e8", 400),
        (r#"{"event_id":"e13"}"#, "e13", 400),
        ("not json", "", 400),
        (r#"{"event_id":"e14","twin":{"speed":{"expected":{"value":"99999"}}}}"#, "e14", 400),
        (
            r#"{"event_id":"e15","twin":{"note":{"actual":{"value":"x"}},"speed":{"actual":{"value":"hot"}}}}"#,
            "e15",
            400,
        ),
    ] {
        bus.publish(UPDATE, payload).await;
        let answer = bus.next("update/result").await;
        assert_eq!((&answer["event_id"], &answer["code"]), (&json!(id), &json!(code)), "{answer}");
        assert!(answer["reason"].is_string());
    }
    bus.publish("$hw/events/device/demo/lost/twin/update", r#"{"event_id":"e16","twin":{}}"#).await;
    let answer = bus.next("demo/lost/twin/update/result").await;
    assert_eq!((&answer["event_id"], &answer["code"]), (&json!("e16"), &json!(404)));
    bus.publish("$hw/events/device/demo/lost/twin/get", r#"{"event_id":"e17"}"#).await;
    assert_eq!(bus.next("demo/lost/twin/get/result").await["code"], 404);
    assert_eq!(world.device("pump").await.unwrap().rev, 1, "nothing was applied in part");
}

#[tokio::test]
async fn an_update_is_taken_whole_or_refused_whole() {
    let (world, mut bus) = pump_and_app().await;
    let long = "x".repeat(64 * 1024 + 1);
    for (twin, code, names) in [
        (json!({"note": {"actual": {"value": long}}}), 413, "note"),
        (
            json!({"speed": {"actual": {"value": "5"}}, "note": {"expected": {"value": long}}}),
            413,
            "note",
        ),
        (
            json!({"speed": {"actual": {"value": "5"}}, "note": {"actual": {"value": long}}}),
            413,
            "note",
        ),
        (
            json!({"speed": {"actual": {"value": "5"}}, "temperature": {"expected": {"value": "2"}}}),
            403,
            "temperature is ReadOnly",
        ),
        (json!({"speed": {"expected": {"value": "3001"}}}), 400, "speed: 3001 is outside of 0 to"),
        (json!({"colour": {}}), 404, "colour"),
    ] {
        bus.publish(UPDATE, &json!({"event_id": "e", "twin": twin}).to_string()).await;
        let (topic, answer) = bus.next_answer().await;
        assert!(topic.ends_with("update/result"), "{topic}");
        assert_eq!(answer["code"], code, "{answer:.200}");
        assert!(answer["reason"].as_str().unwrap().contains(names), "{answer}");
        assert!(answer.get("twin").is_none(), "{answer:.200}");
    }
    let device = world.device("pump").await.unwrap();
    assert_eq!(device.rev, 1, "nothing was applied in part");
    assert!(device.properties.iter().all(|one| one.reported.is_none() && one.desired.is_none()));
}

#[tokio::test]
async fn what_is_refused_of_a_report_is_not_told_as_taken() {
    let (world, mut bus) = pump_and_app().await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let long = "x".repeat(64 * 1024 + 1);
    mapper.report("pump", &[("speed", "5", &[]), ("note", &long, &[])]).await.unwrap_err();
    let result = bus.next("update/result").await;
    assert_eq!(result["twin"]["speed"]["actual"]["value"], "5");
    assert!(result["twin"].get("note").is_none());
    let document = bus.next("update/document").await;
    assert_eq!(document["twin"].as_object().unwrap().len(), 1);
    mapper.report("pump", &[("note", &long, &[])]).await.unwrap_err();
    assert_eq!(bus.next("update/result").await["code"], 413);
}

#[tokio::test]
async fn only_the_cloud_may_speak_for_the_cloud() {
    let (world, mut bus) = pump_and_app().await;
    let cloud = r#"{"event_id":"c","twin":{"speed":{"expected":{"value":"7"},"metadata":{"type":"int"},"expected_version":{"cloud":7,"edge":0}}}}"#;
    bus.publish("$hw/events/device/demo/pump/twin/cloud_updated", cloud).await;
    bus.publish(UPDATE, r#"{"event_id":"after","twin":{}}"#).await;
    assert_eq!(bus.next("update/result").await["event_id"], "after");
    assert!(world.device("pump").await.unwrap().property("speed").unwrap().desired.is_none());
    let (_, text) = world.request(hyper::Method::GET, "/metrics", "").await;
    assert!(
        String::from_utf8(text.to_vec())
            .unwrap()
            .contains("edgetwin_bus_refused_total{reason=\"spoofed\"} 1\n")
    );
}

#[tokio::test]
async fn state_and_membership_are_told() {
    let (world, mut bus) = pump_and_app().await;
    let state = "$hw/events/device/demo/pump/state/update";
    bus.publish(state, r#"{"event_id":"s","State":"Online"}"#).await;
    let told = bus.next("state/update/result").await;
    assert_eq!(
        (&told["device"]["name"], &told["device"]["state"]),
        (&json!("pump"), &json!("Online"))
    );
    assert!(told["device"]["lastOnlineTime"].as_str().unwrap().ends_with('Z'));
    bus.publish(state, r#"{"state":"DISCONNECTED"}"#).await;
    bus.publish(state, r#"{"state":"offline"}"#).await;
    let told = bus.next("state/update/result").await;
    assert_eq!(told["device"]["state"], "offline", "the other word is answered with nothing");
    assert!(told["device"].get("lastOnlineTime").is_none());

    bus.publish("$hw/events/node/other/membership/get", r#"{"event_id":"m"}"#).await;
    let node = format!("{}/membership/get/result", world.config.node.name);
    let told = bus.next(&node).await;
    assert_eq!(told["event_id"], "m");
    assert_eq!(told["devices"][0]["id"], "demo/pump");
    world.write("fan.yaml", &world::device("fan", ""));
    let told = bus.next("membership/updated").await;
    assert_eq!(told["added_devices"][0]["id"], "demo/fan");
    world.remove("fan.yaml");
    let told = bus.next("membership/updated").await;
    assert_eq!(told["removed_devices"], json!([{"id": "demo/fan"}]));
    assert!(told["added_devices"].is_null());
}

#[tokio::test]
async fn five_hundred_updates_arrive_in_their_order() {
    let (world, mut bus) = pump_and_app().await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    for number in 0..500 {
        mapper.report("pump", &[("speed", &number.to_string(), &[])]).await.unwrap();
    }
    let mut last = [-1, -1];
    while last != [499, 499] {
        let (topic, message) = bus.next_any().await;
        let (place, value) = match topic.rsplit('/').next().unwrap() {
            "result" => (0, &message["twin"]["speed"]["actual"]["value"]),
            "document" => (1, &message["twin"]["speed"]["current"]["actual"]["value"]),
            _ => continue,
        };
        let number: i64 = value.as_str().unwrap().parse().unwrap();
        assert_eq!(number, last[place] + 1, "{topic}");
        last[place] = number;
    }
}
