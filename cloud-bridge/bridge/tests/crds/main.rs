//! The custom resources are KubeEdge's, field by field, and the file in `deploy/` is what this code makes.

#![expect(clippy::unwrap_used, reason = "a test's helpers are no test functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use cloud_bridge::crds::{Device, DeviceModel, DeviceStatus, crds, yaml};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value as Json;

/// What the API server heeds of `schema`, as `fields.txt` writes it, by path.
fn fields(
    path: &str,
    schema: &JSONSchemaProps,
    required: bool,
    found: &mut BTreeMap<String, String>,
) {
    let mut line = schema.type_.clone().unwrap_or_default();
    let mut say = |word: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(line, " {word}{value}").unwrap();
        }
    };
    say("format=", schema.format.clone());
    let words = |words: &Vec<_>| {
        let words: Vec<&str> = words.iter().map(text).collect();
        words.join("|")
    };
    say("enum=", schema.enum_.as_ref().map(words));
    say("default=", schema.default.as_ref().map(|default| default.0.to_string()));
    say("atomic", (schema.x_kubernetes_map_type.as_deref() == Some("atomic")).then(String::new));
    say("open", schema.x_kubernetes_preserve_unknown_fields.unwrap_or_default().then(String::new));
    say("nullable", schema.nullable.map(|_| String::new()));
    say("required", required.then(String::new));
    found.insert(if path.is_empty() { ".".into() } else { path.into() }, line);
    let required = schema.required.clone().unwrap_or_default();
    for (name, property) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields(&path, property, required.contains(name), found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        fields(&format!("{path}[]"), items, false, found);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        fields(&format!("{path}{{}}"), values, false, found);
    }
}

fn text(json: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON) -> &str {
    json.0.as_str().unwrap_or("(no text)")
}

/// What the file says of each kind.
fn listed() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut kinds: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut kind = String::new();
    for line in include_str!("fields.txt").lines().skip(2).filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => kind = name.into(),
            None => {
                let (path, rest) = line.split_once(' ').unwrap();
                kinds.entry(kind.clone()).or_default().insert(path.into(), rest.into());
            }
        }
    }
    kinds
}

fn schema(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    let [version] = &crd.spec.versions[..] else { panic!("one version: {crd:?}") };
    version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()
}

#[test]
fn every_field_is_kubeedges_and_none_is_missing() {
    let listed = listed();
    let crds = crds();
    let kinds: BTreeSet<&str> = crds.iter().map(|crd| crd.spec.names.kind.as_str()).collect();
    assert_eq!(kinds, listed.keys().map(String::as_str).collect());
    for crd in &crds {
        let mut found = BTreeMap::new();
        fields("", schema(crd), false, &mut found);
        assert_eq!(found, listed[&crd.spec.names.kind], "{}", crd.spec.names.kind);
    }
}

#[test]
fn names_scopes_and_subresources_are_kubeedges() {
    for (name, kind, scope, version, status) in [
        (
            "clusterobjectsyncs.reliablesyncs.kubeedge.io",
            "ClusterObjectSync",
            "Cluster",
            "v1alpha1",
            true,
        ),
        ("devicemodels.devices.kubeedge.io", "DeviceModel", "Namespaced", "v1beta1", false),
        ("devices.devices.kubeedge.io", "Device", "Namespaced", "v1beta1", false),
        ("devicestatuses.devices.kubeedge.io", "DeviceStatus", "Namespaced", "v1beta1", false),
        ("objectsyncs.reliablesyncs.kubeedge.io", "ObjectSync", "Namespaced", "v1alpha1", true),
    ] {
        let crds = crds();
        let crd = crds.iter().find(|crd| crd.metadata.name.as_deref() == Some(name)).unwrap();
        let names = &crd.spec.names;
        assert_eq!(names.kind, kind);
        assert_eq!(names.list_kind.as_deref(), Some(&*format!("{kind}List")));
        assert_eq!(names.singular.as_deref(), Some(&*kind.to_lowercase()));
        assert_eq!(names.short_names.as_deref().unwrap_or_default(), [""; 0]);
        assert_eq!(crd.spec.scope, scope);
        let stored = &crd.spec.versions[0];
        assert!(stored.served && stored.storage && stored.name == version);
        assert_eq!(stored.subresources.is_some(), status, "{name}");
    }
}

#[test]
fn the_file_for_kubectl_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kubernetes/crds.yaml");
    let file = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        file,
        yaml().unwrap(),
        "write it anew: cloud-bridge crds > deploy/kubernetes/crds.yaml"
    );
}

/// Writes and reads `object` as `Kind`; nothing gets lost.
fn keeps<Kind: serde::de::DeserializeOwned + serde::Serialize>(object: &Json) {
    let typed: Kind = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), *object);
}

#[test]
fn types_keep_what_the_api_server_sends() {
    keeps::<Device>(&serde_json::json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
        "metadata": {"name": "pump", "namespace": "demo"},
        "spec": {
            "deviceModelRef": {"name": "skid"}, "nodeName": "edge-1",
            "protocol": {"protocolName": "modbus-tcp", "configData": {"port": 502, "ip": "x"}},
            "properties": [{
                "name": "speed", "desired": {"value": "1", "metadata": {"type": "int"}}, "reportCycle": 5,
                "pushMethod": {
                    "otel": {"endpointURL": "http://x"}, "mqtt": {"qos": 1},
                    "dbMethod": {"TDEngine": {"TDEngineClientConfig": {"dbName": "d"}},
                        "redis": {"redisClientConfig": {"db": 1, "minIdleConns": 2}}},
                    "anomalyDetection": {"any": "thing"},
                },
            }],
            "methods": [{"name": "run", "propertyNames": ["speed"]}],
            "stateReport": {"reportToCloud": true, "reportCycle": 1},
        },
        "status": {"reportCycle": 1, "of others": [1]},
    }));
    keeps::<DeviceModel>(&serde_json::json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": "skid", "namespace": "demo"},
        "spec": {"protocol": "modbus-tcp", "protocolConfigData": {"a": true}, "properties": [
            {"name": "speed", "type": "INT", "accessMode": "ReadWrite", "maximum": "3", "unit": "rpm"},
        ]},
    }));
    keeps::<DeviceStatus>(&serde_json::json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceStatus",
        "metadata": {"name": "pump", "namespace": "demo"}, "spec": {},
        "status": {"state": "online", "lastOnlineTime": "2026-01-01T00:00:00Z", "extensions": {"x": 1},
            "twins": [{"propertyName": "speed", "reported": {"value": "1", "metadata": {"timestamp": "5"}},
                "observedDesired": {"value": "2"}}]},
    }));
}
