//! Demand 50: what comes in a burst over MQTT, and what is too large.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use procfs::process::Process;
use rumqttc::QoS;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use world::bus::Bus;
use world::program::{DEVICES, Program, folder};
use world::{World, within};

/// Messages in one burst, over all devices in turn.
const BURST: usize = 10_000;
/// After so long without an answer an app asks again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// So much more memory the agent may hold after it: the session of a client that is behind may fill, and the
/// allocator keeps some of what it had.
const GROWTH: u64 = 24 << 20;

/// A client that writes packets by hand.
struct ByHand(TcpStream);

impl ByHand {
    async fn connect(broker: SocketAddr, name: &str) -> Self {
        let mut stream = TcpStream::connect(broker).await.unwrap();
        // MQTT 3.1.1, a clean session, no keep-alive.
        let mut rest = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
        rest.extend(text(name));
        stream.write_all(&packet(0x10, &rest)).await.unwrap();
        let mut answer = [0; 4];
        within("CONNACK", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        Self(stream)
    }

    async fn subscribe(&mut self, filter: &str) {
        let rest = [&[0, 1], &*text(filter), &[1]].concat();
        self.0.write_all(&packet(0x82, &rest)).await.unwrap();
    }

    async fn ping(&mut self) {
        self.0.write_all(&packet(0xc0, &[])).await.unwrap();
        let mut answer = [0; 2];
        within("PINGRESP", self.0.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, [0xd0, 0]);
    }
}

fn packet(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind, u8::try_from(rest.len()).unwrap()], rest].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

/// Number `count` goes to its device as a note.
fn number(count: usize) -> (String, String) {
    let topic = format!("$hw/events/device/demo/{}/twin/update", DEVICES[count % DEVICES.len()]);
    (topic, json!({"twin": {"note": {"actual": {"value": count.to_string()}}}}).to_string())
}

fn resident(agent: &Program) -> u64 {
    let id = i32::try_from(agent.process.id().unwrap()).unwrap();
    Process::new(id).unwrap().status().unwrap().vmrss.unwrap() * 1024
}

fn note(twin: &Value) -> Option<usize> {
    twin["actual"]["value"].as_str()?.parse().ok()
}

/// Sends all numbers as fast as they are taken, without waiting for any answer; meanwhile others are served.
async fn burst(agent: &Program) {
    let flooder = Bus::listen(agent.mqtt, "flooder", "nothing").await;
    let documents = "$hw/events/device/demo/+/twin/update/document";
    let mut watcher = Bus::listen(agent.mqtt, "watcher", documents).await;
    let answers = "$hw/events/device/demo/d0/twin/get/result";
    let mut other = Bus::listen(agent.mqtt, "other", answers).await;
    let mut pinger = ByHand::connect(agent.mqtt, "pinger").await;
    // This one never reads.
    let mut frozen = ByHand::connect(agent.mqtt, "frozen").await;
    frozen.subscribe("$hw/events/#").await;

    let flooding = async {
        for count in 0..BURST {
            let (topic, payload) = number(count);
            flooder.publish_at(QoS::AtMostOnce, &topic, &payload).await;
        }
    };
    // Whoever is behind loses messages, and never sees an older one after a newer one.
    let watching = async {
        let mut newest = DEVICES.map(|_| None);
        while newest[(BURST - 1) % DEVICES.len()] != Some(BURST - 1) {
            let document = watcher.next("document").await;
            let count = note(&document["twin"]["note"]["current"]);
            let last = &mut newest[count.unwrap() % DEVICES.len()];
            assert!(*last < count, "{count:?} after {last:?}");
            *last = count;
        }
    };
    let last_of_d0 = (0..BURST).rfind(|count| count % DEVICES.len() == 0);
    let (answered, pinged) = (Cell::new(0), Cell::new(0));
    let asking = async {
        for id in 0_usize.. {
            let request = json!({"event_id": id.to_string()}).to_string();
            other.publish("$hw/events/device/demo/d0/twin/get", &request).await;
            // A request from before a gap stays without an answer.
            let Ok(answer) = timeout(ASK_AGAIN, other.next("get/result")).await else { continue };
            let of: usize = answer["event_id"].as_str().unwrap().parse().unwrap();
            assert!(of <= id, "an answer to request {of}, and the last one was {id}");
            let count = note(&answer["twin"]["note"]);
            if count == last_of_d0 {
                break;
            }
            answered.set(answered.get() + usize::from(count.is_some()));
        }
    };
    let pinging = async {
        loop {
            pinger.ping().await;
            pinged.set(pinged.get() + usize::from(answered.get() > 0));
        }
    };
    tokio::select! {
        _ = async { tokio::join!(flooding, watching, asking) } => {}
        () = pinging => {}
    }
    assert!(answered.get() >= 10, "{} requests were answered during the burst", answered.get());
    assert!(pinged.get() >= 10, "{} pings were answered during the burst", pinged.get());
}

