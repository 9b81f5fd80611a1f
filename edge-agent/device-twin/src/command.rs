//! What can be asked of the twins.

use std::sync::Arc;

use device_model::{
    Ack, Device, DeviceId, DeviceState, Quality, QualityCode, Reading, Timestamp, Value,
};

use crate::{Uid, Writer};

/// One request. Each is applied as a whole, but for reports, which are judged property by property.
#[derive(Clone, Debug)]
pub enum Command {
    /// This device exists, as described. New: it gets a twin. Known: its twin is fitted to the description, and the
    /// manifest's desired values count where their text is not the one that was last loaded.
    Load(Arc<Device>),
    /// The same of a device of the cloud, where one that this node had on its own, under the same name, is taken for it:
    /// its twin goes on in another life, and its reported values are doubtful until they are read again.
    Adopt(Arc<Device>),
    /// This device is gone.
    Remove(DeviceId),
    /// Its mapper says something about a device.
    Report(Report),
    /// Somebody wants something of a device.
    Desire(Desire),
    /// An app says something about a device and wants something of it.
    Update(Update),
    /// The mapper of these devices is gone: nobody can tell their state. Their values go stale in their own time.
    Lose {
        /// Which.
        devices: Vec<DeviceId>,
        /// Why nobody can tell, in a few words for a person.
        reason: Arc<str>,
    },
    /// What its mapper makes of a device's description.
    Judge {
        /// Which.
        device: DeviceId,
        /// What is wrong, with field, value and remedy; `None`: nothing, the description is in force.
        problem: Option<Arc<str>>,
    },
    /// This store may be an old copy: reported values that were not heard since the start are doubtful until they are read
    /// again.
    Doubt,
    /// Time passed: what expired expires, what is stale becomes so, what waits to be synced is synced.
    Tick,
}

/// A value from outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// In its text form; it is parsed with the property's type.
    Text(String),
    /// Typed already; its type must be the property's.
    Value(Value),
}

impl From<&str> for Given {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Given {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Value> for Given {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

/// Names a request, so that a repeat of it is answered without being done again (rule R7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// Who asks.
    pub client: Arc<str>,
    /// The client's own number of the request.
    pub id: Arc<str>,
}

/// What a mapper says about one device. All of it that counts is committed with one revision.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which device.
    pub device: DeviceId,
    /// Which life of it; `None`: the present one.
    pub uid: Option<Uid>,
    /// For repeats.
    pub event: Option<EventKey>,
    /// Accept only if the twin has this revision (rule R5).
    pub if_version: Option<u64>,
    /// Whether acknowledgements come from the mapper.
    pub acks: AckSource,
    /// The device's state, if this report speaks of it.
    pub state: Option<DeviceState>,
    /// Why it is in that state, in a few words for a person; `None`: the mapper does not say.
    pub reason: Option<Arc<str>>,
    /// What it says about single properties.
    pub properties: Vec<PropertyReport>,
}

impl Report {
    /// An empty report about `device`.
    pub fn of(device: DeviceId) -> Self {
        Self {
            device,
            uid: None,
            event: None,
            if_version: None,
            acks: AckSource::Mapper,
            state: None,
            reason: None,
            properties: Vec::new(),
        }
    }

    /// The same with a state.
    #[must_use]
    pub fn with_state(mut self, state: DeviceState) -> Self {
        self.state = Some(state);
        self
    }

    /// The same with a reason of the state.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same with one property more.
    #[must_use]
    pub fn with(mut self, property: PropertyReport) -> Self {
        self.properties.push(property);
        self
    }
}

/// Who says what became of a desired value (rule R16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckSource {
    /// The mapper acknowledges.
    #[default]
    Mapper,
    /// The mapper knows no acknowledgements: a good reading that equals the desired value, after the mapper echoed
    /// it, counts as verified.
    Derived,
}

/// What a mapper says about one property. Each part may be absent.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyReport {
    /// Its name as it came.
    pub property: String,
    /// A reading.
    pub reading: Option<GivenReading>,
    /// What became of a desired value.
    pub ack: Option<Ack>,
    /// Text of the desired value that the mapper holds: an acknowledgement "received", never a write (rule R12).
    pub echo: Option<String>,
}

