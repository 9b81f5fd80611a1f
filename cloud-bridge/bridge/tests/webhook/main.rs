//! What the API server is answered when it asks whether it may take an object.

#![expect(clippy::unwrap_used, reason = "a test's helpers are no test functions")]

mod asked;

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud_bridge::webhook::{Definitions, Verdict, judge};
use device_model::{DeviceModel, Manifest, parse_manifests};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionReview};
use serde_json::{Value as Json, json};

const MODEL: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: skid, namespace: demo}
spec:
  protocol: modbus-tcp
  properties:
  - {name: speed, type: INT, accessMode: ReadWrite, minimum: \"0\", maximum: \"1500\"}
  - {name: level, type: DOUBLE, accessMode: ReadOnly}
";

/// One model, and devices that name models.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    users: BTreeMap<String, Vec<String>>,
}

impl Definitions for Cluster {
    fn model(&self, namespace: &str, name: &str) -> Option<Arc<DeviceModel>> {
        let manifests = parse_manifests(MODEL).unwrap();
        let [Manifest::Model(model)] = &manifests[..] else { panic!("{manifests:?}") };
        (namespace == "demo" && name == "skid").then(|| Arc::new(model.clone()))
    }

    fn devices_using(&self, _: &str, model: &str) -> Vec<String> {
        self.users.get(model).cloned().unwrap_or_default()
    }
}

/// A request as the API server sends it.
pub(crate) fn review(kind: &str, operation: &str, object: Json, old: Json) -> Json {
    let version = json!({"group": "devices.kubeedge.io", "version": "v1beta1", "kind": kind});
    let named = |object: Json| {
        if object.is_null() {
            return object;
        }
        let mut object = object;
        object["apiVersion"] = "devices.kubeedge.io/v1beta1".into();
        object["kind"] = kind.into();
        object
    };
    let name = object["metadata"]["name"].as_str().unwrap_or("skid").to_owned();
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5", "kind": version,
            "resource": {"group": "devices.kubeedge.io", "version": "v1beta1", "resource": "any"},
            "name": name, "namespace": "demo", "operation": operation,
            "userInfo": {"username": "admin"}, "object": named(object), "oldObject": named(old),
        },
    })
}

fn verdict(kind: &str, operation: &str, object: Json, old: Json, cluster: &Cluster) -> Verdict {
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_value(review(kind, operation, object, old)).unwrap();
    let request: AdmissionRequest<DynamicObject> = review.try_into().unwrap();
    judge(&request, cluster)
}

/// A pump with something else in its spec.
pub(crate) fn pump(change: impl FnOnce(&mut Json)) -> Json {
    let mut object = json!({
        "metadata": {"name": "pump", "namespace": "demo"},
        "spec": {
            "deviceModelRef": {"name": "skid"}, "nodeName": "edge-1",
            "protocol": {"protocolName": "modbus-tcp", "configData": {"ip": "192.0.2.1"}},
            "properties": [{"name": "speed", "desired": {"value": "1450"},
                "visitors": {"protocolName": "modbus-tcp", "configData": {"register": "HoldingRegister", "offset": 1}}}],
        },
    });
    change(&mut object);
    object
}

#[test]
fn a_device_is_judged_by_the_code_that_runs_it() {
    let judged = |change: fn(&mut Json)| {
        verdict("Device", "CREATE", pump(change), Json::Null, &Cluster::default())
    };
    assert_eq!(judged(|_| {}), Verdict::Allowed);
    let refused = |change: fn(&mut Json), parts: &[&str]| match judged(change) {
        Verdict::Refused(reason) => {
            assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
            assert!(reason.starts_with("Device demo/pump:"), "{reason}");
        }
        other => panic!("{parts:?}: {other:?}"),
    };
    refused(
        |pump| pump["spec"]["properties"][0]["desired"]["value"] = "fast".into(),
        &["spec.properties[speed].desired.value = \"fast\"", "not of type"],
    );
    refused(
        |pump| pump["spec"]["properties"][0]["desired"]["value"] = "1501".into(),
        &["= \"1501\"", "within the model's range"],
    );
    refused(
        |pump| pump["spec"]["properties"][0]["name"] = "sped".into(),
        &["= \"sped\"", "not in DeviceModel skid", "use one of speed, level"],
    );
    refused(
        |pump| pump["spec"]["deviceModelRef"] = json!({}),
        &["spec.deviceModelRef.name", "no model named"],
    );
    refused(
        |pump| pump["spec"]["protocol"]["configData"]["nested"] = json!({"a": 1}),
        &["spec.protocol.configData.nested", "flat keys"],
    );
    let shape = verdict(
        "Device",
        "CREATE",
        pump(|pump| pump["spec"]["properties"][0]["desired"]["value"] = 5.into()),
        Json::Null,
        &Cluster::default(),
    );
    let Verdict::Refused(reason) = shape else { panic!("{shape:?}") };
    assert!(
        reason.contains("spec.properties[0].desired.value") && reason.contains("quotes"),
        "{reason}"
    );
}

