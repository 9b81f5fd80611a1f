use device_model::Quality;
use device_twin::store::Run;
use device_twin::{MemoryStore, Owner as Owns, Settings, SqliteStore, Store, Twin, Writer};
use edge_link::words::{group, operation, source};
use edge_link::{MessageId, Resource, Route};
use serde_json::json;

use super::*;
use crate::clock::now;
use crate::twins::faulty::Faulty;
use crate::twins::tests::PATIENCE;
use crate::twins::{Core, Owner};

/// What this node has of its cloud, over some store.
struct Node {
    objects: Objects,
    twins: Twins,
    owner: Owner,
    catalogue: Arc<Catalogue>,
    faults: Arc<Faults>,
}

impl Node {
    async fn new() -> Self {
        Self::over(Box::new(MemoryStore::new())).await
    }

    async fn over(mut store: Box<dyn Store + Send>) -> Self {
        let mut stored = Vec::new();
        for kind in KINDS {
            stored.extend(store.objects(kind.as_str()).unwrap());
        }
        let settings = Settings { owner: Owns::Cloud, ..Settings::default() };
        let core = Core::open(store, settings, now()).unwrap();
        let (twins, owner) = Twins::start(core, Run::first(now()), 64, Arc::default()).unwrap();
        let (catalogue, faults) = (Arc::<Catalogue>::default(), Arc::<Faults>::default());
        let mut objects = Objects::new(&stored, twins.clone(), catalogue.clone(), faults.clone());
        objects.begin().await.unwrap();
        Self { objects, twins, owner, catalogue, faults }
    }

    async fn take(&mut self, messages: &[Message]) -> Vec<bool> {
        self.objects.take(messages).await.unwrap()
    }

    async fn twin(&self) -> Option<Twin> {
        self.twins.twin(&id()).await.unwrap()
    }

    async fn desired(&self, property: &str) -> Option<(String, u64)> {
        let twin = self.twin().await?;
        let desired = twin.property(property)?.1.desired.clone()?;
        assert_eq!(desired.writer, Writer::Cloud);
        Some((desired.value.to_string(), desired.generation.0))
    }
}

fn id() -> DeviceId {
    "default/pump".parse().unwrap()
}

fn message(operation: &str, resource: &str, content: Json) -> Message {
    let resource: Resource = resource.parse().unwrap();
    let route = Route::new(source::DEVICECONTROLLER, group::RESOURCE, operation, &resource);
    Message::new(MessageId::random(), now(), route, content)
}

fn model() -> Message {
    let content = json!({
        "metadata": {"name": "pump", "namespace": "default", "uid": "m", "resourceVersion": "1", "generation": 1},
        "spec": {"properties": [
            {"name": "speed", "type": "INT", "accessMode": "ReadWrite", "maximum": "100"},
        ]},
    });
    message(operation::INSERT, "default/devicemodel/pump", content)
}

fn device(uid: &str, generation: u64, speed: Option<&str>) -> Message {
    let mut property =
        json!({"name": "speed", "visitors": {"protocolName": "modbus", "configData": {}}});
    if let Some(speed) = speed {
        property["desired"] = json!({"value": speed});
    }
    let content = json!({
        "metadata": {"name": "pump", "namespace": "default", "uid": uid,
            "resourceVersion": format!("{uid}-{generation}"), "generation": generation},
        "spec": {"deviceModelRef": {"name": "pump"}, "protocol": {"protocolName": "modbus"},
            "properties": [property]},
    });
    message(operation::UPDATE, "default/device/pump", content)
}

fn end(uid: &str) -> Message {
    let content = json!({"metadata": {"name": "pump", "namespace": "default", "uid": uid}});
    message(operation::DELETE, "default/device/pump", content)
}

#[tokio::test]
async fn a_device_is_there_with_its_model_whichever_comes_first() {
    let mut node = Node::new().await;
    assert_eq!(node.take(&[device("a", 1, Some("5"))]).await, [true]);
    assert!(node.twin().await.is_none());
    let fault = node.faults.of_device(&id()).unwrap();
    assert!(
        fault.contains("spec.deviceModelRef.name = \"pump\": the cloud has sent no such"),
        "{fault}"
    );
    assert_eq!(node.take(&[model()]).await, [true]);
    assert_eq!(node.desired("speed").await, Some(("5".into(), 1)));
    assert!(node.catalogue.device(&id()).is_some());
    assert_eq!(node.faults.all(), []);
}

