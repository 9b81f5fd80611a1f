//! Models, devices and their twins as objects of `devices.kubeedge.io/v1beta1`.

use device_model::{Config, DeviceModel, Property, Timestamp};
use device_twin::{Twin, TwinProperty};
use serde_json::{Map, Value as JsonValue, json};

use super::{GROUP, Kind, VERSION};

/// A model, as its manifest says it.
pub(super) fn model(model: &DeviceModel) -> JsonValue {
    object(Kind::Model, json!(model.metadata), "spec", json!(model.spec))
}

/// A device as it is in force: the model's defaults merged in, and what is desired now.
pub(super) fn device(twin: &Twin) -> JsonValue {
    let device = twin.device();
    let properties = twin.properties().map(|(property, state)| spec(property, state));
    let properties: Vec<_> = properties.collect();
    let spec = json!({
        "deviceModelRef": {"name": device.model},
        "nodeName": device.node,
        "protocol": {"protocolName": device.protocol, "configData": config(&device.config)},
        "properties": properties,
    });
    object(Kind::Device, metadata(twin), "spec", spec)
}

/// What a device reported, and its state.
pub(super) fn status(twin: &Twin) -> JsonValue {
    let twins: Vec<_> =
        twin.properties().map(|(property, state)| reported(property, state)).collect();
    let mut status = json!({"state": twin.state().as_str(), "twins": twins});
    if let Some(time) = twin.last_online() {
        // Kubernetes' times have whole seconds.
        let seconds = Timestamp::from_millis(time.as_millis().div_euclid(1000) * 1000);
        status["lastOnlineTime"] = seconds.to_string().replace(".000", "").into();
    }
    object(Kind::Status, metadata(twin), "status", status)
}

fn object(kind: Kind, metadata: JsonValue, member: &str, content: JsonValue) -> JsonValue {
    let mut object = Map::new();
    object.insert("apiVersion".into(), format!("{GROUP}/{VERSION}").into());
    object.insert("kind".into(), kind.name().into());
    object.insert("metadata".into(), metadata);
    object.insert(member.into(), content);
    object.into()
}

fn metadata(twin: &Twin) -> JsonValue {
    let id = &twin.device().id;
    json!({
        "namespace": id.namespace(), "name": id.name(), "uid": twin.uid().to_string(),
        "resourceVersion": twin.rev().to_string(),
    })
}

fn spec(property: &Property, state: &TwinProperty) -> JsonValue {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut spec = json!({
        "name": property.name,
        "collectCycle": millis(property.collect_cycle),
        "reportCycle": millis(property.report_cycle),
        "reportToCloud": property.report,
        "visitors": {
            "protocolName": property.visitor_protocol, "configData": config(&property.visitor),
        },
    });
    if let Some(desired) = &state.desired {
        spec["desired"] = json!({"value": desired.value.to_string()});
    }
    spec
}

fn reported(property: &Property, state: &TwinProperty) -> JsonValue {
    let side = |value: String, time: Timestamp| {
        let metadata = json!({
            "timestamp": time.as_millis().to_string(), "type": property.data_type.lower(),
        });
        json!({"value": value, "metadata": metadata})
    };
    let mut twin = json!({"propertyName": property.name});
    if let Some(desired) = &state.desired {
        twin["observedDesired"] = side(desired.value.to_string(), desired.set_at);
    }
    let value =
        state.reported.as_ref().and_then(|reported| Some((reported.value.as_ref()?, reported)));
    if let Some((value, reported)) = value {
        twin["reported"] = side(value.to_string(), reported.sample_time);
    }
    twin
}

fn config(config: &Config) -> JsonValue {
    json!(config.values())
}
