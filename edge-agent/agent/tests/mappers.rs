//! Which mapper has which device, and what it is told of it.

mod world;

use std::time::Duration;

use device_model::DeviceState;
use dmi::proto::MapperRegisterRequest;
use edge_agent::config::Span;
use tonic::Code;
use world::mapper::{FakeMapper, Heard};
use world::{World, device, eventually, within};

#[tokio::test]
async fn a_dead_mapper_leaves_unknown_devices_that_another_one_takes_over() {
    let world = World::with(&[("pump", ""), ("fan", "")]).await;
    let mut first = FakeMapper::ours(&world.addresses.dmi, "first").await;
    assert_eq!(first.devices(), ["fan", "pump"]);
    first.state("pump", "online").await.unwrap();
    let mut second = FakeMapper::ours(&world.addresses.dmi, "second").await;
    assert_eq!(second.devices(), Vec::<String>::new(), "they are the first's as long as it lives");
    let denied = second.report("pump", &[("speed", "1", &[])]).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);

    // The agent must have seen its socket once to miss it.
    eventually("a look at the mapper's socket", async || {
        world.device("pump").await.ok().filter(|device| device.mapper.as_deref() == Some("first"))
    })
    .await;
    let begin = std::time::Instant::now();
    first.kill().await;
    let pump = world.until("pump", |device| device.mapper.as_deref() == Some("second")).await;
    assert_eq!(pump.state, DeviceState::Unknown);
    let gone = Some("its mapper first is gone: its socket does not answer");
    assert_eq!(pump.state_reason.as_deref(), gone);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let mut heard = vec![second.hear().await, second.hear().await, second.hear().await];
    heard.sort_by_key(|heard| format!("{heard:?}"));
    assert_eq!(
        heard,
        [
            Heard::Model("pump".into()),
            Heard::Registered("fan".into(), None),
            Heard::Registered("pump".into(), None),
        ]
    );
    second.report("pump", &[("speed", "1", &[])]).await.unwrap();
}

#[tokio::test]
async fn a_mapper_that_is_merely_slow_keeps_its_devices() {
    let world = World::with(&[("pump", "")]).await;
    let socket = world.addresses.dmi.with_file_name("slow.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let mut client = dmi::connect::manager(&world.addresses.dmi, Duration::from_secs(10));
    let mapper = dmi::proto::MapperInfo {
        name: "slow".into(),
        protocol: "test".into(),
        address: socket.to_str().unwrap().into(),
        ..dmi::proto::MapperInfo::default()
    };
    let request = MapperRegisterRequest { with_data: true, mapper: Some(mapper) };
    client.mapper_register(request).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(within("a look at the socket", listener.accept()).await.unwrap());
    }
    let pump = world.device("pump").await.unwrap();
    assert_eq!(pump.mapper.as_deref(), Some("slow"));
}

