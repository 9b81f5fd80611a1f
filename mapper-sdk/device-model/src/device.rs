//! A device, resolved: its model's defaults merged in, everything checked once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::options::is_option;
use crate::{
    Access, Config, DataType, Desired, DeviceId, DeviceInstance, DeviceMethod, DeviceModel,
    DeviceProperty, InstanceSpec, Metadata, ModelProperty, ModelRef, Problem, Problems,
    PropertyName, PropertyOptions, Protocol, Scalar, StateReportSpec, Value, Visitor,
};

/// Numbers the desired values of one property, upwards; given by whoever owns desired (`dver` in the rules).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One device, valid by construction.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Namespace and name.
    pub id: DeviceId,
    /// Set where an API server made the object.
    pub uid: Option<String>,
    /// Name of its model, in the same namespace.
    pub model: String,
    /// The edge node it hangs on; empty in files for one node.
    pub node: String,
    /// Decides which mapper has it.
    pub protocol: String,
    /// Connection parameters, the model's defaults merged in; options among them.
    pub config: Config,
    /// In the instance's order.
    pub properties: Vec<Property>,
    /// Named groups of writable properties.
    pub methods: Vec<DeviceMethod>,
    /// How often its state is reported; `None`: when it changes.
    pub state_report: Option<StateReport>,
    /// The label `description`.
    pub description: String,
}

/// How a device's state is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateReport {
    /// Whether it is.
    pub enabled: bool,
    /// How often.
    pub cycle: Duration,
}

/// What a manifest or a DMI message wants a property to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desire {
    /// The value, of the property's type and within its range.
    pub value: Value,
    /// The words beside it: `timestamp`, `type`, and ours.
    pub metadata: BTreeMap<String, String>,
}

/// One property of a [`Device`].
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Unique within the device.
    pub name: PropertyName,
    /// From the model.
    pub data_type: DataType,
    /// From the model.
    pub access: Access,
    /// Smallest accepted value.
    pub minimum: Option<Value>,
    /// Largest accepted value.
    pub maximum: Option<Value>,
    /// For people.
    pub unit: String,
    /// For people.
    pub description: String,
    /// What it should become, if anybody said so.
    pub desired: Option<Desire>,
    /// Protocol of the visitor.
    pub visitor_protocol: String,
    /// How it is addressed, the model's defaults merged in; options among them.
    pub visitor: Config,
    /// Time between two readings.
    pub collect_cycle: Duration,
    /// Time between two pushes.
    pub report_cycle: Duration,
    /// Whether readings are reported.
    pub report: bool,
    /// Extra receivers of readings, as they came.
    pub push_method: Option<Json>,
    /// How it is reported, written and judged.
    pub options: PropertyOptions,
}

/// What KubeEdge takes for a cycle of 0.
const DEFAULT_CYCLE: Duration = Duration::from_secs(1);
/// Rule R24: a value is stale after three report periods, but not before this.
const LEAST_STALE_AFTER: Duration = Duration::from_secs(10);

impl Property {
    /// The visitor's keys without the options, for a driver.
    pub fn driver_config(&self) -> Config {
        self.visitor.without(is_option)
    }

    /// Age at which a value counts as stale (rule R24).
    pub fn stale_after(&self) -> Duration {
        let period = self.options.heartbeat.unwrap_or(self.collect_cycle).max(self.collect_cycle);
        self.options.stale_after.unwrap_or(period * 3).max(if self.options.stale_after.is_some() {
            Duration::ZERO
        } else {
            LEAST_STALE_AFTER
        })
    }

    /// Checks that `value` may be desired: type, access and range.
    ///
    /// # Errors
    /// A sentence that says which of them is hurt, and what would do.
    pub fn accepts(&self, value: &Value) -> Result<(), String> {
        if self.access == Access::ReadOnly {
            return Err(format!("{} is ReadOnly", self.name));
        }
        if value.data_type() != self.data_type {
            return Err(format!(
                "{} takes {}, not {}",
                self.name,
                self.data_type,
                value.data_type()
            ));
        }
        match self.out_of_range(value) {
            Some(range) => Err(format!("outside of {range}")),
            None => Ok(()),
        }
    }

