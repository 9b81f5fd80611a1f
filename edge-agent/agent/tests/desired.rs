//! Wishes with conditions: until when, and only if nobody else wrote meanwhile.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use serde_json::{Value as Json, json};
use world::World;

async fn set(world: &World, body: &Json) -> (u16, Json) {
    world.set("pump", "", &body.to_string()).await
}

#[tokio::test]
async fn a_wish_that_is_not_written_in_time_becomes_410_and_a_later_one_counts() {
    let world = World::with(&[("pump", "")]).await;
    let wish = json!({"properties": {"speed": {"value": "1450"}}, "expiresIn": "50ms"});
    assert_eq!(set(&world, &wish).await.0, 200);
    let ack = |pump: &edge_agent::api::view::DeviceView| {
        pump.property("speed").unwrap().ack.as_ref().map(|ack| ack.code.number())
    };
    // No mapper is there to write it.
    let pump = world.until("pump", |pump| ack(pump) == Some(410)).await;
    let speed = pump.property("speed").unwrap();
    let desired = speed.desired.clone().unwrap();
    assert!(desired.expires_at.unwrap() > desired.set_at, "{desired:?}");
    assert!(speed.settled && !speed.in_sync, "{speed:?}");

    let later =
        json!({"properties": {"speed": {"value": 1450}}, "expiresAt": "2999-01-01T00:00:00Z"});
    assert_eq!(set(&world, &later).await.0, 200);
    let speed = world.device("pump").await.unwrap().property("speed").cloned().unwrap();
    let desired = speed.desired.unwrap();
    assert_eq!(desired.expires_at.unwrap().to_string(), "2999-01-01T00:00:00.000Z");
    assert_eq!((desired.version.0, speed.ack), (2, None));
}

#[tokio::test]
async fn an_end_that_is_none_is_refused_with_its_field() {
    let world = World::with(&[("pump", "")]).await;
    for (key, value, field) in [
        ("expiresIn", json!("10"), "expiresIn"),
        ("expiresIn", json!("0s"), "expiresIn"),
        ("expiresIn", json!("9000h"), "expiresIn"),
        ("expiresIn", json!(10), "expiresIn"),
        ("expiresAt", json!("tomorrow"), "expiresAt"),
        ("expiresAt", json!("2001-01-01T00:00:00Z"), "expiresAt"),
    ] {
        let mut wish = json!({"properties": {"speed": {"value": "1"}}});
        wish[key] = value;
        let (status, answer) = set(&world, &wish).await;
        assert_eq!((status, &answer["field"]), (400, &json!(field)), "{answer}");
        assert!(!answer["remedy"].as_str().unwrap().is_empty(), "{answer}");
    }
    let both = json!({"properties": {"speed": {"value": "1"}}, "expiresIn": "1h", "expiresAt": "2999-01-01T00:00:00Z"});
    assert_eq!(set(&world, &both).await.1["remedy"], "send one of them");
    assert_eq!(world.device("pump").await.unwrap().rev, 1);
}

#[tokio::test]
async fn who_lost_a_race_is_told_how_things_stand_and_can_decide_again() {
    let world = World::with(&[("pump", "")]).await;
    let first = json!({"properties": {"speed": {"value": "100"}, "note": {"value": "a"}}});
    assert_eq!(set(&world, &first).await.0, 200);
    assert_eq!(set(&world, &json!({"properties": {"speed": {"value": "200"}}})).await.0, 200);

    let late = json!({"properties": {"speed": {"value": "300"}}, "ifVersion": 1});
    let (status, answer) = set(&world, &late).await;
    assert_eq!((status, &answer["field"]), (409, &json!("ifVersion")), "{answer}");
    let current = json!({"rev": 3, "properties": {"speed": {"value": "200", "version": 2}}});
    assert_eq!(answer["current"], current);

    // Each property has a version of its own, which counts before the common one; 0: nothing is desired.
    let mixed = json!({
        "properties": {"speed": {"value": "300", "ifVersion": 1}, "note": {"value": "b"}},
        "ifVersion": 1,
    });
    let (status, answer) = set(&world, &mixed).await;
    assert_eq!((status, &answer["field"]), (409, &json!("properties.speed.ifVersion")), "{answer}");
    assert_eq!(answer["current"]["properties"]["note"], json!({"value": "a", "version": 1}));
    assert_eq!(world.device("pump").await.unwrap().rev, 3, "nothing of it was taken");

    let version = &answer["current"]["properties"]["speed"]["version"];
    let mut again = mixed.clone();
    again["properties"]["speed"]["ifVersion"] = version.clone();
    let (status, answer) = set(&world, &again).await;
    assert_eq!((status, &answer["rev"]), (200, &json!(4)), "{answer}");

    let large = json!({"properties": {"speed": {"value": "1", "ifVersion": 1_u64 << 53}}});
    let (status, answer) = set(&world, &large).await;
    assert_eq!((status, &answer["field"]), (400, &json!("properties.speed.ifVersion")));
}