#[tokio::test]
async fn a_restart_without_a_cloud_has_all_there_was_and_no_number_moves() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Box::new(SqliteStore::open(&folder.path().join("twins.db")).unwrap());
    let mut node = Node::over(open()).await;
    node.take(&[model(), device("a", 3, Some("5"))]).await;
    node.take(&[device("a", 4, Some("6"))]).await;
    let before = node.desired("speed").await.unwrap();
    let held: Vec<_> = node.objects.held().collect();
    node.owner.stop(PATIENCE).await.unwrap();
    let again = Node::over(open()).await;
    assert_eq!(again.desired("speed").await.unwrap(), before);
    assert_eq!(again.objects.held().collect::<Vec<_>>(), held);
}

#[tokio::test]
async fn what_is_wrong_leaves_the_device_as_it_was_and_says_so_at_its_twin() {
    let mut node = Node::new().await;
    node.take(&[model(), device("a", 1, Some("5"))]).await;
    assert_eq!(node.take(&[device("a", 2, Some("500"))]).await, [true]);
    assert_eq!(node.desired("speed").await, Some(("5".into(), 1)));
    let problem = node.twin().await.unwrap().condition().problem.clone().unwrap();
    assert!(problem.contains("desired.value") && problem.contains("500"), "{problem}");
    node.take(&[device("a", 3, Some("50"))]).await;
    assert_eq!(node.desired("speed").await, Some(("50".into(), 3)));
    assert_eq!(node.twin().await.unwrap().condition().problem, None);
}

#[tokio::test]
async fn the_end_of_a_former_life_leaves_the_next_one_which_begins_anew() {
    let mut node = Node::new().await;
    node.take(&[model(), device("a", 7, Some("5"))]).await;
    node.take(&[device("b", 1, None)]).await;
    let twin = node.twin().await.unwrap();
    assert_eq!(
        (twin.uid().as_str(), twin.property("speed").unwrap().1.desired.clone()),
        ("b", None)
    );
    assert_eq!(node.take(&[end("a")]).await, [true]);
    assert!(node.twin().await.is_some());
    assert_eq!(node.take(&[end("b")]).await, [true]);
    assert!(node.twin().await.is_none());
    assert!(node.catalogue.device(&id()).is_none());
    assert_eq!(node.objects.held().count(), 1, "the model");
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_acknowledged_and_taken_when_it_comes_again() {
    let (store, switch) = Faulty::new();
    let mut node = Node::over(store).await;
    node.take(&[model(), device("a", 1, Some("5"))]).await;
    switch.fill(true);
    let second = device("a", 2, Some("6"));
    assert_eq!(node.take(std::slice::from_ref(&second)).await, [false]);
    assert_eq!(node.take(&[end("a")]).await, [false]);
    switch.fill(false);
    assert_eq!(node.take(&[second]).await, [true]);
    assert_eq!(node.desired("speed").await, Some(("6".into(), 2)));
    assert_eq!(node.take(&[end("a")]).await, [true]);
    assert!(node.twin().await.is_none());
}

#[tokio::test]
async fn a_device_of_the_nodes_own_is_taken_over_and_keeps_what_it_reported() {
    let mut node = Node::new().await;
    let mut local = device("", 1, None).content;
    local["metadata"].as_object_mut().unwrap().remove("uid");
    let instance = serde_json::from_value(local).unwrap();
    let model_of = serde_json::from_value(model().content).unwrap();
    let own = Arc::new(device_model::Device::resolve(&model_of, &instance).unwrap());
    let reading = device_model::Reading::good(device_model::Value::Int(9), now());
    let report =
        device_twin::Report::of(id()).with(device_twin::PropertyReport::reading("speed", reading));
    let before = vec![Command::Load(own), Command::Report(report)];
    node.twins.apply(before, Origin::Unasked).await.unwrap();
    node.take(&[model(), device("a", 1, None)]).await;
    let twin = node.twin().await.unwrap();
    let reported = twin.property("speed").unwrap().1.reported.clone().unwrap();
    assert_eq!((twin.uid().as_str(), reported.quality), ("a", Quality::Uncertain));
    assert_eq!(reported.value, Some(device_model::Value::Int(9)));
}

#[tokio::test]
async fn what_is_no_object_is_acknowledged_so_that_a_cloud_does_not_wait_for_ever() {
    let mut node = Node::new().await;
    let mut nonsense = device("a", 1, None);
    nonsense.content = Json::Null;
    let pod = message(
        operation::INSERT,
        "default/pod/web",
        json!({"metadata": {"uid": "p", "resourceVersion": "1"}}),
    );
    assert_eq!(node.take(&[nonsense, pod]).await, [true, true]);
    assert_eq!(node.objects.held().count(), 0);
}
