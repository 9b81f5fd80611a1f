//! The end of an agent that is busy, and of one that cannot go on.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dmi::proto::{
    DeviceManagerServiceClient, DeviceStatus, ReportDeviceStatusRequest, Twin, TwinProperty,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use world::bus::Bus;
use world::mapper::FakeMapper;
use world::{World, eventually, within};

fn note(device: &str, text: String) -> ReportDeviceStatusRequest {
    let twin = Twin {
        property_name: "note".into(),
        observed_desired: None,
        reported: Some(TwinProperty { value: text, ..TwinProperty::default() }),
    };
    ReportDeviceStatusRequest {
        device_name: device.into(),
        device_namespace: "demo".into(),
        reported_device: Some(DeviceStatus { twins: vec![twin], ..DeviceStatus::default() }),
        ..ReportDeviceStatusRequest::default()
    }
}

/// Reports that never end: each device its own numbers, one after the other.
struct Load {
    tasks: JoinSet<()>,
    /// The last number that was acknowledged, by device.
    acknowledged: Vec<Arc<AtomicU64>>,
}

impl Load {
    fn start(client: &DeviceManagerServiceClient<Channel>, devices: &[&str]) -> Self {
        let (mut tasks, mut acknowledged) = (JoinSet::new(), Vec::new());
        for device in devices {
            let (device, mut client) = ((*device).to_owned(), client.clone());
            let last = Arc::new(AtomicU64::new(0));
            acknowledged.push(last.clone());
            tasks.spawn(async move {
                let mut number = 1;
                loop {
                    match client.report_device_status(note(&device, number.to_string())).await {
                        Ok(_) => {
                            last.store(number, Ordering::Relaxed);
                            number += 1;
                        }
                        Err(status) if status.code() == Code::ResourceExhausted => {}
                        Err(_) => return,
                    }
                }
            });
        }
        Self { tasks, acknowledged }
    }

    /// Waits until each device has had `count` reports acknowledged.
    async fn flows(&self, count: u64) {
        eventually("the reports", async || {
            let enough = |last: &Arc<AtomicU64>| last.load(Ordering::Relaxed) >= count;
            self.acknowledged.iter().all(enough).then_some(())
        })
        .await;
    }

    /// Waits until nobody reports any longer; what was acknowledged.
    async fn end(mut self) -> Vec<u64> {
        within("the end of the load", async { while self.tasks.join_next().await.is_some() {} })
            .await;
        self.acknowledged.iter().map(|last| last.load(Ordering::Relaxed)).collect()
    }
}

const DEVICES: [&str; 8] = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"];

async fn kept(world: &World, acknowledged: &[u64]) {
    for (name, acknowledged) in DEVICES.iter().zip(acknowledged) {
        let device = world.device(name).await.unwrap();
        let reported = device.property("note").unwrap().reported.clone().unwrap();
        let number: u64 = reported.value.unwrap().parse().unwrap();
        // The last report may be in the store though its answer did not get through.
        let kept = number == *acknowledged || number == acknowledged + 1;
        assert!(kept, "{name} has {number}, {acknowledged} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_full_load_it_stops_in_two_seconds_and_keeps_what_it_acknowledged() {
    let mut world = World::with(&DEVICES.map(|name| (name, ""))).await;
    let mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    // Two that read and two that never do.
    let mut reader = Bus::join(world.mqtt(), "reader").await;
    let _sleeper = Bus::join(world.mqtt(), "sleeper").await;
    let (_watching, mut events) = world.events("").await;
    let _dozing = world.events("?snapshot=true").await;
    let mut readers = JoinSet::new();
    readers.spawn(async move { while events.recv().await.is_some() {} });
    let load = Load::start(&mapper.client, &DEVICES);
    reader.next("d0/twin/update/result").await;
    load.flows(200).await;

    let took = world.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let acknowledged = load.end().await;
    world.restart_stopped().await;
    kept(&world, &acknowledged).await;
}

/// The program itself, with a folder of its own.
struct Program {
    dir: TempDir,
    process: Child,
}

impl Program {
    /// Starts it over the pumps; `wrapper` is a shell's words before it.
    async fn start(dir: TempDir, wrapper: &str) -> Self {
        let place = dir.path().display();
        let config = format!(
            "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nstore: {{dir: {place}/store}}\n\
             manifests: {{dir: {place}/manifests}}\ndevices: {{dmiSocket: {place}/dmi.sock}}\n\
             api: {{socket: {place}/api.sock}}\nmqtt: {{mode: embedded, listen: '127.0.0.1:0'}}\n"
        );
        std::fs::write(dir.path().join("agent.yaml"), config).unwrap();
        let script = format!("{wrapper} exec \"$0\" --config \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_edge-agent")]);
        command.arg(dir.path().join("agent.yaml")).stderr(Stdio::piped()).kill_on_drop(true);
        let process = command.spawn().unwrap();
        let program = Self { dir, process };
        let api = program.dir.path().join("api.sock");
        eventually("the agent", async || tokio::net::UnixStream::connect(&api).await.ok()).await;
        program
    }

    fn dmi(&self) -> PathBuf {
        self.dir.path().join("dmi.sock")
    }

    /// Waits for its end; what it said.
    async fn end(mut self) -> (ExitStatus, String, TempDir) {
        let mut stderr = self.process.stderr.take().unwrap();
        let mut said = String::new();
        let reading = stderr.read_to_string(&mut said);
        within("the end of the agent", reading).await.unwrap();
        (self.process.wait().await.unwrap(), said, self.dir)
    }
}

/// A folder with the pump's model and all devices.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().join("manifests");
    std::fs::create_dir(&manifests).unwrap();
    let write = |name: &str, text: &str| std::fs::write(manifests.join(name), text).unwrap();
    write("model.yaml", world::MODEL);
    for name in DEVICES {
        write(&format!("{name}.yaml"), &world::device(name, ""));
    }
    dir
}

fn signal(process: &Child, name: &str) {
    let id = process.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_ends_the_program_with_0_in_two_seconds() {
    let program = Program::start(folder(), "").await;
    let client = dmi::connect::manager(program.dmi(), Duration::from_secs(10));
    let load = Load::start(&client, &DEVICES);
    load.flows(100).await;
    let begin = Instant::now();
    signal(&program.process, "TERM");
    let (status, said, dir) = program.end().await;
    let took = begin.elapsed();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let acknowledged = load.end().await;
    let world = World::over(dir).await;
    kept(&world, &acknowledged).await;
}

/// The store stands for any part that cannot go on: files of the program may not grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_fails_ends_the_program_with_1_and_a_message() {
    let program = Program::start(folder(), "trap '' XFSZ; ulimit -f 1024;").await;
    let mut client = dmi::connect::manager(program.dmi(), Duration::from_secs(10));
    let filling = async {
        let mut number = 0_u64;
        while client.report_device_status(note("d0", format!("{number:0>500}"))).await.is_ok() {
            number += 1;
        }
        number
    };
    let taken = within("the end of the space", filling).await;
    let (status, said, dir) = program.end().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("twins stopped by itself: "), "{said}");
    assert!(!Path::new(&dir.path().join("dmi.sock")).exists(), "{said}");
    let world = World::over(dir).await;
    let device = world.device("d0").await.unwrap();
    let kept = device.property("note").unwrap().reported.clone().unwrap().value.unwrap();
    assert_eq!(kept, format!("{:0>500}", taken - 1), "what was acknowledged is there");
}
