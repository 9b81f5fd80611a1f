//! Whether the API server may take an object. Pure.

use std::collections::BTreeSet;

use device_model::{
    Device, DeviceInstance, DeviceModel, DeviceProperty, InstanceSpec, Metadata, ModelRef, Problem,
    Problems,
};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, Operation};
use serde_json::{Value as Json, json};

use super::Definitions;

/// Devices that a refusal names before it only counts them.
const NAMED: usize = 10;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allowed,
    /// It may, and who asked for it should know this.
    Warned(Vec<String>),
    /// It may not: field, value and remedy of everything that is wrong.
    Refused(String),
}

/// Judges what is asked. Other kinds than Device and DeviceModel are let pass.
pub fn judge(request: &AdmissionRequest<DynamicObject>, definitions: &dyn Definitions) -> Verdict {
    let namespace = request.namespace.as_deref().unwrap_or("default");
    match (request.kind.kind.as_str(), &request.operation) {
        ("DeviceModel", Operation::Delete) => deletion(namespace, &request.name, definitions),
        ("Device", Operation::Create | Operation::Update) if is_news(request) => {
            device(request, namespace, definitions)
        }
        ("DeviceModel", Operation::Create | Operation::Update) if is_news(request) => {
            model(request, namespace)
        }
        _ => Verdict::Allowed,
    }
}

/// Whether the spec is another than before. Labels, a status or the end of an object that went wrong long ago must not be
/// held up by it.
fn is_news(request: &AdmissionRequest<DynamicObject>) -> bool {
    let spec = |object: &Option<DynamicObject>| {
        object.as_ref().map(|object| object.data.get("spec").cloned())
    };
    let leaving =
        request.object.as_ref().is_some_and(|object| object.metadata.deletion_timestamp.is_some());
    !leaving && (request.old_object.is_none() || spec(&request.object) != spec(&request.old_object))
}

fn device(
    request: &AdmissionRequest<DynamicObject>,
    namespace: &str,
    definitions: &dyn Definitions,
) -> Verdict {
    let instance: DeviceInstance = match read(request, namespace) {
        Ok(instance) => instance,
        Err(reason) => return Verdict::Refused(reason),
    };
    let name = instance.spec.device_model_ref.as_ref().map_or("", |model| model.name.as_str());
    if name.is_empty() {
        // Without a model nothing is known of its properties.
        let bare = DeviceInstance {
            spec: InstanceSpec { properties: Vec::new(), methods: Vec::new(), ..instance.spec },
            ..instance
        };
        return refused(Device::resolve(&DeviceModel::default(), &bare));
    }
    match definitions.model(namespace, name) {
        Some(model) => refused(Device::resolve(&model, &instance)),
        // kubectl applies a file in its own order, and so does a user.
        None => Verdict::Warned(vec![format!(
            "spec.deviceModelRef.name = \"{name}\": there is no DeviceModel of that name in namespace {namespace} yet; \
             the device is checked on its node when there is one"
        )]),
    }
}

/// A model is checked by a device that has all of its properties.
fn model(request: &AdmissionRequest<DynamicObject>, namespace: &str) -> Verdict {
    let model: DeviceModel = match read(request, namespace) {
        Ok(model) => model,
        Err(reason) => return Verdict::Refused(reason),
    };
    let names: BTreeSet<&str> =
        model.spec.properties.iter().map(|property| property.name.as_str()).collect();
    let probe = DeviceInstance {
        metadata: Metadata { name: "probe".into(), ..model.metadata.clone() },
        spec: InstanceSpec {
            device_model_ref: Some(ModelRef { name: model.metadata.name.clone() }),
            properties: names
                .iter()
                .map(|name| DeviceProperty { name: (*name).into(), ..DeviceProperty::default() })
                .collect(),
            ..InstanceSpec::default()
        },
    };
    let found = Device::resolve(&model, &probe).err().map(|problems| problems.problems);
    let mut problems: Vec<Problem> = found.unwrap_or_default();
    // What the probe itself lacks is nobody's mistake.
    problems.retain_mut(|problem| match problem.field.strip_prefix("DeviceModel ") {
        Some(field) => {
            problem.field = field.into();
            true
        }
        None => false,
    });
    let mut seen = BTreeSet::new();
    for property in &model.spec.properties {
        let field = || format!("spec.properties[{}]", property.name);
        if property.name.is_empty() {
            problems.push(Problem::new(
                "spec.properties[].name",
                "",
                "no name",
                "name the property",
            ));
        } else if !seen.insert(&property.name) {
            problems.push(Problem::new(
                field(),
                "",
                "stands twice",
                "keep one property of that name",
            ));
        }
    }
    if problems.is_empty() {
        return Verdict::Allowed;
    }
    let object = format!("DeviceModel {namespace}/{}", model.metadata.name);
    Verdict::Refused(Problems { object, problems }.to_string())
}

fn deletion(namespace: &str, model: &str, definitions: &dyn Definitions) -> Verdict {
    let mut devices = definitions.devices_using(namespace, model);
    if devices.is_empty() {
        return Verdict::Allowed;
    }
    devices.sort();
    let count = devices.len();
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    devices.truncate(NAMED);
    let named = devices.join(", ");
    Verdict::Refused(format!(
        "DeviceModel {namespace}/{model} is named by {count} Device(s): {named}{more}; delete them first, or let them name \
         another model"
    ))
}

fn refused(resolved: Result<Device, Problems>) -> Verdict {
    match resolved {
        Ok(_) => Verdict::Allowed,
        Err(problems) => Verdict::Refused(problems.to_string()),
    }
}

/// The object as its type; its name and namespace are the request's where it has none yet.
fn read<T: serde::de::DeserializeOwned>(
    request: &AdmissionRequest<DynamicObject>,
    namespace: &str,
) -> Result<T, String> {
    let object = request.object.as_ref().ok_or("the request holds no object")?;
    let metadata = &object.metadata;
    // `generateName` makes the name later.
    let name = metadata.name.as_deref().or(metadata.generate_name.as_deref());
    let name = name.unwrap_or(&request.name).trim_end_matches('-');
    let whole = json!({
        "metadata": {"name": name, "namespace": namespace, "labels": metadata.labels},
        "spec": object.data.get("spec").cloned().unwrap_or_else(|| json!({})),
    });
    let whole = without_null(whole);
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let reason = error.inner().to_string();
        let quoted = reason.contains("expected a string");
        let remedy = if quoted { "; put the value in quotes" } else { "" };
        format!("{} {namespace}/{name}: {}: {reason}{remedy}", request.kind.kind, error.path())
    })
}

/// An absent member where there is a null one.
fn without_null(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let members = members.into_iter().filter(|(_, value)| !value.is_null());
            members.map(|(key, value)| (key, without_null(value))).collect()
        }
        Json::Array(items) => items.into_iter().map(without_null).collect(),
        other => other,
    }
}
