use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;

fn device(name: &str, node: &str, generation: u64, desired: &str) -> Value {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
        "metadata": {
            "namespace": "plant", "name": name, "uid": format!("uid-{name}"),
            "resourceVersion": format!("{}", 100 + generation), "generation": generation,
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        },
        "spec": {
            "deviceModelRef": {"name": "pump"}, "nodeName": node,
            "protocol": {"protocolName": "modbus", "configData": {}},
            "properties": [{"name": "speed", "desired": {"value": desired}}],
        },
    })
}

fn entry(object: Value) -> DeviceEntry {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    DeviceEntry::read(object, &Numbers::default()).unwrap()
}

fn model() -> ModelEntry {
    let object = json!({
        "metadata": {"namespace": "plant", "name": "pump", "uid": "m", "resourceVersion": "7"},
        "spec": {"properties": []},
    });
    ModelEntry::read(serde_json::from_value(object).unwrap()).unwrap()
}

fn names(objects: &Objects, node: &str) -> Vec<String> {
    objects.of_node(node).iter().map(|one| one.key.to_string()).collect()
}

#[test]
fn a_node_has_its_devices_behind_the_models_that_they_need() {
    let objects = Objects::default();
    objects.put_device(entry(device("a", "edge-1", 1, "5")));
    objects.put_device(entry(device("b", "edge-2", 1, "5")));
    assert_eq!(names(&objects, "edge-1"), ["plant/device/a"]);
    objects.put_model(model());
    assert_eq!(names(&objects, "edge-1"), ["plant/devicemodel/pump", "plant/device/a"]);
    assert_eq!(names(&objects, "edge-3"), [""; 0]);
}

#[test]
fn a_device_that_moves_leaves_one_node_for_the_other_and_both_are_told() {
    let objects = Objects::default();
    let (mut first, mut second) =
        (objects.follow(&"edge-1".into()), objects.follow(&"edge-2".into()));
    objects.put_device(entry(device("a", "edge-1", 1, "5")));
    assert!(first.has_changed().unwrap() && !second.has_changed().unwrap());
    first.mark_unchanged();
    objects.put_device(entry(device("a", "edge-2", 2, "5")));
    assert!(first.has_changed().unwrap() && second.has_changed().unwrap());
    assert_eq!((names(&objects, "edge-1"), names(&objects, "edge-2").len()), (vec![], 1));
    second.mark_unchanged();
    objects.put_model(model());
    assert!(second.has_changed().unwrap());
}

#[test]
fn an_older_state_and_the_end_of_another_life_change_nothing() {
    let objects = Objects::default();
    objects.put_device(entry(device("a", "edge-1", 2, "6")));
    objects.put_device(entry(device("a", "edge-1", 1, "5")));
    let id = DeviceId::new("plant", "a").unwrap();
    assert_eq!(objects.device(&id).unwrap().version.generation, Some(2));
    objects.remove_device(&id, &Uid::new("another").unwrap());
    assert!(objects.device(&id).is_some());
    objects.remove_device(&id, &Uid::new("uid-a").unwrap());
    assert!(objects.device(&id).is_none() && names(&objects, "edge-1").is_empty());
}

#[test]
fn what_a_list_does_not_name_is_gone() {
    let objects = Objects::default();
    objects.put_model(model());
    objects.put_device(entry(device("a", "edge-1", 1, "5")));
    objects.put_device(entry(device("b", "edge-1", 1, "5")));
    objects.keep_only_devices(&[DeviceId::new("plant", "b").unwrap()].into());
    assert_eq!(names(&objects, "edge-1"), ["plant/devicemodel/pump", "plant/device/b"]);
    objects.keep_only_models(&BTreeSet::new());
    assert_eq!(names(&objects, "edge-1"), ["plant/device/b"]);
    assert_eq!(objects.users(&("plant".into(), "pump".into())).len(), 1);
}

#[test]
fn an_object_is_sent_without_what_only_the_api_server_needs_and_to_ours_with_its_numbers() {
    let entry = Arc::new(entry(device("a", "edge-1", 3, "5")));
    let (ours, theirs) =
        (Body::Device(entry.clone()).content(true), Body::Device(entry).content(false));
    assert_eq!(theirs["metadata"].get("managedFields"), None);
    assert_eq!(theirs["metadata"].get("annotations"), None);
    assert_eq!(ours["metadata"]["annotations"][Numbers::ANNOTATION], "{\"speed\":3}");
    assert_eq!(theirs["kind"], "Device");
    assert_eq!(ours["spec"], theirs["spec"]);
}
