//! What an edge reports of a device: values and state.

use std::collections::BTreeMap;

use device_model::{PropertyName, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::object::Uid;

/// Values of a device. Written as JSON, to the resource [`crate::Resource::TwinReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwinReport {
    /// Names the report; unused.
    #[serde(default)]
    pub event_id: String,
    /// When it was made, by the edge's clock. EdgeCore sends an old report again with its old time.
    #[serde(default, serialize_with = "as_millis", deserialize_with = "from_millis")]
    pub timestamp: Timestamp,
    /// The properties that are reported. Never null: CloudCore dies of it.
    pub twin: BTreeMap<PropertyName, TwinProperty>,
    /// Ours: how far in the life of the twin this report is. KubeEdge's programs ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edgetwin: Option<Progress>,
}

/// One property of a report. All of it is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TwinProperty {
    /// What is desired, as the edge knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Side>,
    /// What the device said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<Side>,
    /// Whether the property may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// `type` and whatever else is said of the property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Value>>,
    /// Counts changes of `expected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<TwinVersion>,
    /// Counts changes of `actual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual_version: Option<TwinVersion>,
}

/// One side of a property.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// As text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `timestamp` in milliseconds, a number here and a text in a DeviceStatus; ours has more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Value>>,
}

impl Side {
    /// When the value was read, if that is said as a number or as the text of one.
    pub fn sampled_at(&self) -> Option<Timestamp> {
        let timestamp = self.metadata.as_ref()?.get("timestamp")?;
        let text = || timestamp.as_str()?.parse().ok();
        timestamp.as_i64().or_else(text).map(Timestamp::from_millis)
    }
}

/// EdgeCore's two counters of one side of a property. The cloud's stays 0 in practice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct TwinVersion {
    /// Changes that the cloud made.
    #[serde(default)]
    pub cloud: u64,
    /// Changes that the edge made; begins anew with a new twin.
    #[serde(default)]
    pub edge: u64,
}

/// Ours, in a report: which part of the life of a twin it tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Which life of the device.
    pub uid: Uid,
    /// Which life of the edge's store.
    pub epoch: u64,
    /// The twin's revision after it.
    pub rev: u64,
    /// Everything that changed after this revision is in the report; 0: it is the whole twin.
    pub base_rev: u64,
}

/// A device's state. Written as text, to the resource [`crate::Resource::StateReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateReport {
    /// Names the report; unused.
    #[serde(default)]
    pub event_id: String,
    /// When it was made, by the edge's clock.
    #[serde(default, serialize_with = "as_millis", deserialize_with = "from_millis")]
    pub timestamp: Timestamp,
    /// What is said.
    pub device: StateSaid,
    /// Ours, as in [`TwinReport`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edgetwin: Option<Progress>,
}

/// A state in a [`StateReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSaid {
    /// The device's name, without its namespace.
    #[serde(default)]
    pub name: String,
    /// `online`, `offline`, `ok`, `unknown`, `unhealthy` in any case; EdgeCore sends others, too.
    #[serde(default)]
    pub state: String,
    /// RFC 3339; empty unless the device is online.
    #[serde(default, rename = "lastOnlineTime")]
    pub last_online_time: String,
}

/// Ours: a device's state, in a report of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    /// As an EdgeCore says it.
    #[serde(flatten)]
    pub said: StateSaid,
    /// Why it is so, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
}

impl AgentState {
    /// Where it stands, beside the [`Progress`] in a report.
    const MEMBER: &str = "state";

    /// `report` with this state in it.
    pub fn beside(&self, report: &TwinReport) -> Value {
        let mut content = super::json(report);
        content["edgetwin"][Self::MEMBER] = super::json(self);
        content
    }

    /// The state in the content of a report of our agent, if it tells one.
    ///
    /// # Errors
    /// There is one, and a member of it is of another type.
    pub fn read(content: &Value) -> Result<Option<Self>, super::ContentError> {
        let parsed;
        let content = match content.as_str().map(serde_json::from_str) {
            Some(Ok(json)) => {
                parsed = json;
                &parsed
            }
            _ => content,
        };
        let state = &content["edgetwin"][Self::MEMBER];
        if state.is_null() { Ok(None) } else { super::read(state).map(Some) }
    }
}

pub(super) fn as_millis<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(time.as_millis())
}

pub(super) fn from_millis<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    i64::deserialize(from).map(Timestamp::from_millis)
}