    /// The range as text, if `value` is outside of it.
    pub fn out_of_range(&self, value: &Value) -> Option<String> {
        let number = value.as_f64()?;
        let low = self.minimum.as_ref().and_then(Value::as_f64);
        let high = self.maximum.as_ref().and_then(Value::as_f64);
        let outside = low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high);
        // A NaN is inside of no range.
        let outside = outside || (number.is_nan() && (low.is_some() || high.is_some()));
        outside.then(|| {
            let show =
                |limit: &Option<Value>| limit.as_ref().map_or_else(|| "…".into(), Value::to_string);
            format!("{} to {}", show(&self.minimum), show(&self.maximum))
        })
    }
}

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

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|property| property.name.as_str() == name)
    }

    /// The protocol's keys without the options, for a driver.
    pub fn driver_config(&self) -> Config {
        self.config.without(is_option)
    }

    /// This device as an instance that needs no defaults.
    pub fn to_instance(&self) -> DeviceInstance {
        let property = |property: &Property| DeviceProperty {
            name: property.name.to_string(),
            desired: property.desired.as_ref().map(|desire| Desired {
                value: desire.value.to_string(),
                metadata: desire.metadata.clone(),
            }),
            visitors: Some(Visitor {
                protocol_name: property.visitor_protocol.clone(),
                config_data: to_json(&property.visitor),
            }),
            collect_cycle: millis(property.collect_cycle),
            report_cycle: millis(property.report_cycle),
            report_to_cloud: Some(property.report),
            push_method: property.push_method.clone(),
        };
        let mut labels = BTreeMap::new();
        if !self.description.is_empty() {
            labels.insert("description".into(), self.description.clone());
        }
        DeviceInstance {
            metadata: Metadata {
                name: self.id.name().into(),
                namespace: self.id.namespace().into(),
                uid: self.uid.clone(),
                generation: None,
                labels,
            },
            spec: InstanceSpec {
                device_model_ref: Some(ModelRef { name: self.model.clone() }),
                node_name: self.node.clone(),
                protocol: Protocol {
                    protocol_name: self.protocol.clone(),
                    config_data: to_json(&self.config),
                },
                properties: self.properties.iter().map(property).collect(),
                methods: self.methods.clone(),
                state_report: self.state_report.map(|report| StateReportSpec {
                    report_to_cloud: report.enabled,
                    report_cycle: millis(report.cycle),
                }),
            },
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
                properties.extend(resolve_property(&path, of_model, property, &config, problems));
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

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
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

fn to_json(config: &Config) -> Map<String, Json> {
    let json = |value: &Scalar| match value {
        Scalar::Boolean(truth) => Json::Bool(*truth),
        Scalar::Int(number) => Json::from(*number),
        Scalar::Float(number) => Json::from(*number),
        Scalar::String(text) => Json::String(text.clone()),
    };
    config.iter().map(|(key, value)| (key.to_owned(), json(value))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Manifest, parse_manifests};

    const BOILER: &str = r#"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: boiler, namespace: plant-a}
spec:
  protocol: modbus
  protocolConfigData: {communicateMode: TCP, port: "502", slaveID: 1}
  properties:
    - name: temperature
      type: FLOAT
      accessMode: ReadOnly
      minimum: "-20"
      maximum: "130"
      unit: celsius
      visitors:
        protocolName: modbus
        configData: {register: HoldingRegister, offset: 0, limit: 1, scale: 0.1}
    - name: setpoint
      type: INT
      accessMode: ReadWrite
      minimum: "30"
      maximum: "90"
    - {name: unused, type: BOOLEAN, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: boiler-01, namespace: plant-a, labels: {description: basement}}
spec:
  deviceModelRef: {name: boiler}
  nodeName: edge-1
  protocol:
    protocolName: modbus
    configData: {ip: 192.0.2.10, slaveID: 3}
  properties:
    - name: temperature
      collectCycle: 10000
      reportToCloud: true
      visitors:
        protocolName: ignored
        configData: {offset: 4, deadband: 0.5}
    - name: setpoint
      desired: {value: "65", metadata: {type: int}}
      visitors: {protocolName: modbus, configData: {register: HoldingRegister, offset: 10}}
"#;

    fn parse(text: &str) -> (DeviceModel, DeviceInstance) {
        let mut manifests = parse_manifests(text).unwrap().into_iter();
        match (manifests.next(), manifests.next()) {
            (Some(Manifest::Model(model)), Some(Manifest::Device(device))) => (model, *device),
            other => panic!("{other:?}"),
        }
    }

    fn refused(change: impl Fn(&mut DeviceModel, &mut DeviceInstance)) -> String {
        let (mut model, mut instance) = parse(BOILER);
        change(&mut model, &mut instance);
        Device::resolve(&model, &instance).unwrap_err().to_string()
    }

    #[test]
    fn the_model_gives_defaults_and_the_instance_wins_key_by_key() {
        let (model, instance) = parse(BOILER);
        let device = Device::resolve(&model, &instance).unwrap();
        assert_eq!(device.config.get("slaveID"), Some(&Scalar::Int(3)));
        assert_eq!(device.config.get("port"), Some(&Scalar::String("502".into())));
        let temperature = device.property("temperature").unwrap();
        assert_eq!(temperature.visitor_protocol, "modbus", "the model's name stands");
        assert_eq!(temperature.visitor.get("offset"), Some(&Scalar::Int(4)));
        assert_eq!(temperature.visitor.get("scale"), Some(&Scalar::Float(0.1)));
        assert_eq!(temperature.options.deadband, Some(0.5));
        assert!(temperature.driver_config().get("deadband").is_none());
        assert_eq!(temperature.collect_cycle, Duration::from_secs(10));
        assert_eq!(temperature.stale_after(), Duration::from_secs(30));
        assert_eq!(
            device.property("setpoint").unwrap().desired.as_ref().unwrap().value,
            Value::Int(65)
        );
        assert!(device.property("unused").is_none(), "what only the model has is not added");
    }

    #[test]
    fn each_fault_names_field_value_and_remedy() {
        let fault = refused(|_, device| {
            device.spec.properties[1].desired =
                Some(Desired { value: "95".into(), ..Default::default() })
        });
        assert_eq!(
            fault,
            "Device plant-a/boiler-01: spec.properties[setpoint].desired.value = \"95\": outside of 30 to 90; write a value within the model's range"
        );
        let fault = refused(|_, device| {
            device.spec.properties[1].desired =
                Some(Desired { value: "hot".into(), ..Default::default() })
        });
        assert!(
            fault.contains("desired.value = \"hot\": not of type INT; write a whole number"),
            "{fault}"
        );
        let fault = refused(|_, device| {
            device.spec.properties[0].desired =
                Some(Desired { value: "20".into(), ..Default::default() })
        });
        assert!(fault.contains("temperature is ReadOnly; remove it"), "{fault}");
        let fault = refused(|_, device| device.spec.properties[1].name = "speed".into());
        assert!(fault.contains("spec.properties[speed].name = \"speed\": not in DeviceModel boiler; use one of temperature"), "{fault}");
        let fault = refused(|model, _| model.spec.properties[0].data_type = "STREAM".into());
        assert!(fault.contains("video streams are not carried"), "{fault}");
        let fault = refused(|_, device| {
            device.spec.protocol.config_data.insert("tcp".into(), serde_json::json!({"ip": "x"}));
        });
        assert!(fault.contains("spec.protocol.configData.tcp"), "{fault}");
        let fault = refused(|_, device| {
            device.spec.protocol.config_data.insert("SlaveId".into(), serde_json::json!(4));
        });
        assert!(fault.contains("differs only in letter case"), "{fault}");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let fault = refused(|model, device| {
            model.spec.properties[1].access_mode = "Sometimes".into();
            device.spec.properties[0].collect_cycle = -1;
        });
        assert!(fault.contains("Sometimes") && fault.contains("collectCycle"), "{fault}");
    }

    #[test]
    fn an_empty_desired_is_no_wish_but_for_text() {
        let (model, mut instance) = parse(BOILER);
        instance.spec.properties[1].desired = Some(Desired::default());
        let device = Device::resolve(&model, &instance).unwrap();
        assert_eq!(device.property("setpoint").unwrap().desired, None);
    }

    fn scalar() -> impl Strategy<Value = Json> {
        prop_oneof![
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            (-1e6f64..1e6).prop_map(Json::from),
            "[a-z0-9.]{0,8}".prop_map(Json::from),
        ]
    }

    fn config() -> impl Strategy<Value = Map<String, Json>> {
        prop::collection::btree_map("[a-z]{1,4}", scalar(), 0..4)
            .prop_map(|map| map.into_iter().collect())
    }

    proptest! {
        #[test]
        fn resolving_is_idempotent(
            defaults in config(), own in config(), visitor in config(), own_visitor in config(),
            desired in prop::option::of(30i64..90), cycle in 0i64..100_000,
        ) {
            let (mut model, mut instance) = parse(BOILER);
            model.spec.protocol_config_data = defaults;
            instance.spec.protocol.config_data = own;
            model.spec.properties[1].visitors = Some(Visitor { protocol_name: "m".into(), config_data: visitor });
            let property = &mut instance.spec.properties[1];
            property.visitors = Some(Visitor { protocol_name: "i".into(), config_data: own_visitor });
            property.desired = desired.map(|value| Desired { value: value.to_string(), ..Default::default() });
            property.collect_cycle = cycle;
            let once = Device::resolve(&model, &instance).unwrap();
            let twice = Device::resolve(&model, &once.to_instance()).unwrap();
            prop_assert_eq!(once, twice);
        }
    }
}
