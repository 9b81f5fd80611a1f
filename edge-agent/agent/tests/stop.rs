//! The end of an agent that is busy, and of one that cannot go on.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dmi::proto::DeviceManagerServiceClient;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;
use world::bus::Bus;
use world::mapper::FakeMapper;
use world::program::{DEVICES, Program, folder, note, signal};
use world::{World, eventually, within};

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
