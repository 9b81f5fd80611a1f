//! Folder, restart and end.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::time::{Duration, SystemTime};

use device_model::Timestamp;
use device_twin::store::Run;
use device_twin::{SqliteStore, Store};
use edge_agent::api::view::{DeviceView, Event, EventKind};
use world::mapper::{FakeMapper, Heard};
use world::{World, device, eventually, within};

fn desired(view: &DeviceView) -> Option<(String, u64)> {
    let desired = view.property("speed")?.desired.as_ref()?;
    Some((desired.value.clone(), desired.version.0))
}

#[tokio::test]
async fn folder_and_api_are_equal_writers_and_a_set_survives_a_restart() {
    let mut world = World::with(&[("pump", "100")]).await;
    assert_eq!(desired(&world.device("pump").await.unwrap()), Some(("100".into(), 1)));
    let (status, answer) =
        world.set("pump", "", r#"{"properties":{"speed":{"value":"200"}}}"#).await;
    assert_eq!((status, &answer["properties"]["speed"]["version"]), (200, &2.into()));
    // The same text once more is no new wish, a new text is.
    world.write("pump.yaml", &device("pump", "100").replace("port: 1", "port: 2"));
    world.write("fan.yaml", &device("fan", ""));
    world.until("fan", |_| true).await;
    assert_eq!(desired(&world.device("pump").await.unwrap()), Some(("200".into(), 2)));
    world.restart().await;
    assert_eq!(desired(&world.device("pump").await.unwrap()), Some(("200".into(), 2)));
    world.write("pump.yaml", &device("pump", "300"));
    let pump = world.until("pump", |view| desired(view) == Some(("300".into(), 3))).await;
    assert_eq!(pump.property("speed").unwrap().desired.as_ref().unwrap().writer, "manifest");
}

#[tokio::test]
async fn the_folder_decides_what_there_is() {
    let world = World::with(&[("pump", "1"), ("fan", "1")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    world.write("valve.yaml", &device("valve", "3"));
    assert_eq!(
        mapper.hear().await,
        Heard::Registered("valve".into(), Some(("3".into(), "1".into())))
    );
    world.write("pump.yaml", &device("pump", "2"));
    assert_eq!(mapper.hear().await, Heard::Updated("pump".into(), Some(("2".into(), "2".into()))));
    world.remove("fan.yaml");
    assert_eq!(mapper.hear().await, Heard::Removed("fan".into()));
    assert_eq!(world.device("fan").await.unwrap_err().code, 404);

    world.write("pump.yaml", "kind: [");
    let ready = eventually("the broken file to be told", async || {
        let (_, body) = world.request(hyper::Method::GET, "/readyz", "").await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (body["status"] == "degraded").then_some(body)
    })
    .await;
    assert_eq!(ready["problems"][0]["file"], "pump.yaml");
    assert_eq!(desired(&world.device("pump").await.unwrap()), Some(("2".into(), 2)));
    world.write("pump.yaml", &device("pump", "4"));
    assert_eq!(mapper.hear().await, Heard::Updated("pump".into(), Some(("4".into(), "3".into()))));
}

/// What `/readyz` says is wrong.
async fn problems(world: &World) -> Vec<String> {
    let (_, body) = world.request(hyper::Method::GET, "/readyz", "").await;
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let problems = body["problems"].as_array().cloned().unwrap_or_default();
    problems.iter().map(|problem| problem.to_string()).collect()
}

#[tokio::test]
async fn a_device_that_the_store_does_not_take_stays_a_problem_and_is_tried_again() {
    let mut model = world::MODEL.replace("name: pump", "name: large");
    let mut pump =
        device("pump", "").replace("deviceModelRef: {name: pump}", "deviceModelRef: {name: large}");
    for number in 0..600 {
        model.push_str(&format!("    - {{name: p{number}, type: INT, accessMode: ReadOnly}}\n"));
        pump.push_str(&format!("    - {{name: p{number}}}\n"));
    }
    let world = World::with(&[]).await;
    world.write("large.yaml", &model);
    world.write("pump.yaml", &pump);
    let told = async || {
        let problems = problems(&world).await;
        problems.iter().any(|problem| problem.contains("demo/pump")).then_some(())
    };
    eventually("the device to be refused", told).await;
    world.write("fan.yaml", &device("fan", ""));
    world.until("fan", |_| true).await;
    eventually("the device to be refused still", told).await;
    assert_eq!(world.device("pump").await.unwrap_err().code, 404);
    world.write("pump.yaml", &device("pump", ""));
    world.until("pump", |_| true).await;
    eventually("no problem", async || problems(&world).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_device_whose_file_went_while_the_agent_was_off_is_gone() {
    let mut world = World::with(&[("pump", "1"), ("fan", "1")]).await;
    world.stop().await;
    world.remove("fan.yaml");
    world.write("broken.yaml", "kind: [");
    let mut world = restarted(world).await;
    // The broken file may hold it, so nothing is thrown away yet.
    world.remove("broken.yaml");
    world.write("valve.yaml", &device("valve", ""));
    world.until("valve", |_| true).await;
    world.write("fan.yaml", &device("fan", ""));
    let fan = world.until("fan", |_| true).await;
    assert_eq!(fan.property("speed").unwrap().desired, None, "a new life");
    world.stop().await;
}

async fn restarted(mut world: World) -> World {
    world.restart_stopped().await;
    world
}

#[tokio::test]
async fn it_stops_within_two_seconds_with_everybody_connected() {
    let mut world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let _bus = world::bus::Bus::join(world.mqtt(), "app").await;
    let (stream, mut events) = world.events("?snapshot=true").await;
    let first = events.recv().await.unwrap();
    assert_eq!((first.device.name(), first.state.as_str()), ("pump", "unknown"));
    mapper.report("pump", &[("speed", "77", &[])]).await.unwrap();
    mapper.state("pump", "online").await.unwrap();
    let took = world.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(stream);
    for socket in [&world.addresses.dmi, &world.addresses.api] {
        assert!(!socket.exists(), "{}", socket.display());
    }
    world.restart_stopped().await;
    let pump = world.device("pump").await.unwrap();
    let speed = pump.property("speed").unwrap().reported.as_ref().unwrap();
    assert_eq!(speed.value.as_deref(), Some("77"));
    assert_eq!(pump.state.as_str(), "unknown", "no mapper has said anything since");
}

#[tokio::test]
async fn events_can_be_taken_up_where_they_were_left() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    mapper.state("pump", "online").await.unwrap();
    let (stream, mut events) = world.events("").await;
    mapper.report("pump", &[("speed", "1", &[])]).await.unwrap();
    let first = events.recv().await.unwrap();
    assert_eq!((first.reported.as_deref(), first.state.as_str()), (Some("1"), "online"));
    drop(stream);
    mapper.report("pump", &[("speed", "2", &[])]).await.unwrap();
    mapper.report("pump", &[("speed", "3", &[])]).await.unwrap();
    let (_stream, mut events) = world.events(&format!("?since={}", first.id)).await;
    let next = [events.recv().await.unwrap(), events.recv().await.unwrap()];
    assert_eq!(next.each_ref().map(|event| event.reported.as_deref().unwrap()), ["2", "3"]);
    // Who reconnects asks as before; the header says how far it came.
    let last = [("last-event-id", &*next[0].id.to_string())];
    let (_stream, mut events) = world.events_with(&last, "?since=1").await;
    assert_eq!(events.recv().await.unwrap().id, next[1].id);
    let (_stream, mut events) = world.events("?since=1").await;
    let snapshot = events.recv().await.unwrap();
    assert_eq!(
        snapshot.kind,
        edge_agent::api::view::EventKind::Added,
        "what was missed is made good"
    );
}

/// A run that begins when the clock says so.
fn run_at(time: SystemTime) -> Run {
    Run::first(Timestamp::from(time))
}

#[tokio::test]
async fn numbers_of_events_rise_over_runs_though_the_clock_was_set_back() {
    let mut world = World::with(&[("pump", "")]).await;
    world.stop().await;
    // As if the clock had been a day ahead when an agent ran here.
    let ahead = run_at(SystemTime::now() + Duration::from_secs(24 * 3600));
    let mut store = SqliteStore::open(&world.config.store.dir.join(SqliteStore::FILE)).unwrap();
    store.put_object(&ahead.object()).unwrap();
    drop(store);
    let mut last = ahead.start();
    for run in 1..=3 {
        world.restart_stopped().await;
        let (stream, mut events) = world.events("").await;
        world.write("pump.yaml", &device("pump", &run.to_string()));
        let event = within("an event of this run", events.recv()).await.unwrap();
        assert!(event.id >= last + (1 << 32), "{} after {last}", event.id);
        last = event.id;
        drop(stream);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_second_agent_is_refused_and_a_dead_ones_sockets_are_taken() {
    let world = World::with(&[]).await;
    let error = edge_agent::Agent::bind(world.config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("another"), "{error}");
    drop(world);
}

#[tokio::test]
async fn a_description_that_the_mapper_refuses_is_shown_until_it_is_mended() {
    let mut world = World::with(&[("pump", "1"), ("fan", "1")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    let (_stream, mut events) = world.events("").await;
    let wrong = "spec.protocol.configData.port = \"70000\": out of range";
    *mapper.refusal.lock().unwrap() = Some(wrong.into());
    world.write("pump.yaml", &device("pump", "1").replace("port: 1", "port: 70000"));
    let pump = world.until("pump", |pump| pump.problem.is_some()).await;
    assert_eq!(pump.problem.as_deref(), Some(wrong));
    assert_eq!(world.device("fan").await.unwrap().problem, None);
    let problem = async |events: &mut tokio::sync::mpsc::Receiver<Event>| loop {
        let event = events.recv().await.unwrap();
        if event.kind == EventKind::Problem {
            return (event.device.to_string(), event.reason);
        }
    };
    assert_eq!(problem(&mut events).await, ("demo/pump".into(), Some(wrong.into())));
    let ready = async |world: &World| {
        let (status, body) = world.request(hyper::Method::GET, "/readyz", "").await;
        assert_eq!(status, 200);
        serde_json::from_slice::<serde_json::Value>(&body).unwrap()
    };
    let degraded = ready(&world).await;
    assert_eq!(degraded["status"], "degraded");
    assert_eq!(degraded["problems"][0]["device"], "demo/pump");
    assert_eq!(degraded["problems"][0]["message"], wrong);

    // It outlives the agent, and the mapper is asked again.
    world.restart().await;
    assert_eq!(world.device("pump").await.unwrap().problem.as_deref(), Some(wrong));
    while mapper.heard.try_recv().is_ok() {}
    mapper.register().await.unwrap();
    assert!(matches!(mapper.hear().await, Heard::Registered(name, _) if name == "pump"));

    *mapper.refusal.lock().unwrap() = None;
    let (_stream, mut events) = world.events("").await;
    world.write("pump.yaml", &device("pump", "1"));
    world.until("pump", |pump| pump.problem.is_none()).await;
    assert_eq!(problem(&mut events).await, ("demo/pump".into(), None));
    assert_eq!(ready(&world).await["status"], "ready");
    world.stop().await;
}

#[tokio::test]
async fn what_the_agent_itself_refuses_of_a_device_is_shown_with_it() {
    let world = World::with(&[("pump", "1")]).await;
    world.until("pump", |_| true).await;
    world.write("pump.yaml", &device("pump", "fast"));
    let pump = world.until("pump", |pump| pump.problem.is_some()).await;
    assert!(pump.problem.unwrap().contains("fast"));
    world.write("pump.yaml", &device("pump", "2"));
    world.until("pump", |pump| pump.problem.is_none()).await;
}
