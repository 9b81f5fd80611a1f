use bytes::Bytes;
use device_model::{DataType, Manifest, Reading, Value, parse_manifests};
use device_twin::{Command, Desire, MemoryStore, PropertyReport, Report, Settings, Writer};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::broker::{Connection, Delivered};
use crate::clock::now;
use crate::feed::Touched;
use crate::twins::Core;

/// Everybody wants everything, and reads when the test does.
struct Reader(mpsc::Sender<(String, Json)>, Connection);

impl Broker for Reader {
    async fn connected(&self) -> Connection {
        self.1
    }

    fn connection(&self) -> Option<u64> {
        Some(self.1.number)
    }

    async fn gone(&self) {
        std::future::pending().await
    }

    fn delivered(&self) -> Delivered {
        Delivered::default()
    }

    async fn publish(&self, topic: &str, payload: Bytes) {
        let message = (topic.to_owned(), serde_json::from_slice(&payload).unwrap());
        self.0.send(message).await.unwrap();
    }

    async fn wanted(&self, _: &str) -> bool {
        true
    }

    async fn anybody(&self) -> bool {
        true
    }
}

fn device(name: &str) -> Arc<Device> {
    let text = format!(
        "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: pump, namespace: demo}}
spec:
  properties:
    - {{name: speed, type: INT, accessMode: ReadWrite}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}, namespace: demo}}
spec:
  deviceModelRef: {{name: pump}}
  protocol: {{protocolName: test, configData: {{port: 1}}}}
  properties:
    - {{name: speed}}
"
    );
    let mut manifests = parse_manifests(&text).unwrap().into_iter();
    let (Some(Manifest::Model(model)), Some(Manifest::Device(device))) =
        (manifests.next(), manifests.next())
    else {
        panic!("a model and a device")
    };
    Arc::new(Device::resolve(&model, &device).unwrap())
}

fn state(name: &str, state: DeviceState) -> Command {
    Command::Report(Report::of(device(name).id.clone()).with_state(state))
}

#[tokio::test]
async fn after_a_gap_states_and_membership_are_told_too() {
    let store = Box::new(MemoryStore::new());
    let core = Core::open(store, Settings::default(), now()).unwrap();
    let (twins, _owner) = Twins::start(core, 64, std::sync::Arc::default()).unwrap();
    let apply = async |commands: Vec<Command>| {
        for answer in twins.apply(commands, Origin::Unasked).await.unwrap() {
            answer.unwrap();
        }
    };
    apply(["lost", "made-again", "quiet", "same"].map(|name| Command::Load(device(name))).into())
        .await;
    let from = twins.feed().newest();
    let (tell, mut messages) = mpsc::channel(1);
    let outbox = Outbox::new(
        Reader(tell, Connection::default()),
        twins.clone(),
        "node".into(),
        Arc::default(),
    );
    let mut tasks = JoinSet::new();
    tasks.spawn(outbox.run(from, CancellationToken::new()));

    // It stops within these, with the second message, since nobody reads.
    let online = ["same", "quiet"].map(|name| state(name, DeviceState::Online));
    apply(online.into()).await;
    while messages.is_empty() {
        tokio::task::yield_now().await;
    }
    apply(vec![state("same", DeviceState::Unhealthy)]).await;
    let gone = |name| Command::Remove(device(name).id.clone());
    apply(vec![gone("lost"), gone("made-again")]).await;
    apply(vec![Command::Load(device("made-again")), Command::Load(device("new"))]).await;
    apply(vec![state("new", DeviceState::Online)]).await;
    let filling = (0..5000).map(|_| Entry::new(None, Origin::Unasked, now()));
    twins.feed().push(filling);

    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "same: unhealthy") {
        let (topic, message) = messages.recv().await.unwrap();
        let device = topic.split('/').nth(4).unwrap().to_owned();
        let (added, removed) = (&message["added_devices"], &message["removed_devices"]);
        if topic.ends_with(STATE_RESULT) {
            heard.push(format!("{device}: {}", message["device"]["state"].as_str().unwrap()));
        } else if let Some(id) = added[0]["id"].as_str() {
            heard.push(format!("{id} came"));
        } else if let Some(id) = removed[0]["id"].as_str() {
            heard.push(format!("{id} went"));
        }
    }
    heard[2..4].sort_unstable();
    assert_eq!(
        heard,
        [
            "same: online",
            "quiet: online",
            "demo/lost went",
            "demo/made-again went",
            "demo/made-again came",
            "demo/new came",
            "new: online",
            "same: unhealthy",
        ]
    );
}

#[tokio::test]
async fn of_what_was_told_as_it_stands_nothing_older_is_told_after_it() {
    let store = Box::new(MemoryStore::new());
    let core = Core::open(store, Settings::default(), now()).unwrap();
    let (twins, _owner) = Twins::start(core, 64, std::sync::Arc::default()).unwrap();
    let desire = Desire::of(device("pump").id.clone(), Writer::local("api"));
    let desire = Command::Desire(desire.with("speed", Value::Int(9)));
    for command in [Command::Load(device("pump")), desire] {
        twins.apply(vec![command], Origin::Unasked).await.unwrap()[0].as_ref().unwrap();
    }
    let from = twins.feed().newest();
    let update = async |speed: i64| {
        let mut report = Report::of(device("pump").id.clone());
        let reading = Reading::good(Value::Int(speed), now());
        report.properties.push(PropertyReport::reading("speed".to_owned(), reading));
        let touched = Touched {
            name: "speed".into(),
            data_type: DataType::Int,
            reported: true,
            actual: Some(speed.to_string()),
            expected: None,
            removed: false,
        };
        let origin =
            Origin::Update { event_id: speed.to_string(), touched: vec![touched], trace: None };
        twins.apply(vec![Command::Report(report)], origin).await.unwrap()[0].as_ref().unwrap();
    };
    // One of them changes nothing.
    for speed in [1, 1, 2] {
        update(speed).await;
    }
    let (tell, mut messages) = mpsc::channel(64);
    let connection = Connection { number: 1, from };
    let outbox =
        Outbox::new(Reader(tell, connection), twins.clone(), "node".into(), Arc::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(outbox.run(from, CancellationToken::new()));

    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "delta 3") {
        let (topic, message) = messages.recv().await.unwrap();
        let (kind, actual) = match topic.rsplit('/').next().unwrap() {
            "document" => ("document", &message["twin"]["speed"]["current"]["actual"]),
            "delta" => ("delta", &message["twin"]["speed"]["actual"]),
            "result" if topic.ends_with(UPDATE_RESULT) => {
                ("result", &message["twin"]["speed"]["actual"])
            }
            _ => continue,
        };
        heard.push(format!("{kind} {}", actual["value"].as_str().unwrap()));
        if heard.iter().filter(|one| one.starts_with("result")).count() == 3 {
            update(3).await;
        }
    }
    let wanted = ["document 2", "delta 2", "result 1", "result 1", "result 2"];
    assert_eq!(heard, [&wanted[..], &["result 3", "document 3", "delta 3"]].concat());
}
