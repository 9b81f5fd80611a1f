use bytes::Bytes;
use device_model::{Manifest, parse_manifests};
use device_twin::{Command, MemoryStore, Report, Settings};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::broker::{Connection, Delivered};
use crate::clock::now;
use crate::twins::Core;

/// Everybody wants everything, and reads when the test does.
struct Reader(mpsc::Sender<(String, Json)>);

impl Broker for Reader {
    async fn connected(&self) -> Connection {
        Connection::default()
    }

    fn connection(&self) -> Option<u64> {
        Some(0)
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
    let outbox = Outbox::new(Reader(tell), twins.clone(), "node".into(), Arc::default());
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
