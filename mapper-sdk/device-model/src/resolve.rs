//! From a model and an instance to a [`Device`]: KubeEdge's shallow merge, then every check, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::device::{Desire, Property, StateReport};
use crate::{
    Access, Config, DataType, Desired, Device, DeviceInstance, DeviceModel, DeviceProperty,
    Metadata, ModelProperty, Problem, Problems, PropertyName, PropertyOptions, Scalar, Value,
    Visitor,
};

/// What KubeEdge takes for a cycle of 0.
const DEFAULT_CYCLE: Duration = Duration::from_secs(1);

impl Device {
    /// Merges `model`'s defaults into `instance` and checks everything.
    ///
    /// The merge is KubeEdge's, key by key and one level deep: where the model gives a visitor for a property, the
    /// instance's visitor keys are laid over it and the model's protocol name stands; the model's
    /// `protocolConfigData` is overlaid by the instance's `protocol.configData`; properties that only the model has
    /// are not added. Resolving [`Device::to_instance`] again gives the same device.
    ///
    /// # Errors
    /// Every problem found, each with field, value and remedy.
    pub fn resolve(model: &DeviceModel, instance: &DeviceInstance) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let device = resolve(model, instance, &mut problems);
        match device {
            Some(device) if problems.is_empty() => Ok(device),
            _ => {
                let Metadata { namespace, name, .. } = &instance.metadata;
                Err(Problems { object: format!("Device {namespace}/{name}"), problems })
            }
        }
    }
}

fn resolve(
    model: &DeviceModel,
    instance: &DeviceInstance,
    problems: &mut Vec<Problem>,
) -> Option<Device> {
    let spec = &instance.spec;
    let id = instance
        .metadata
        .id()
        .map_err(|error| {
            problems.push(Problem::new("metadata.name", "", error.to_string(), "name the object"));
        })
        .ok();
    let model_name = spec.device_model_ref.as_ref().map_or("", |reference| &reference.name);
    if model_name.is_empty() {
        problems.push(Problem::new(
            "spec.deviceModelRef.name",
            "",
            "no model named",
            format!("name a DeviceModel of namespace {}", instance.metadata.namespace),
        ));
    } else if (model_name, &instance.metadata.namespace)
        != (model.metadata.name.as_str(), &model.metadata.namespace)
    {
        problems.push(Problem::new(
            "spec.deviceModelRef.name",
            model_name,
            format!("is not {}/{}", model.metadata.namespace, model.metadata.name),
            "name a DeviceModel of the same namespace",
        ));
    }
    if spec.protocol.protocol_name.is_empty() {
        problems.push(Problem::new(
            "spec.protocol.protocolName",
            "",
            "no protocol named",
            "write the protocol of the mapper, such as modbus",
        ));
    }
    let merged = merge(&model.spec.protocol_config_data, &spec.protocol.config_data);
    let config = to_config("spec.protocol.configData", &merged, problems);

    let mut seen = BTreeSet::new();
    let mut properties = Vec::with_capacity(spec.properties.len());
    for property in &spec.properties {
        let path = format!("spec.properties[{}]", property.name);
        if !seen.insert(property.name.as_str()) {
            problems.push(Problem::new(path, "", "stands twice", "keep one property of that name"));
            continue;
        }
        let of_model = model.spec.properties.iter().find(|other| other.name == property.name);
        match of_model {
            Some(of_model) => {
                let resolved = resolve_property(&path, of_model, property, &config, problems);
                properties.extend(resolved.map(Arc::new));
            }
            None => {
                let known: Vec<_> =
                    model.spec.properties.iter().map(|other| other.name.as_str()).collect();
                problems.push(Problem::new(
                    format!("{path}.name"),
                    &property.name,
                    format!("not in DeviceModel {model_name}"),
                    format!("use one of {}, or add it to the model", known.join(", ")),
                ));
            }
        }
    }
    for method in &spec.methods {
        for name in &method.property_names {
            if !seen.contains(name.as_str()) {
                problems.push(Problem::new(
                    format!("spec.methods[{}].propertyNames", method.name),
                    name,
                    "no such property in this device",
                    "name a property of spec.properties",
                ));
            }
        }
    }
    let state_report = spec.state_report.as_ref().map(|report| StateReport {
        enabled: report.report_to_cloud,
        cycle: cycle("spec.stateReport.reportCycle", report.report_cycle, problems),
    });
    Some(Device {
        id: id?,
        uid: instance.metadata.uid.clone(),
        model: model_name.into(),
        node: spec.node_name.clone(),
        protocol: spec.protocol.protocol_name.clone(),
        config,
        properties,
        methods: spec.methods.clone(),
        state_report,
        description: instance.metadata.labels.get("description").cloned().unwrap_or_default(),
    })
}

