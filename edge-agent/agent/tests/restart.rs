//! Mappers that never notice that the agent restarted.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::sync::atomic::Ordering;

use edge_agent::config::Span;
use hyper::Method;
use world::mapper::{FakeMapper, Heard};
use world::{World, device, eventually};

fn wish(value: &str, version: &str) -> Option<(String, String)> {
    Some((value.into(), version.into()))
}

async fn desire(world: &World, name: &str, speed: &str) {
    let body = format!(r#"{{"properties":{{"speed":{{"value":"{speed}"}}}}}}"#);
    assert_eq!(world.set(name, "", &body).await.0, 200);
}

/// How many mappers are registered.
async fn mappers(world: &World) -> u64 {
    let (_, body) = world.request(Method::GET, "/readyz", "").await;
    serde_json::from_slice::<serde_json::Value>(&body).unwrap()["mappers"].as_u64().unwrap()
}

/// Has the mapper told of a wish, and waits for that.
async fn told(world: &World, mapper: &mut FakeMapper, name: &str, speed: &str) {
    desire(world, name, speed).await;
    let heard = mapper.hear().await;
    assert!(matches!(&heard, Heard::Updated(device, _) if device == name), "{heard:?}");
}

#[tokio::test]
async fn a_mapper_without_a_lease_is_there_after_a_restart_and_told_only_what_changed() {
    let devices = [("pump", ""), ("fan", "5"), ("tank", "6")];
    let mut world = World::with(&devices).await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    assert_eq!(mapper.devices(), ["fan", "pump", "tank"]);
    told(&world, &mut mapper, "tank", "7").await;
    // That is noted when the next one is told; this one may be told again, but goes.
    told(&world, &mut mapper, "fan", "8").await;

    world.stop().await;
    world.write("pump.yaml", &device("pump", "100"));
    world.remove("fan.yaml");
    world.write("valve.yaml", &device("valve", "3"));
    world.restart_stopped().await;
    let heard = mapper.hear_some(4).await;
    let expected = [
        Heard::Model("pump".into()),
        Heard::Registered("valve".into(), wish("3", "1")),
        // RegisterDevice would do nothing.
        Heard::Updated("pump".into(), wish("100", "1")),
        Heard::Removed("fan".into()),
    ];
    assert_eq!(heard, expected);
    mapper.report("pump", &[("speed", "99", &[])]).await.unwrap();
    let pump = world.device("pump").await.unwrap();
    assert_eq!(pump.mapper.as_deref(), Some("mapper"));
    assert_eq!(
        pump.property("speed").unwrap().reported.as_ref().unwrap().value.as_deref(),
        Some("99")
    );

    told(&world, &mut mapper, "valve", "4").await;
    world.stop().await;
    world.remove("valve.yaml");
    world.restart_stopped().await;
    assert_eq!(mapper.hear().await, Heard::Removed("valve".into()));
    desire(&world, "tank", "9").await;
    assert_eq!(mapper.hear().await, Heard::Model("pump".into()));
    let tank = Heard::Updated("tank".into(), wish("9", "3"));
    assert_eq!(mapper.hear().await, tank, "nothing else had changed");
}

#[tokio::test]
async fn a_changed_address_counts_after_a_restart() {
    let mut world = World::with(&[("pump", "")]).await;
    let dmi = world.addresses.dmi.clone();
    let first = FakeMapper::old(&dmi, "mapper").await;
    first.kill().await;
    let mut second = FakeMapper::old_at(&dmi, "mapper", &dmi.with_file_name("other.sock")).await;
    world.restart().await;
    desire(&world, "pump", "1").await;
    assert_eq!(second.hear().await, Heard::Model("pump".into()));
    assert_eq!(second.hear().await, Heard::Updated("pump".into(), wish("1", "1")));
}

#[tokio::test]
async fn a_device_that_the_mapper_forgot_is_registered() {
    let mut world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    world.stop().await;
    world.write("pump.yaml", &device("pump", "100"));
    mapper.forgetful.store(true, Ordering::Relaxed);
    world.restart_stopped().await;
    assert_eq!(mapper.hear().await, Heard::Model("pump".into()));
    assert_eq!(mapper.hear().await, Heard::Unknown("pump".into()));
    assert_eq!(mapper.hear().await, Heard::Registered("pump".into(), wish("100", "1")));
}

#[tokio::test]
async fn a_mapper_that_does_not_answer_holds_no_device_after_a_restart() {
    let mut world = World::with(&[("pump", "")]).await;
    let dmi = world.addresses.dmi.clone();
    let old = FakeMapper::old(&dmi, "old").await;
    let socket = old.socket.clone();
    world.stop().await;
    old.kill().await;
    world.restart_stopped().await;
    assert_eq!(mappers(&world).await, 0);
    assert_eq!(world.device("pump").await.unwrap().mapper, None);
    let other = FakeMapper::ours(&dmi, "other").await;
    assert_eq!(other.devices(), ["pump"], "it is free at once");
    // It had registered, and opens its socket only now.
    let mut late = FakeMapper::mute(&dmi, "old", &socket, false);
    assert_eq!(late.hear().await, Heard::Removed("pump".into()), "it is another's now");
    assert_eq!(mappers(&world).await, 2);
}

#[tokio::test]
async fn a_mapper_that_went_for_good_is_not_looked_for() {
    let mut world = World::with(&[("pump", "")]).await;
    let dmi = world.addresses.dmi.clone();
    let mut old = FakeMapper::old(&dmi, "old").await;
    let socket = old.socket.clone();
    assert_eq!(mappers(&world).await, 1);
    // The agent must have seen its socket once to miss it.
    told(&world, &mut old, "pump", "1").await;
    told(&world, &mut old, "pump", "2").await;
    old.kill().await;
    eventually("the end of the mapper", async || (mappers(&world).await == 0).then_some(())).await;
    // A stranger has its socket now.
    let mut stranger = FakeMapper::mute(&dmi, "old", &socket, false);
    world.restart().await;
    assert_eq!(mappers(&world).await, 0);
    desire(&world, "pump", "3").await;
    let _other = FakeMapper::ours(&dmi, "other").await;
    assert!(stranger.heard.try_recv().is_err());
}

#[tokio::test]
async fn devices_of_a_mapper_that_knows_leases_wait_for_it() {
    let mut world = World::start(&[("pump", "")], |config| {
        config.devices.lease_ttl = Span::millis(1500);
    })
    .await;
    let dmi = world.addresses.dmi.clone();
    let mut old = FakeMapper::old(&dmi, "old").await;
    let mut ours = FakeMapper::ours(&dmi, "ours").await;
    world.write("valve.yaml", &device("valve", ""));
    assert_eq!(ours.hear_some(2).await[1], Heard::Registered("valve".into(), None));
    world.restart().await;
    assert_eq!(world.device("valve").await.unwrap().mapper, None);
    ours.register().await.unwrap();
    assert_eq!(ours.devices(), ["valve"]);
    assert_eq!(world.device("pump").await.unwrap().mapper.as_deref(), Some("old"));

    world.stop().await;
    ours.kill().await;
    world.restart_stopped().await;
    // Not for ever.
    assert_eq!(old.hear().await, Heard::Model("pump".into()));
    assert_eq!(old.hear().await, Heard::Registered("valve".into(), None));
    assert_eq!(world.device("valve").await.unwrap().mapper.as_deref(), Some("old"));
}
