//! A device, resolved: its model's defaults merged in, everything checked once. See `resolve.rs` for how.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::options::is_option;
use crate::{
    Access, Config, DataType, Desired, DeviceId, DeviceInstance, DeviceMethod, DeviceProperty,
    InstanceSpec, Metadata, ModelRef, PropertyName, PropertyOptions, Protocol, Scalar,
    StateReportSpec, Value, Visitor,
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
    /// In the instance's order. Devices of one model may have equal ones in common: see [`Device::share`].
    pub properties: Vec<Arc<Property>>,
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
    /// Whether readings go to the cloud. The node has them all the same.
    pub report: bool,
    /// Extra receivers of readings, as they came.
    pub push_method: Option<Json>,
    /// How it is reported, written and judged.
    pub options: PropertyOptions,
}

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
    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().map(Arc::as_ref).find(|property| property.name.as_str() == name)
    }

    /// The protocol's keys without the options, for a driver.
    pub fn driver_config(&self) -> Config {
        self.config.without(is_option)
    }

    /// Takes `other`'s properties in place of equal ones, so that both are kept once.
    ///
    /// A property takes about half a kilobyte, and a thousand devices of one model mostly say the same of it.
    pub fn share(&mut self, other: &Self) {
        for (at, own) in self.properties.iter_mut().enumerate() {
            // Mostly at the same place.
            let same = (other.properties.get(at))
                .filter(|theirs| theirs.name == own.name)
                .or_else(|| other.properties.iter().find(|theirs| theirs.name == own.name));
            if let Some(same) = same.filter(|theirs| *theirs == own) {
                *own = same.clone();
            }
        }
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
                properties: self.properties.iter().map(|one| property(one)).collect(),
                methods: self.methods.clone(),
                state_report: self.state_report.map(|report| StateReportSpec {
                    report_to_cloud: report.enabled,
                    report_cycle: millis(report.cycle),
                }),
            },
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
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