impl PropertyReport {
    /// Nothing yet about `property`.
    pub fn of(property: impl Into<String>) -> Self {
        Self { property: property.into(), reading: None, ack: None, echo: None }
    }

    /// A reading of `property`.
    pub fn reading(property: impl Into<String>, reading: impl Into<GivenReading>) -> Self {
        Self { reading: Some(reading.into()), ..Self::of(property) }
    }

    /// An acknowledgement about `property`.
    pub fn ack(property: impl Into<String>, ack: Ack) -> Self {
        Self { ack: Some(ack), ..Self::of(property) }
    }

    /// An echo of the desired value of `property`.
    pub fn echo(property: impl Into<String>, text: impl Into<String>) -> Self {
        Self { echo: Some(text.into()), ..Self::of(property) }
    }
}

/// A reading whose value may still be text.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenReading {
    /// The value; needed unless the quality is bad, ignored if it is.
    pub value: Option<Given>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why.
    pub code: QualityCode,
    /// The device's own time.
    pub source_time: Option<Timestamp>,
    /// When the mapper had the device's answer.
    pub sample_time: Timestamp,
}

impl From<Reading> for GivenReading {
    fn from(reading: Reading) -> Self {
        let Reading { value, quality, code, source_time, sample_time } = reading;
        Self { value: value.map(Given::Value), quality, code, source_time, sample_time }
    }
}

/// What somebody wants of one device: done as a whole or not at all (rule R6).
#[derive(Clone, Debug)]
pub struct Desire {
    /// Which device.
    pub device: DeviceId,
    /// Which life of it; `None`: the present one.
    pub uid: Option<Uid>,
    /// For repeats.
    pub event: Option<EventKey>,
    /// Who wants it.
    pub writer: Writer,
    /// Accept only if the twin has this revision (rule R5).
    pub if_version: Option<u64>,
    /// When it no longer needs to be written.
    pub expires_at: Option<Timestamp>,
    /// What is wanted.
    pub properties: Vec<DesireProperty>,
}

impl Desire {
    /// An empty wish of `writer`.
    pub fn of(device: DeviceId, writer: Writer) -> Self {
        Self {
            device,
            uid: None,
            event: None,
            writer,
            if_version: None,
            expires_at: None,
            properties: Vec::new(),
        }
    }

    /// The same with `value` wanted of `property`.
    #[must_use]
    pub fn with(mut self, property: impl Into<String>, value: impl Into<Given>) -> Self {
        self.properties.push(DesireProperty::of(property, Some(value.into())));
        self
    }

    /// The same with nothing wanted of `property` any more.
    #[must_use]
    pub fn without(mut self, property: impl Into<String>) -> Self {
        self.properties.push(DesireProperty::of(property, None));
        self
    }
}

/// What is wanted of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct DesireProperty {
    /// Its name as it came.
    pub property: String,
    /// `None`: nothing any more. An empty text is a value, of the types that have one (rule R8).
    pub value: Option<Given>,
    /// Accept only if the present desired value has this generation (rule R5).
    pub if_version: Option<u64>,
    /// The cloud's own number of this value; one that is not above the last is dropped.
    pub cloud_version: Option<u64>,
}

impl DesireProperty {
    /// Without conditions.
    pub fn of(property: impl Into<String>, value: Option<Given>) -> Self {
        Self { property: property.into(), value, if_version: None, cloud_version: None }
    }
}

/// What an app says of one device in one message: taken as a whole or not at all (rule R6).
#[derive(Clone, Debug)]
pub struct Update {
    /// Which device.
    pub device: DeviceId,
    /// Who wants what is desired.
    pub writer: Writer,
    /// What is reported. An app knows no acknowledgements: they are derived ([`AckSource::Derived`]).
    pub reported: Vec<PropertyReport>,
    /// What is desired, after the report.
    pub desired: Vec<DesireProperty>,
}
