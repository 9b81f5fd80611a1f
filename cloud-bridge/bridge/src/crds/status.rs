//! `DeviceStatus`, `devices.kubeedge.io/v1beta1`.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::schema::anything;

/// Nothing is asked of it.
#[expect(clippy::duplicated_attributes, reason = "each column says its type")]
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "devices.kubeedge.io",
    version = "v1beta1",
    kind = "DeviceStatus",
    plural = "devicestatuses",
    namespaced,
    doc = "What the device of the same name last reported.",
    status = "DeviceStatusStatus",
    printcolumn(json_path = ".status.state", name = "State", type_ = "string"),
    printcolumn(json_path = ".status.lastOnlineTime", name = "Last Seen", type_ = "date"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
pub struct DeviceStatusSpec {}

/// What the device last reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceStatusStatus {
    /// By property.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub twins: Option<Vec<Twin>>,
    /// Whether it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// When it last answered, RFC 3339 in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_online_time: Option<String>,
    /// What others keep here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub extensions: Option<Map<String, Json>>,
}

/// One property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Twin {
    /// As in the Device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_name: Option<String>,
    /// What the device says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<TwinValue>,
    /// What the node knows to be wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_desired: Option<TwinValue>,
}

/// A value and what is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TwinValue {
    /// As text.
    pub value: String,
    /// `timestamp` in milliseconds, `type`, and what is said beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
}
