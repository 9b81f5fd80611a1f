//! EdgeCore's defects with mappers and devices, each shown not to be ours. `docs/kubeedge-defects.md` lists them all.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::os::unix::fs::PermissionsExt;

use dmi::proto::{MapperRegisterRequest, Twin, TwinProperty};
use hyper::Method;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;
use world::bus::Bus;
use world::mapper::{FakeMapper, Heard};
use world::{PATIENCE, World, eventually};

#[tokio::test]
async fn h06_missing_members_of_a_call_are_answered() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    let bare = Twin { property_name: "speed".into(), observed_desired: None, reported: None };
    let status = mapper.report_twins("pump", vec![bare]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("twins[0].reported"), "{status}");
    let nobody = MapperRegisterRequest { with_data: true, mapper: None };
    let status = mapper.client.mapper_register(nobody).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("mapper: missing"), "{status}");
    mapper.report("pump", &[("speed", "1", &[])]).await.unwrap();
}

#[tokio::test]
async fn h13_what_was_written_locally_is_the_device_and_goes_with_it() {
    let mut world = World::with(&[("pump", "")]).await;
    let (status, _) = world.set("pump", "", r#"{"properties":{"speed":{"value":"9"}}}"#).await;
    assert_eq!(status, 200);
    world.remove("pump.yaml");
    eventually("the pump to be gone", async || world.device("pump").await.err()).await;
    world.restart().await;
    let (_, body) = world.request(Method::GET, "/v1/devices", "").await;
    let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list["devices"], json!([]), "no shadow of it came back");
}