#[test]
fn a_device_before_its_model_is_allowed_with_a_warning() {
    let early = pump(|pump| pump["spec"]["deviceModelRef"]["name"] = "later".into());
    let judged = verdict("Device", "CREATE", early, Json::Null, &Cluster::default());
    let Verdict::Warned(warnings) = judged else { panic!("{judged:?}") };
    assert!(
        warnings[0].contains("there is no DeviceModel of that name in namespace demo"),
        "{warnings:?}"
    );
}

#[test]
fn what_was_wrong_before_can_be_labelled_reported_and_deleted() {
    let wrong = |change: fn(&mut Json)| {
        pump(|pump| {
            pump["spec"]["properties"][0]["name"] = "sped".into();
            change(pump);
        })
    };
    let judged = |object, old| verdict("Device", "UPDATE", object, old, &Cluster::default());
    let labelled = wrong(|pump| pump["metadata"]["labels"] = json!({"a": "b"}));
    assert_eq!(judged(labelled, wrong(|_| {})), Verdict::Allowed);
    let reported = wrong(|pump| pump["status"] = json!({"reportCycle": 1}));
    assert_eq!(judged(reported, wrong(|_| {})), Verdict::Allowed);
    let changed = wrong(|pump| pump["spec"]["nodeName"] = "edge-2".into());
    assert!(matches!(judged(changed, wrong(|_| {})), Verdict::Refused(_)));
    let leaving = wrong(|pump| {
        pump["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        pump["spec"]["nodeName"] = "edge-2".into();
    });
    assert_eq!(judged(leaving, wrong(|_| {})), Verdict::Allowed);
    let deleted = verdict("Device", "DELETE", Json::Null, wrong(|_| {}), &Cluster::default());
    assert_eq!(deleted, Verdict::Allowed);
}

#[test]
fn a_model_is_judged_without_any_device() {
    let judged = |properties: Json| {
        let model = json!({"metadata": {"name": "skid"}, "spec": {"properties": properties}});
        verdict("DeviceModel", "CREATE", model, Json::Null, &Cluster::default())
    };
    assert_eq!(
        judged(json!([{"name": "a", "type": "INT", "accessMode": "ReadOnly"}])),
        Verdict::Allowed
    );
    assert_eq!(judged(json!([])), Verdict::Allowed);
    for (properties, parts) in [
        (json!([{"name": "a", "type": "WORD"}]), ["spec.properties[a].type = \"WORD\"", "use INT"]),
        (
            json!([{"name": "a", "type": "INT", "minimum": "5", "maximum": "1"}]),
            ["spec.properties[a].minimum", "larger than the maximum 1"],
        ),
        (
            json!([{"name": "a", "type": "INT"}, {"name": "a", "type": "INT"}]),
            ["spec.properties[a]", "stands twice"],
        ),
        (json!([{"type": "INT"}]), ["spec.properties[].name", "name the property"]),
    ] {
        let judged = judged(properties);
        let Verdict::Refused(reason) = &judged else { panic!("{parts:?}: {judged:?}") };
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
        assert!(
            !reason.contains("probe") && reason.starts_with("DeviceModel demo/skid:"),
            "{reason}"
        );
    }
}

/// Row 36: references are protected.
#[test]
fn a_model_that_devices_name_is_not_deleted_and_they_are_named() {
    let devices = |count| (0..count).map(|number| format!("pump-{number:02}")).collect::<Vec<_>>();
    let judged = |count| {
        let users = if count == 0 { [].into() } else { [("skid".into(), devices(count))].into() };
        verdict(
            "DeviceModel",
            "DELETE",
            Json::Null,
            json!({"metadata": {"name": "skid"}}),
            &Cluster { users },
        )
    };
    assert_eq!(judged(0), Verdict::Allowed);
    let Verdict::Refused(reason) = judged(2) else { panic!("refused") };
    assert!(
        reason.contains("demo/skid is named by 2 Device(s): pump-00, pump-01; delete them"),
        "{reason}"
    );
    let Verdict::Refused(reason) = judged(12) else { panic!("refused") };
    assert!(reason.contains("pump-09 and 2 more;"), "{reason}");
}