#[tokio::test]
async fn a_lease_ends_with_silence_and_its_token_with_it() {
    let world = World::start(&[("pump", "")], |config| {
        config.devices.lease_ttl = Span::millis(300);
    })
    .await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    mapper.state("pump", "online").await.unwrap();
    world.until("pump", |device| device.mapper.is_none()).await;
    let refused = mapper.report("pump", &[("speed", "1", &[])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    mapper.register().await.unwrap();
    assert_eq!(mapper.devices(), ["pump"]);
    mapper.report("pump", &[("speed", "1", &[])]).await.unwrap();
}

#[tokio::test]
async fn an_idle_mapper_renews_with_an_empty_registration() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let request = mapper.request(MapperRegisterRequest { with_data: false, mapper: None });
    let answer = mapper.client.mapper_register(request).await.unwrap().into_inner();
    assert!(answer.device_list.is_empty() && answer.model_list.is_empty());
    mapper.token = Some("forged".into());
    let request = mapper.request(MapperRegisterRequest { with_data: false, mapper: None });
    let refused = mapper.client.mapper_register(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_missed_call_is_made_again() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    // Out of reach for one moment: the socket's name is gone, the mapper lives.
    let hidden = mapper.socket.with_extension("hidden");
    std::fs::rename(&mapper.socket, &hidden).unwrap();
    let (status, _) = world.set("pump", "", r#"{"properties":{"speed":{"value":"5"}}}"#).await;
    assert_eq!(status, 200);
    eventually("a call that fails", async || {
        let (_, text) = world.request(hyper::Method::GET, "/metrics", "").await;
        let text = String::from_utf8(text.to_vec()).unwrap();
        let line = text.lines().find(|line| line.starts_with("edgetwin_mapper_failures_total"))?;
        (!line.ends_with(" 0")).then_some(())
    })
    .await;
    std::fs::rename(&hidden, &mapper.socket).unwrap();
    let heard = mapper.hear().await;
    assert_eq!(heard, Heard::Updated("pump".into(), Some(("5".into(), "1".into()))));
}

/// An agent that does not wait long for an answer of a mapper.
async fn impatient(devices: &[(&str, &str)]) -> World {
    World::start(devices, |config| config.devices.call_timeout = Span::secs(2)).await
}

#[tokio::test]
async fn a_device_that_hangs_in_its_mapper_holds_up_another_for_one_call_at_most() {
    for ours in [true, false] {
        let world = impatient(&[("fan", ""), ("pump", "")]).await;
        let dmi = &world.addresses.dmi;
        let mut mapper = if ours {
            FakeMapper::ours(dmi, "mapper").await
        } else {
            FakeMapper::old(dmi, "mapper").await
        };
        *mapper.hanging.lock().unwrap() = Some("fan".into());
        let body = |speed| format!(r#"{{"properties":{{"speed":{{"value":"{speed}"}}}}}}"#);
        let told = |name: &str, speed: &str| {
            Heard::Updated(name.into(), Some((speed.into(), speed.into())))
        };
        assert_eq!(world.set("fan", "", &body(1)).await.0, 200);
        assert_eq!(mapper.hear().await, told("fan", "1"));
        // Whoever wishes again and again does not make it cost a call each time.
        for speed in 1..4 {
            assert_eq!(world.set("fan", "", &body(speed + 1)).await.0, 200);
            assert_eq!(world.set("pump", "", &body(speed)).await.0, 200);
            assert_eq!(mapper.hear().await, told("pump", &speed.to_string()));
        }
        // Nor is it given up.
        *mapper.hanging.lock().unwrap() = None;
        assert_eq!(mapper.hear().await, told("fan", "4"));
    }
}

#[tokio::test]
async fn a_registration_without_an_answer_may_have_been_heard() {
    let world = impatient(&[]).await;
    let mut mapper = FakeMapper::old(&world.addresses.dmi, "mapper").await;
    *mapper.hanging.lock().unwrap() = Some("pump".into());
    world.write("pump.yaml", &device("pump", "1"));
    assert_eq!(mapper.hear().await, Heard::Model("pump".into()));
    let wish = |speed: &str| Some((speed.to_owned(), speed.to_owned()));
    assert_eq!(mapper.hear().await, Heard::Registered("pump".into(), wish("1")));
    let body = r#"{"properties":{"speed":{"value":"2"}}}"#;
    assert_eq!(world.set("pump", "", body).await.0, 200);
    *mapper.hanging.lock().unwrap() = None;
    // Mappers of KubeEdge do nothing when a device that they know is registered.
    assert_eq!(mapper.hear().await, Heard::Updated("pump".into(), wish("2")));
}

#[tokio::test]
async fn a_mapper_that_changes_its_protocol_leaves_its_devices_to_another() {
    let world = World::with(&[("fan", ""), ("pump", "")]).await;
    let dmi = &world.addresses.dmi;
    let mut one = FakeMapper::ours(dmi, "one").await;
    assert_eq!(one.devices(), ["fan", "pump"]);
    for name in one.devices() {
        one.state(&name, "online").await.unwrap();
    }
    let mut other = FakeMapper::ours(dmi, "other").await;
    assert!(other.devices().is_empty());
    one.protocol = "another".into();
    one.register().await.unwrap();
    assert!(one.devices().is_empty());
    let heard = other.hear_some(3).await;
    let registered = |name: &str| Heard::Registered(name.into(), None);
    assert_eq!(heard, [Heard::Model("pump".into()), registered("fan"), registered("pump")]);
    let pump = world.device("pump").await.unwrap();
    assert_eq!((pump.mapper.as_deref(), pump.state), (Some("other"), DeviceState::Unknown));
}

#[tokio::test]
async fn a_name_belongs_to_the_mapper_that_answers() {
    let world = World::with(&[]).await;
    let mut first = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let info = dmi::proto::MapperInfo {
        name: "mapper".into(),
        protocol: "test".into(),
        address: b"/nowhere.sock".to_vec(),
        ..dmi::proto::MapperInfo::default()
    };
    let twice = MapperRegisterRequest { with_data: true, mapper: Some(info) };
    let refused = first.client.mapper_register(twice).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains("another name"), "{}", refused.message());
}

#[tokio::test]
async fn frames_that_nobody_shows_are_refused_with_the_reason() {
    let world = World::with(&[("pump", "")]).await;
    let frames = async |device: &str| {
        let path = format!("/v1/devices/demo/{device}/frames");
        let (status, body) = world.request(hyper::Method::GET, &path, "").await;
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let (status, body) = frames("nothing").await;
    assert_eq!(status, 404, "{body}");
    let (status, body) = frames("pump").await;
    assert!(status == 409 && body.contains("has no mapper"), "{status} {body}");
    let _old = FakeMapper::old(&world.addresses.dmi, "old").await;
    let (status, body) = frames("pump").await;
    assert!(status == 501 && body.contains("mapper old shows no frames"), "{status} {body}");
}
