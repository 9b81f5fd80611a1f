//! Clients of the embedded broker whose packets are broken.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::cell::RefCell;
use std::net::SocketAddr;

use procfs::process::Process;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use world::bus::Bus;
use world::packets::{Talk, talk};
use world::program::{Program, folder, signal};
use world::{eventually, within};

/// Connections at a time.
const AT_ONCE: usize = 16;
/// Octets that the agent may grow by between the first tenth of the cases and the end.
const GROWTH: u64 = 8 << 20;
/// What broken packets leave behind is bounded by these.
const LIMITS: &str =
    "mqtt: {mode: embedded, listen: '127.0.0.1:0', limits: {retained: 20, sessionMessages: 10}}\n";

/// The agent as others see it, and an app that behaves.
struct Witness {
    agent: Program,
    app: Bus,
    process: Process,
    /// Open when nobody else is connected.
    files: usize,
    asked: u32,
    /// Resident octets after each case.
    resident: Vec<u64>,
}

impl Witness {
    async fn start() -> Self {
        let agent = Program::start_with(folder(), "", LIMITS).await;
        let app = Bus::listen(agent.mqtt, "app", "$hw/events/device/demo/d0/twin/get/result").await;
        let process = Process::new(agent.process.id().unwrap().cast_signed()).unwrap();
        let mut witness = Self { agent, app, process, files: 0, asked: 0, resident: Vec::new() };
        witness.ask().await;
        witness.files = witness.process.fd_count().unwrap();
        witness
    }

    /// Asks for a twin and waits for the answer.
    async fn ask(&mut self) {
        self.asked += 1;
        let id = self.asked.to_string();
        let request = json!({"event_id": id}).to_string();
        self.app.publish("$hw/events/device/demo/d0/twin/get", &request).await;
        while self.app.next("twin/get/result").await["event_id"] != id.as_str() {}
    }

    async fn suffer(&mut self, talks: Vec<Talk>) -> Result<(), TestCaseError> {
        let mut clients = JoinSet::new();
        for talk in talks {
            clients.spawn(say(self.agent.mqtt, talk));
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        self.ask().await;
        let all_closed = async || (self.process.fd_count().unwrap() <= self.files).then_some(());
        eventually("the broker to close what ended", all_closed).await;
        let said = self.agent.has_said();
        if said.contains("panicked") {
            return Err(TestCaseError::fail(said.to_owned()));
        }
        self.resident.push(self.process.status().unwrap().vmrss.unwrap() * 1024);
        Ok(())
    }
}

async fn say(address: SocketAddr, talk: Talk) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The broker may have had enough of it before its end.
    let written = stream.write_all(&talk.octets).await;
    if !talk.stays || written.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut answers = Vec::new();
    // A reset is an end, too.
    let _ = within("the end of a connection", stream.read_to_end(&mut answers)).await;
}

#[test]
fn broken_packets_harm_nobody_but_who_sends_them() {
    let runtime = Runtime::new().unwrap();
    let witness = RefCell::new(runtime.block_on(Witness::start()));
    let more = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config =
        Config { cases: more.unwrap_or(150), failure_persistence: None, ..Config::default() };
    let suffer = |talks| runtime.block_on(witness.borrow_mut().suffer(talks));
    TestRunner::new(config).run(&vec(talk(), AT_ONCE), suffer).unwrap();
    let Witness { agent, resident, .. } = witness.into_inner();
    let (early, late) = (resident[resident.len() / 10], *resident.last().unwrap());
    assert!(late < early + GROWTH, "{early} octets grew to {late}");
    signal(&agent.process, "TERM");
    let (status, said, _dir) = runtime.block_on(agent.end());
    assert!(status.success() && !said.contains("panicked"), "{said}");
}
