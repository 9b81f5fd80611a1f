//! The way of a value and of a wish, over real sockets.

mod world;

use device_model::{DeviceState, Quality};
use edge_agent::api::view::PropertyView;
use world::World;
use world::bus::Bus;
use world::mapper::{FakeMapper, Heard};

fn value(property: &PropertyView) -> Option<&str> {
    property.reported.as_ref()?.value.as_deref()
}

#[tokio::test]
async fn a_report_reaches_the_api_and_the_bus() {
    let world = World::with(&[("pump", "")]).await;
    let mut bus = Bus::join(world.mqtt(), "app").await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    assert_eq!(mapper.devices(), ["pump"]);
    assert_eq!(mapper.answer.model_list.len(), 1);
    mapper.state("pump", "online").await.unwrap();
    let words = [("timestamp", "1700000000000"), ("quality", "good"), ("type", "float")];
    mapper.report("pump", &[("temperature", "21.5", &words)]).await.unwrap();

    let device = world.device("pump").await.unwrap();
    assert_eq!((device.state, device.mapper.as_deref()), (DeviceState::Online, Some("mapper")));
    let temperature = device.property("temperature").unwrap();
    assert_eq!(value(temperature), Some("21.5"));
    let reported = temperature.reported.as_ref().unwrap();
    assert_eq!(reported.quality, Quality::Good);
    assert_eq!(reported.sample_time.as_millis(), 1_700_000_000_000);

    let state = bus.next("demo/pump/state/update/result").await;
    assert_eq!(state["device"]["state"], "online");
    let result = bus.next("demo/pump/twin/update/result").await;
    assert_eq!(result["twin"]["temperature"]["actual"]["value"], "21.5");
    assert_eq!(result["twin"]["temperature"]["metadata"]["type"], "float");
    let document = bus.next("demo/pump/twin/update/document").await;
    assert!(document["twin"]["temperature"]["last"].is_null());
    assert_eq!(document["twin"]["temperature"]["current"]["actual"]["value"], "21.5");
}

#[tokio::test]
async fn a_wish_reaches_the_mapper_and_its_acknowledgement_the_asker() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let body = r#"{"properties":{"speed":{"value":1450}}}"#;
    let asking = world.set("pump", "?wait=10s", body);
    let acting = async {
        let heard = mapper.hear().await;
        assert_eq!(heard, Heard::Updated("pump".into(), Some(("1450".into(), "1".into()))));
        let words = [("ackCode", "209"), ("ackVersion", "1"), ("quality", "good")];
        mapper.report("pump", &[("speed", "1450", &words)]).await.unwrap();
    };
    let ((status, answer), ()) = tokio::join!(asking, acting);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["properties"]["speed"]["ack"]["word"], "verified");
    let device = world.device("pump").await.unwrap();
    let speed = device.property("speed").unwrap();
    assert!(speed.settled && speed.in_sync);
    assert_eq!(speed.desired.as_ref().unwrap().writer, "local:api");
}

#[tokio::test]
async fn a_node_has_a_thousand_devices() {
    const COUNT: usize = 1000;
    let names: Vec<_> = (0..COUNT).map(|number| format!("d{number}")).collect();
    let devices: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let mut world = World::with(&devices).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    assert_eq!(mapper.devices().len(), COUNT);
    for name in &names {
        mapper.report(name, &[("speed", "7", &[])]).await.unwrap();
    }
    world.restart().await;
    let (status, body) = world.request(hyper::Method::GET, "/v1/devices", "").await;
    assert_eq!(status, 200);
    let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let list = list["devices"].as_array().unwrap();
    assert_eq!(list.len(), COUNT);
    let kept = |device: &&serde_json::Value| device["properties"][0]["reported"]["value"] == "7";
    assert_eq!(list.iter().filter(kept).count(), COUNT);
}
