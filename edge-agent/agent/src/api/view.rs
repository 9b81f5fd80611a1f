//! What the local API says and takes, as types that serialise in both directions: the command line uses the same.
//!
//! Times are RFC 3339 text; values are their text form.

use std::collections::BTreeMap;
use std::fmt;

use device_model::{
    Access, Ack, AckCode, DataType, DeviceId, DeviceState, Generation, PropertyName, Quality,
    QualityCode, Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

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
    /// Whether nothing can be written.
    pub read_only: bool,
}

/// Answer of `GET /v1/devices/{namespace}/{name}/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// Those that changed lately.
    pub properties: Vec<PropertyHistory>,
}

/// What changed lately in one property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PropertyHistory {
    /// Its name.
    pub name: String,
    /// The oldest first.
    pub changes: Vec<PastView>,
}

/// How a property was after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastView {
    /// Number of the first event that told it.
    pub id: u64,
    /// When the agent accepted the change.
    #[schema(value_type = schema::Time)]
    pub time: Timestamp,
    /// The device's revision after it.
    pub rev: u64,
    /// The reported value; with quality `bad` the last good one.
    #[schema(required)]
    pub value: Option<String>,
    /// How far it could be trusted; none before the first reading.
    #[schema(value_type = Option<schema::Quality>, required)]
    pub quality: Option<Quality>,
    /// Why.
    #[schema(value_type = Option<schema::Reason>, required)]
    pub code: Option<QualityCode>,
    /// What was desired.
    #[schema(required)]
    pub desired: Option<String>,
    /// What had become of that.
    #[schema(required)]
    pub ack: Option<AckView>,
}

/// Body of `PATCH /v1/devices/{namespace}/{name}/desired`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object with `properties`")]
pub struct DesiredPatch {
    /// What to write, by property.
    #[schema(schema_with = schema::wishes)]
    pub properties: BTreeMap<String, DesiredValue>,
    /// Refuses the whole patch unless each property's desired version is exactly this (0: nothing desired yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991_u64)]
    pub if_version: Option<u64>,
    /// Give up what is not written within this time, such as `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]{1,9}(ms|s|m|h)$", example = "10m")]
    pub expires_in: Option<String>,
    /// Give up what is not written by then; in place of `expiresIn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
}

/// One value of a [`DesiredPatch`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object with `value`")]
pub struct DesiredValue {
    /// Text, number or truth; `null` withdraws the wish.
    #[schema(value_type = schema::Given)]
    pub value: serde_json::Value,
    /// The same as `ifVersion` of the whole patch, for this property; it counts before that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991_u64)]
    pub if_version: Option<u64>,
}

/// Answer of the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DesiredAnswer {
    /// The device's revision after the write.
    pub rev: u64,
    /// What was accepted, by property.
    pub properties: BTreeMap<String, AcceptedView>,
    /// The time of `wait` passed before every property was finally acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// One accepted desired value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedView {
    /// Its text form; none where the wish was withdrawn.
    #[schema(required)]
    pub value: Option<String>,
    /// Its number.
    #[schema(value_type = schema::Version)]
    pub version: Generation,
    /// What became of it so far.
    #[schema(required)]
    pub ack: Option<AckView>,
}

/// How the properties of a refused patch stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurrentView {
    /// The device's revision.
    #[schema(maximum = 9007199254740991_u64)]
    pub rev: u64,
    /// Those that were to be written.
    pub properties: BTreeMap<String, CurrentProperty>,
}

/// What is desired of a property now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurrentProperty {
    /// Its text form; none where nothing is desired.
    #[schema(required)]
    pub value: Option<String>,
    /// What `ifVersion` would have to be.
    #[schema(value_type = schema::Version)]
    pub version: Generation,
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

/// Answer of `GET /healthz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AliveView {
    /// Always the same.
    pub status: Life,
}

/// The one thing that a process can say of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// It answers.
    Alive,
}

/// A part of the agent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The twins and where they are kept.
    Store,
    /// The border to mappers.
    Dmi,
    /// The broker, and the event bus on it.
    Mqtt,
    /// The folder of models and devices.
    Manifests,
    /// The mappers themselves: whether each device has one.
    Mappers,
    /// This API.
    Api,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Dmi => "dmi",
            Self::Mqtt => "mqtt",
            Self::Manifests => "manifests",
            Self::Mappers => "mappers",
            Self::Api => "api",
        })
    }
}

/// How a part is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PartStatus {
    /// It does all that it is for.
    Ok,
    /// It works on, with less than it should do.
    Degraded,
    /// What it is for does not happen.
    Failed,
}

impl fmt::Display for PartStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        })
    }
}

/// How one part of the agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// Which.
    pub name: Part,
    /// How it is.
    pub status: PartStatus,
    /// Since when it is so.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// Why it is not ok; else empty.
    pub reason: String,
    /// What to do about it; else empty.
    pub remedy: String,
}

/// How the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// All is well.
    Ready,
    /// It works, and something is wrong.
    Degraded,
    /// A part failed: what it is for does not happen.
    Failed,
    /// It was asked to stop.
    Stopping,
}

/// Answer of `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReadyView {
    /// All in all; the HTTP status is 200 with `ready` and `degraded`, else 503.
    pub status: Readiness,
    /// How each part is.
    pub parts: Vec<PartView>,
    /// How many mappers are registered.
    pub mappers: usize,
    /// What is wrong with which manifest, in the agent's eyes or in a mapper's.
    pub problems: Vec<ManifestProblem>,
}

/// Something that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ManifestProblem {
    /// The file's name, or the device's where no file is known.
    pub file: String,
    /// The device that it concerns, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device: Option<DeviceId>,
    /// What is wrong: field, value and remedy.
    pub message: String,
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
