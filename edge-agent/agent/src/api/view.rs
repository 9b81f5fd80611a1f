//! What the local API says and takes, as types that serialise in both directions: the command line uses the same.
//!
//! Times are RFC 3339 text; values are their text form.

mod cloud;
mod frame;
mod history;
mod ready;
mod subscription;
mod wish;

use device_model::{
    Access, Ack, AckCode, DataType, DeviceId, DeviceState, Generation, PropertyName, Quality,
    QualityCode, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;
pub use cloud::{ObjectList, ObjectView, OutboxView, WaitingView};
pub use frame::{FrameDirection, FrameView};
pub use history::{HistoryView, PastView, PropertyHistory};
pub use ready::{
    AliveView, Life, ManifestProblem, Part, PartStatus, PartView, Readiness, ReadyView,
};
pub use subscription::{
    BrokerName, MessageEvent, MessageView, MissedView, SubscriptionList, SubscriptionState,
    SubscriptionView,
};
pub use wish::{
    AcceptedView, CurrentProperty, CurrentView, DesiredAnswer, DesiredPatch, DesiredValue,
};

/// Answer of `GET /v1/devices`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceList {
    /// Every device, by namespace and name.
    pub devices: Vec<DeviceView>,
}

/// One device with its twin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name within it.
    pub name: String,
    /// Decides which mapper has it.
    pub protocol: String,
    /// Name of its DeviceModel.
    pub model: String,
    /// For people; may be empty.
    #[serde(default)]
    #[schema(required)]
    pub description: String,
    /// What its mapper says about it.
    #[schema(value_type = schema::State)]
    pub state: DeviceState,
    /// Since when it is in that state.
    #[schema(value_type = schema::Time)]
    pub state_since: Timestamp,
    /// Why it is, in a few words for a person; none where nobody said.
    #[serde(default)]
    #[schema(required)]
    pub state_reason: Option<String>,
    /// What is wrong with its description, which is not in force then: the one before is, if there was one.
    #[serde(default)]
    #[schema(required)]
    pub problem: Option<String>,
    /// The mapper that has it now.
    #[schema(required)]
    pub mapper: Option<String>,
    /// Revision: counts every change of this device.
    pub rev: u64,
    /// Changes when the store was lost or restored: revisions of two epochs do not compare.
    pub epoch: u64,
    /// Changes when the device was removed and made again under the same name.
    pub incarnation: String,
    /// Readings that were taken since the agent started, or the device was described anew; also those that only said
    /// the same again.
    #[serde(default)]
    pub readings: u64,
    /// In the manifest's order.
    pub properties: Vec<PropertyView>,
}

impl DeviceView {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&PropertyView> {
        self.properties.iter().find(|property| property.name == name)
    }
}

/// One property with its twin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PropertyView {
    /// Unique within the device.
    pub name: String,
    /// Its type (`INT`, `FLOAT`, …).
    #[serde(rename = "type")]
    #[schema(value_type = schema::DataType)]
    pub data_type: DataType,
    /// Who may change it.
    #[schema(value_type = schema::Access)]
    pub access: Access,
    /// For people; may be empty.
    #[serde(default)]
    #[schema(required)]
    pub unit: String,
    /// Smallest accepted value.
    #[schema(required)]
    pub minimum: Option<String>,
    /// Largest accepted value.
    #[schema(required)]
    pub maximum: Option<String>,
    /// What somebody wants it to be.
    #[schema(required)]
    pub desired: Option<DesiredView>,
    /// What became of that wish.
    #[schema(required)]
    pub ack: Option<AckView>,
    /// What the device last said.
    #[schema(required)]
    pub reported: Option<ReportedView>,
    /// Whether the newest desired value has its final acknowledgement (also true where nothing is desired).
    pub settled: bool,
    /// Whether reported equals desired, within the property's tolerance (also true where nothing is desired).
    pub in_sync: bool,
}

/// A desired value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DesiredView {
    /// Its text form.
    pub value: String,
    /// Counts the accepted desired values of this property.
    #[schema(value_type = schema::Version)]
    pub version: Generation,
    /// When it was accepted.
    #[schema(value_type = schema::Time)]
    pub set_at: Timestamp,
    /// When it ends: what is not written by then is given up (410).
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>, required)]
    pub expires_at: Option<Timestamp>,
    /// Who wrote it: `manifest`, `local:api`, `local:mqtt` or `cloud`.
    pub writer: String,
    /// Why `setAt` means nothing, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Doubt>,
}

/// An acknowledgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AckView {
    /// The desired version that it speaks of.
    #[schema(value_type = schema::Version)]
    pub version: Generation,
    /// The number, such as 209.
    #[schema(value_type = schema::Code)]
    pub code: AckCode,
    /// The same as a word, such as `verified`.
    pub word: String,
    /// What the mapper adds; may be empty.
    #[serde(default)]
    #[schema(required)]
    pub detail: String,
    /// When it came in.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>, required)]
    pub at: Option<Timestamp>,
}

