use bytes::Bytes;
use device_model::{DataType, Manifest, Reading, Value, parse_manifests};
use device_twin::store::Run;
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
    let (twins, _owner) = owner();
    let apply = async |commands| apply(&twins, commands).await;
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

/// One owner of twins in memory.
fn owner() -> (Twins, crate::twins::Owner) {
    let store = Box::new(MemoryStore::new());
    let core = Core::open(store, Settings::default(), now()).unwrap();
    Twins::start(core, Run::first(now()), 64, Arc::default()).unwrap()
}

async fn apply(twins: &Twins, commands: Vec<Command>) {
    for answer in twins.apply(commands, Origin::Unasked).await.unwrap() {
        answer.unwrap();
    }
}

/// An app says that the pump has this speed.
async fn update(twins: &Twins, speed: i64) {
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
}

/// Runs the outbox over a connection that began at event `from`.
fn publish(
    twins: &Twins,
    from: u64,
    tasks: &mut JoinSet<Result<(), String>>,
) -> mpsc::Receiver<(String, Json)> {
    let (tell, messages) = mpsc::channel(64);
    let reader = Reader(tell, Connection { number: 1, from });
    let outbox = Outbox::new(reader, twins.clone(), "node".into(), Arc::default());
    tasks.spawn(outbox.run(from, CancellationToken::new()));
    messages
}

/// What a message says: of the pump's speed, of a state, or of who came and went.
fn gist(topic: &str, message: &Json) -> String {
    let speed = &message["twin"]["speed"];
    let (kind, actual) = match topic.rsplit('/').next().unwrap() {
        "document" => ("document", &speed["current"]["actual"]),
        "delta" => ("delta", &speed["actual"]),
        "updated" => return format!("membership {message}"),
        _ if topic.ends_with(STATE_RESULT) => {
            return format!("state {}", message["device"]["state"].as_str().unwrap());
        }
        _ => ("result", &speed["actual"]),
    };
    format!("{kind} {}", actual["value"].as_str().unwrap_or("nothing"))
}

#[tokio::test]
async fn of_what_was_told_as_it_stands_nothing_older_is_told_after_it() {
    let (twins, _owner) = owner();
    let desire = Desire::of(device("pump").id.clone(), Writer::local("api"));
    let desire = Command::Desire(desire.with("speed", Value::Int(9)));
    apply(&twins, vec![Command::Load(device("pump")), desire]).await;
    let from = twins.feed().newest();
    // One of them changes nothing.
    for speed in [1, 1, 2] {
        update(&twins, speed).await;
    }
    let mut tasks = JoinSet::new();
    let mut messages = publish(&twins, from, &mut tasks);

    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "delta 3") {
        let (topic, message) = messages.recv().await.unwrap();
        heard.push(gist(&topic, &message));
        if heard.iter().filter(|one| one.starts_with("result")).count() == 3 {
            update(&twins, 3).await;
        }
    }
    let wanted = ["document 2", "delta 2", "result 1", "result 1", "result 2"];
    assert_eq!(heard, [&wanted[..], &["result 3", "document 3", "delta 3"]].concat());
}

#[tokio::test]
async fn of_a_device_that_was_made_again_nothing_older_is_told_after_how_it_stands() {
    let (twins, _owner) = owner();
    apply(&twins, vec![Command::Load(device("pump"))]).await;
    let from = twins.feed().newest();
    update(&twins, 1).await;
    apply(&twins, vec![Command::Remove(device("pump").id.clone()), Command::Load(device("pump"))])
        .await;
    for speed in [2, 3] {
        update(&twins, speed).await;
    }
    let mut tasks = JoinSet::new();
    let mut messages = publish(&twins, from, &mut tasks);

    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "document 4") {
        let (topic, message) = messages.recv().await.unwrap();
        heard.push(gist(&topic, &message));
        if heard.iter().filter(|one| one.starts_with("result")).count() == 3 {
            update(&twins, 4).await;
        }
    }
    let wanted = ["document 3", "result 1", "result 2", "result 3", "result 4", "document 4"];
    assert_eq!(heard, wanted);
}

#[tokio::test]
async fn after_a_restart_a_state_that_became_unknown_is_told() {
    let (twins, _owner) = owner();
    apply(&twins, vec![Command::Load(device("pump"))]).await;
    apply(&twins, vec![state("pump", DeviceState::Online)]).await;
    update(&twins, 1).await;
    apply(&twins, vec![state("pump", DeviceState::Unknown)]).await;
    let mut tasks = JoinSet::new();
    // This agent was started after all that: nobody knows what of it was told.
    let mut messages = publish(&twins, twins.feed().newest(), &mut tasks);

    let mut heard = Vec::new();
    while heard.len() < 2 {
        let (topic, message) = messages.recv().await.unwrap();
        heard.push(gist(&topic, &message));
        if heard.len() == 1 {
            update(&twins, 2).await;
        }
    }
    assert_eq!(heard, ["document 1", "state unknown"]);
}