fn resolve_property(
    path: &str,
    model: &ModelProperty,
    instance: &DeviceProperty,
    device_config: &Config,
    problems: &mut Vec<Problem>,
) -> Option<Property> {
    let before = problems.len();
    let name = PropertyName::new(&instance.name)
        .map_err(|error| {
            problems.push(Problem::new(format!("{path}.name"), "", error.to_string(), "rename it"));
        })
        .ok();
    let in_model = |field: &str| format!("DeviceModel spec.properties[{}].{field}", model.name);
    let data_type = DataType::from_name(&model.data_type);
    if data_type.is_none() {
        let stream = model.data_type.eq_ignore_ascii_case("STREAM");
        problems.push(Problem::new(
            in_model("type"),
            &model.data_type,
            if stream { "video streams are not carried" } else { "unknown type" },
            "use INT, FLOAT, DOUBLE, STRING, BOOLEAN or BYTES",
        ));
    }
    let access = match model.access_mode.as_str() {
        "ReadWrite" => Access::ReadWrite,
        // KubeEdge's mapper framework writes to whatever is not ReadOnly; we do not write by omission.
        "ReadOnly" | "" => Access::ReadOnly,
        other => {
            problems.push(Problem::new(
                in_model("accessMode"),
                other,
                "unknown access mode",
                "use ReadOnly or ReadWrite",
            ));
            Access::ReadOnly
        }
    };
    let data_type = data_type?;
    let mut limit = |field, text: &str| limit(in_model(field), data_type, text, problems);
    let minimum = limit("minimum", &model.minimum);
    let maximum = limit("maximum", &model.maximum);
    if let (Some(low), Some(high)) = (&minimum, &maximum)
        && low.as_f64() > high.as_f64()
    {
        problems.push(Problem::new(
            in_model("minimum"),
            low,
            format!("larger than the maximum {high}"),
            "swap them",
        ));
    }

    let empty = Visitor::default();
    let own = instance.visitors.as_ref().unwrap_or(&empty);
    let (visitor_protocol, merged) = match &model.visitors {
        Some(default) => {
            (default.protocol_name.clone(), merge(&default.config_data, &own.config_data))
        }
        None => (own.protocol_name.clone(), own.config_data.clone()),
    };
    let visitor = to_config(&format!("{path}.visitors.configData"), &merged, problems);
    let options = PropertyOptions::read(&visitor, device_config, data_type, problems);
    let mut property = Property {
        name: name?,
        data_type,
        access,
        minimum,
        maximum,
        unit: model.unit.clone(),
        description: model.description.clone(),
        desired: None,
        visitor_protocol,
        visitor,
        collect_cycle: cycle(&format!("{path}.collectCycle"), instance.collect_cycle, problems),
        report_cycle: cycle(&format!("{path}.reportCycle"), instance.report_cycle, problems),
        report: instance.report_to_cloud.unwrap_or(true),
        push_method: instance.push_method.clone(),
        options,
    };
    property.desired = instance.desired.as_ref().and_then(|desired| {
        let field = format!("{path}.desired.value");
        desire(&field, &property, desired).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    });
    if let Some(value) = &property.options.safe_value
        && let Err(reason) = property.accepts(value)
    {
        let remedy = "write a value that the property accepts, or remove it";
        problems.push(property.visitor.problem("safeValue", reason, remedy));
    }
    (problems.len() == before).then_some(property)
}

/// The desired value, typed and checked. Empty text is no wish, but for text and octets: KubeEdge writes it
/// where nothing is desired.
fn desire(field: &str, property: &Property, desired: &Desired) -> Result<Option<Desire>, Problem> {
    let text = &desired.value;
    let may_be_empty = matches!(property.data_type, DataType::String | DataType::Bytes);
    if text.is_empty() && (!may_be_empty || property.access == Access::ReadOnly) {
        return Ok(None);
    }
    let value = Value::parse(property.data_type, text).map_err(|error| {
        Problem::new(
            field,
            text,
            format!("not of type {}", property.data_type),
            format!("write {}", error.expected),
        )
    })?;
    property.accepts(&value).map_err(|reason| {
        let remedy = if property.access == Access::ReadOnly {
            "remove it, or make the property ReadWrite in the model"
        } else {
            "write a value within the model's range"
        };
        Problem::new(field, text, reason, remedy)
    })?;
    Ok(Some(Desire { value, metadata: desired.metadata.clone() }))
}

fn limit(
    field: String,
    data_type: DataType,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let numeric = matches!(data_type, DataType::Int | DataType::Float | DataType::Double);
    if text.trim().is_empty() || !numeric {
        return None;
    }
    Value::parse(data_type, text)
        .map_err(|error| {
            let remedy = format!("write {}", error.expected);
            problems.push(Problem::new(field, text, "no limit of that type", remedy));
        })
        .ok()
}

fn cycle(field: &str, millis: i64, problems: &mut Vec<Problem>) -> Duration {
    match u64::try_from(millis) {
        Ok(0) => DEFAULT_CYCLE,
        Ok(millis) => Duration::from_millis(millis),
        Err(_) => {
            problems.push(Problem::new(
                field,
                millis,
                "negative",
                "write milliseconds, 0 for 1000",
            ));
            DEFAULT_CYCLE
        }
    }
}
fn merge(defaults: &Map<String, Json>, own: &Map<String, Json>) -> Map<String, Json> {
    let mut merged = defaults.clone();
    merged.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    merged
}

fn to_config(path: &str, data: &Map<String, Json>, problems: &mut Vec<Problem>) -> Config {
    let mut values = BTreeMap::new();
    let mut keys: BTreeMap<String, &str> = BTreeMap::new();
    for (key, value) in data {
        if let Some(twin) = keys.insert(key.to_ascii_lowercase(), key) {
            problems.push(Problem::new(
                format!("{path}.{key}"),
                "",
                format!("stands beside {twin}, which differs only in letter case"),
                "spell the key the same in model and instance",
            ));
        }
        let scalar = match value {
            Json::Bool(truth) => Scalar::Boolean(*truth),
            Json::String(text) => Scalar::String(text.clone()),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Scalar::Int(number),
                None => Scalar::number(number.as_f64().unwrap_or(f64::NAN)),
            },
            // An absent value; KubeEdge would refuse the whole device.
            Json::Null => continue,
            Json::Array(_) | Json::Object(_) => {
                problems.push(Problem::new(
                    format!("{path}.{key}"),
                    value,
                    "nested values cannot reach a mapper",
                    "use flat keys with text, numbers or truths",
                ));
                continue;
            }
        };
        values.insert(key.clone(), scalar);
    }
    Config::new(path, values)
}

#[cfg(test)]
mod tests;