impl AckView {
    /// The acknowledgement that came in at `at`.
    pub fn new(ack: &Ack, at: Option<Timestamp>) -> Self {
        Self {
            version: ack.generation,
            code: ack.code,
            word: ack.code.word().into(),
            detail: ack.detail.clone(),
            at,
        }
    }
}

/// A reported value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedView {
    /// Its text form; with quality `bad` the last good one, none if there never was one.
    #[schema(required)]
    pub value: Option<String>,
    /// How far it can be trusted.
    #[schema(value_type = schema::Quality)]
    pub quality: Quality,
    /// Why, such as `timeout`.
    #[schema(value_type = schema::Reason)]
    pub code: QualityCode,
    /// When the device says it measured it.
    #[schema(value_type = Option<schema::Time>, required)]
    pub source_time: Option<Timestamp>,
    /// When the mapper read it.
    #[schema(value_type = schema::Time)]
    pub sample_time: Timestamp,
    /// When the agent accepted it.
    #[schema(value_type = schema::Time)]
    pub received_at: Timestamp,
    /// Counts the reports of this property.
    pub version: u64,
    /// Why `sampleTime` and `receivedAt` mean nothing, where they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Doubt>,
}

/// Why a time means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Doubt {
    /// The machine's clock had not been set yet.
    Unsynced,
}

impl Doubt {
    /// What is wrong with a time that the machine's clock has shown, if anything.
    pub fn of(time: Timestamp) -> Option<Self> {
        (!time.is_of_a_set_clock()).then_some(Self::Unsynced)
    }

    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsynced => "unsynced",
        }
    }
}

/// Answer of `GET /v1/limits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// Octets of a request's body.
    pub body_octets: usize,
    /// Octets of one value.
    pub value_octets: usize,
    /// Properties of one device.
    pub properties: usize,
    /// Octets of all values of one device.
    pub twin_octets: usize,
    /// The largest version and revision.
    pub version: u64,
    /// The longest `wait`.
    pub wait_seconds: u64,
    /// The longest `expiresIn`.
    pub expiry_seconds: u64,
    /// Changes that are kept of each property.
    pub history_changes: usize,
    /// Octets of all that is kept of changes.
    pub history_octets: usize,
    /// Subscriptions to topics of applications.
    pub subscriptions: usize,
    /// Messages of applications that are kept.
    pub messages: usize,
    /// Octets of the largest message of which the payload is kept.
    pub message_octets: usize,
    /// Whether nothing can be written.
    pub read_only: bool,
}

/// An error answer: what, where and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{}{message}{}", prefix(field), suffix(remedy))]
pub struct ErrorView {
    /// The HTTP status.
    pub code: u16,
    /// Path of the field at fault; may be empty.
    #[serde(default)]
    #[schema(required)]
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    #[serde(default)]
    #[schema(required)]
    pub remedy: String,
    /// How things stand, where `ifVersion` was no longer true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Box<CurrentView>>,
}

fn prefix(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

fn suffix(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!("; {remedy}") }
}

/// What an [`Event`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A reading came in, or its quality changed.
    Reported,
    /// A desired value was accepted.
    Desired,
    /// A desired value was acknowledged.
    Ack,
    /// The device's state changed, or the reason of it.
    State,
    /// The device's mapper refuses its description, or takes it at last.
    Problem,
    /// The device is new, or its definition changed.
    Added,
    /// The device is gone.
    Removed,
}

/// One change of a twin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Grows with each event, also over restarts of the agent; give it to `since` to go on from here.
    pub id: u64,
    /// `namespace/name`.
    #[schema(value_type = schema::DeviceId)]
    pub device: DeviceId,
    /// Which property; none for changes of the device as a whole.
    #[schema(value_type = Option<String>, required)]
    pub property: Option<PropertyName>,
    /// What happened.
    pub kind: EventKind,
    /// The reported value after the change.
    #[schema(required)]
    pub reported: Option<String>,
    /// The desired value after the change.
    #[schema(required)]
    pub desired: Option<String>,
    /// Quality of the reported value.
    #[schema(value_type = Option<schema::Quality>, required)]
    pub quality: Option<Quality>,
    /// Reason of that quality.
    #[schema(value_type = Option<schema::Reason>, required)]
    pub code: Option<QualityCode>,
    /// The newest acknowledgement.
    #[schema(required)]
    pub ack: Option<AckView>,
    /// The device's state after the change.
    #[schema(value_type = schema::State)]
    pub state: DeviceState,
    /// Of a change of the state: why, where somebody gave a reason. Of a problem: what is wrong; none: it is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the agent accepted the change.
    #[schema(value_type = schema::Time)]
    pub time: Timestamp,
    /// The device's revision after the change.
    pub rev: u64,
}
