//! A store that takes nothing for a while, under an agent that goes on.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::time::Duration;

use edge_agent::api::view::DeviceView;
use edge_agent::config::StoreKind;
use hyper::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;
use tonic::Code;
use world::bus::Bus;
use world::mapper::FakeMapper;
use world::program::{Program, folder, note, signal};
use world::{World, ask, eventually};

/// Files of the program may grow up to `size` octets; `None`: as they want.
fn limit(program: &Program, size: Option<u64>) {
    let process = Pid::from_raw(i32::try_from(program.process.id().unwrap()).unwrap());
    let most = getrlimit(Resource::Fsize).maximum;
    prlimit(process, Resource::Fsize, Rlimit { current: size, maximum: most }).unwrap();
}

async fn get(program: &Program, path: &str) -> (u16, String) {
    let api = program.dir.path().join("api.sock");
    let (status, body) = ask(&api, &[], Method::GET, path, "").await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn ready(program: &Program) -> Value {
    serde_json::from_str(&get(program, "/readyz").await.1).unwrap()
}

async fn desire(program: &Program, note: &str) -> (u16, Value) {
    let body = format!(r#"{{"properties":{{"note":{{"value":"{note}"}}}}}}"#);
    let api = program.dir.path().join("api.sock");
    let (status, body) = ask(&api, &[], Method::PATCH, "/v1/devices/demo/d0/desired", &body).await;
    (status, serde_json::from_slice(&body).unwrap())
}

fn online() -> dmi::proto::ReportDeviceStatesRequest {
    dmi::proto::ReportDeviceStatesRequest {
        device_name: "d0".into(),
        device_namespace: "demo".into(),
        state: "online".into(),
        ..Default::default()
    }
}

fn desired(device: &DeviceView) -> Option<String> {
    device.property("note")?.desired.as_ref().map(|desired| desired.value.clone())
}

/// Files that may not grow stand for a disk that takes no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_takes_nothing_each_call_says_so_and_it_heals_by_itself() {
    let program = Program::start(folder(), "trap '' XFSZ;").await;
    let mut client = dmi::connect::manager(program.dmi(), Duration::from_secs(10));
    client.report_device_status(note("d1", "before".into())).await.unwrap();
    assert_eq!(ready(&program).await["status"], "ready");

    limit(&program, Some(1024));
    let (status, refused) = desire(&program, "first").await;
    assert_eq!(status, 503, "{refused}");
    let said = refused["message"].as_str().unwrap();
    assert!(said.contains("twins.db") && said.contains("check its disk"), "{said}");
    assert!(refused["remedy"].as_str().unwrap().contains("/readyz"), "{refused}");
    let refused = client.report_device_states(online()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("twins.db"), "{refused}");
    // What was there is served, and the fault stands where one looks.
    let degraded = ready(&program).await;
    assert_eq!(degraded["status"], "degraded");
    let parts = degraded["parts"].as_array().unwrap();
    let store = parts.iter().find(|part| part["name"] == "store").unwrap();
    assert_eq!(store["status"], "degraded");
    assert!(store["reason"].as_str().unwrap().contains("twins.db"), "{store}");
    let (_, metrics) = get(&program, "/metrics").await;
    assert!(metrics.contains("\nedgetwin_store_failing 1\n"), "{metrics}");
    assert!(metrics.contains("\nedgetwin_store_failures_total "), "{metrics}");
    let (_, device) = get(&program, "/v1/devices/demo/d0").await;
    assert_eq!(desired(&serde_json::from_str(&device).unwrap()), None);

    limit(&program, None);
    assert_eq!(desire(&program, "second").await.0, 200);
    client.report_device_states(online()).await.unwrap();
    eventually("a healthy store", async || {
        (ready(&program).await["status"] == "ready").then_some(())
    })
    .await;
    signal(&program.process, "TERM");
    let (status, said, dir) = program.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let lines: Vec<_> = said.lines().filter(|line| line.contains("part=store")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].contains("not well") && lines[1].contains("well again"), "{said}");
    let world = World::over(dir).await;
    assert_eq!(desired(&world.device("d0").await.unwrap()).as_deref(), Some("second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_while_the_store_takes_nothing_serves_what_it_has() {
    let program = Program::start(folder(), "").await;
    assert_eq!(desire(&program, "kept").await.0, 200);
    let mut client = dmi::connect::manager(program.dmi(), Duration::from_secs(10));
    client.report_device_states(online()).await.unwrap();
    signal(&program.process, "TERM");
    let (status, said, dir) = program.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    let program = Program::start(dir, "trap '' XFSZ; ulimit -S -f 1;").await;
    let (status, device) = get(&program, "/v1/devices/demo/d0").await;
    assert_eq!(status, 200, "{device}");
    assert_eq!(desired(&serde_json::from_str(&device).unwrap()).as_deref(), Some("kept"));
    // That nothing was heard of it since could not be kept.
    assert_eq!(ready(&program).await["status"], "degraded");
    limit(&program, None);
    eventually("a healthy store", async || {
        (ready(&program).await["status"] == "ready").then_some(())
    })
    .await;
    eventually("the state that could not be kept", async || {
        let (_, device) = get(&program, "/v1/devices/demo/d0").await;
        let device: DeviceView = serde_json::from_str(&device).unwrap();
        (device.state == device_model::DeviceState::Unknown).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_is_told_that_its_update_was_not_kept() {
    let program = Program::start(folder(), "trap '' XFSZ;").await;
    let mut bus = Bus::join(program.mqtt, "app").await;
    limit(&program, Some(1024));
    let update = r#"{"event_id":"e1","twin":{"note":{"expected":{"value":"x"}}}}"#;
    bus.publish("$hw/events/device/demo/d0/twin/update", update).await;
    let result = bus.next("d0/twin/update/result").await;
    assert_eq!((&result["event_id"], &result["code"]), (&"e1".into(), &503.into()), "{result}");
    assert!(result["reason"].as_str().unwrap().contains("twins.db"), "{result}");
}

#[tokio::test]
async fn twins_in_memory_end_with_the_agent() {
    let mut world =
        World::start(&[("pump", "")], |config| config.store.kind = StoreKind::Memory).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    mapper.report("pump", &[("speed", "7", &[])]).await.unwrap();
    let speed = |device: DeviceView| device.property("speed").unwrap().reported.clone();
    assert!(speed(world.device("pump").await.unwrap()).is_some());
    assert!(!world.config.store.dir.exists(), "nothing is written");
    world.restart().await;
    assert!(speed(world.device("pump").await.unwrap()).is_none());
}