#[tokio::test]
async fn h14_a_mapper_that_moved_is_called_where_it_is_now() {
    let mut world = World::with(&[("pump", "")]).await;
    let dmi = world.addresses.dmi.clone();
    let former = FakeMapper::old_at(&dmi, "mapper", &dmi.with_file_name("former.sock")).await;
    former.kill().await;
    let mut present = FakeMapper::old_at(&dmi, "mapper", &dmi.with_file_name("present.sock")).await;
    world.restart().await;
    let (status, _) = world.set("pump", "", r#"{"properties":{"speed":{"value":"9"}}}"#).await;
    assert_eq!(status, 200);
    loop {
        if let Heard::Registered(_, Some((value, _))) | Heard::Updated(_, Some((value, _))) =
            present.hear().await
            && value == "9"
        {
            break;
        }
    }
}

#[tokio::test]
async fn h15_a_device_that_went_while_its_mapper_was_away_is_not_handed_out() {
    let world = World::with(&[("pump", ""), ("fan", "")]).await;
    let mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    assert_eq!(mapper.devices(), ["fan", "pump"]);
    mapper.kill().await;
    world.remove("pump.yaml");
    eventually("the pump to be gone", async || world.device("pump").await.err()).await;
    let mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    assert_eq!(mapper.devices(), ["fan"]);
}

#[tokio::test]
async fn h16_what_a_mapper_missed_it_is_told_when_it_is_back() {
    let world = World::with(&[("pump", "")]).await;
    let mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    mapper.kill().await;
    let (status, _) = world.set("pump", "", r#"{"properties":{"speed":{"value":"9"}}}"#).await;
    assert_eq!(status, 200);
    let mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    let spec = mapper.answer.device_list[0].spec.clone().unwrap();
    assert_eq!(spec.properties[0].desired.clone().unwrap().value, "9");
}

#[tokio::test]
async fn h17_two_mappers_of_one_protocol_share_its_devices() {
    let world = World::with(&[("a", ""), ("b", "")]).await;
    let mut first = FakeMapper::ours(&world.addresses.dmi, "first").await;
    let second = FakeMapper::ours(&world.addresses.dmi, "second").await;
    // The first one keeps what it has, and still reports.
    assert_eq!(first.devices(), ["a", "b"]);
    assert!(second.devices().is_empty());
    first.report("a", &[("speed", "1", &[])]).await.unwrap();
}

#[tokio::test]
async fn h18_h19_a_mapper_that_hangs_holds_up_nobody_else() {
    let world = World::with(&[("pump", ""), ("fan", "")]).await;
    let hanging = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    *hanging.hanging.lock().unwrap() = Some("pump".into());
    let (status, _) = world.set("pump", "", r#"{"properties":{"speed":{"value":"9"}}}"#).await;
    assert_eq!(status, 200);
    let mut bus = Bus::join(world.mqtt(), "app").await;
    let start = Instant::now();
    for number in 0..200 {
        let twin = json!({"speed": {"actual": {"value": number.to_string()}}});
        let update = json!({"event_id": number.to_string(), "twin": twin}).to_string();
        bus.publish("$hw/events/device/demo/fan/twin/update", &update).await;
        assert_eq!(bus.next("fan/twin/update/result").await["event_id"], number.to_string());
    }
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn h25_type_and_time_of_a_sample_are_kept() {
    let world = World::with(&[("pump", "")]).await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    let words = [("timestamp", "1700000000123"), ("type", "string")];
    mapper.report("pump", &[("speed", "5", &words)]).await.unwrap();
    let speed = bus.next("update/result").await["twin"]["speed"].clone();
    assert_eq!(speed["metadata"]["type"], "int");
    assert_eq!(speed["actual"]["metadata"]["timestamp"], 1_700_000_000_123_i64, "{speed}");
}

#[tokio::test]
async fn h26_a_report_does_not_write_what_is_desired() {
    let world = World::with(&[("pump", "100")]).await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    let side = |value: &str| Some(TwinProperty { value: value.into(), ..TwinProperty::default() });
    for seen in ["50", "100", ""] {
        let twin = Twin {
            property_name: "speed".into(),
            observed_desired: side(seen),
            reported: side("7"),
        };
        mapper.report_twins("pump", vec![twin]).await.unwrap();
    }
    let device = world.device("pump").await.unwrap();
    let desired = device.property("speed").unwrap().desired.clone().unwrap();
    assert_eq!((desired.value.as_str(), desired.version.0), ("100", 1));
}

#[tokio::test]
async fn h29_a_property_is_kept_once() {
    let mut world = World::with(&[("pump", "")]).await;
    for speed in ["1", "2", "3"] {
        let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
        mapper.report("pump", &[("speed", speed, &[])]).await.unwrap();
        mapper.kill().await;
        world.restart().await;
        let device = world.device("pump").await.unwrap();
        let mut found = device.properties.iter().filter(|one| one.name == "speed");
        let reported = found.next().unwrap().reported.clone().unwrap();
        assert_eq!(reported.value.as_deref(), Some(speed));
        assert!(found.next().is_none());
    }
}

#[tokio::test]
async fn h36_a_kind_that_is_not_known_harms_no_device() {
    let world = World::with(&[("pump", "")]).await;
    world.write("odd.yaml", "apiVersion: v1\nkind: Oddity\nmetadata: {name: x}\n");
    world.write("fan.yaml", &world::device("fan", ""));
    world.until("fan", |_| true).await;
    let mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    assert_eq!(mapper.devices(), ["fan", "pump"]);
}

#[tokio::test]
async fn h39_a_report_is_one_change_however_many_properties_it_has() {
    let world = World::with(&[("pump", "")]).await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    let values = [("speed", "1", &[][..]), ("temperature", "2", &[]), ("note", "x", &[])];
    mapper.report("pump", &values).await.unwrap();
    assert_eq!(bus.next("update/result").await["twin"].as_object().unwrap().len(), 3);
    let document = bus.next("update/document").await;
    assert_eq!(document["twin"].as_object().unwrap().len(), 3);
    assert_eq!(world.device("pump").await.unwrap().rev, 2, "one after its description");
}

#[tokio::test]
async fn h46_the_socket_is_open_to_its_group_and_to_nobody_else() {
    let world = World::with(&[]).await;
    let mode = std::fs::metadata(&world.addresses.dmi).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