#[tokio::test]
async fn row_50_ten_thousand_messages_at_once_delay_nobody_and_end_in_the_newest_value() {
    let agent = Program::start(folder(), "").await;
    let before = resident(&agent);
    burst(&agent).await;
    let answers = "$hw/events/device/demo/+/twin/get/result";
    let mut app = Bus::listen(agent.mqtt, "app", answers).await;
    for count in BURST - DEVICES.len()..BURST {
        let device = DEVICES[count % DEVICES.len()];
        app.publish(&format!("$hw/events/device/demo/{device}/twin/get"), "{}").await;
        let answer = app.next("get/result").await;
        assert_eq!(note(&answer["twin"]["note"]), Some(count), "{device}: {answer}");
    }
    let growth = resident(&agent).saturating_sub(before);
    assert!(growth < GROWTH, "{growth} bytes more");
}

/// Five notes, so that together they are more than a twin may hold.
const BOOK: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: book, namespace: demo}
spec:
  properties:
    - {name: n1, type: STRING, accessMode: ReadWrite}
    - {name: n2, type: STRING, accessMode: ReadWrite}
    - {name: n3, type: STRING, accessMode: ReadWrite}
    - {name: n4, type: STRING, accessMode: ReadWrite}
    - {name: n5, type: STRING, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: book, namespace: demo}
spec:
  deviceModelRef: {name: book}
  protocol: {protocolName: test}
  properties: [{name: n1}, {name: n2}, {name: n3}, {name: n4}, {name: n5}]
";

#[tokio::test]
async fn row_50_what_is_larger_than_a_limit_is_answered_with_the_limit() {
    let world = World::with(&[]).await;
    world.write("book.yaml", BOOK);
    world.until("book", |_| true).await;
    let mut app = Bus::join(world.mqtt(), "app").await;
    let mut say = async |twin: Value| {
        let update = json!({"event_id": "e", "twin": twin}).to_string();
        app.publish("$hw/events/device/demo/book/twin/update", &update).await;
        let mut answer = app.next("twin/update/result").await;
        (answer["code"].take(), answer["reason"].as_str().unwrap_or_default().to_owned())
    };
    let side = |length: usize| json!({"actual": {"value": "x".repeat(length)}});

    let (code, _) = say(json!({"n1": side(64 << 10)})).await;
    assert_eq!(code, Value::Null, "as large as it may be");
    let (code, reason) = say(json!({"n1": side((64 << 10) + 1)})).await;
    assert_eq!(code, 413, "{reason}");
    assert!(reason.contains("n1") && reason.contains("65536"), "{reason}");

    for name in ["n2", "n3"] {
        assert_eq!(say(json!({name: side(64 << 10)})).await.0, Value::Null);
    }
    let (mut code, mut reason) = say(json!({"n4": side(64 << 10)})).await;
    if code.is_null() {
        (code, reason) = say(json!({"n5": side(64 << 10)})).await;
    }
    assert_eq!(code, 413, "{reason}");
    assert!(reason.contains("262144"), "{reason}");

    let many: serde_json::Map<_, _> = (0..513).map(|i| (format!("p{i}"), Value::Null)).collect();
    let (code, reason) = say(many.into()).await;
    assert_eq!(code, 400, "{reason}");
    assert!(reason.contains("512"), "{reason}");
}
