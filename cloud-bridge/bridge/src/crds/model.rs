//! `DeviceModel`, `devices.kubeedge.io/v1beta1`.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::Visitor;
use super::schema::anything;

/// A kind of device.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "devices.kubeedge.io",
    version = "v1beta1",
    kind = "DeviceModel",
    namespaced,
    doc = "A kind of device: its properties, and the defaults of how its devices are reached.",
    printcolumn(json_path = ".spec.protocol", name = "Protocol", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceModelSpec {
    /// What such a device has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Vec<ModelProperty>>,
    /// Which mapper the model is sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Defaults of the devices' `protocol.configData`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub protocol_config_data: Option<Map<String, Json>>,
}

/// One property of a kind of device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelProperty {
    /// Unique within the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The type of its values.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub data_type: Option<PropertyType>,
    /// Whether it can be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
    /// The smallest value, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<String>,
    /// The largest value, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<String>,
    /// Unit of measure, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How devices' properties of this name are reached by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitors: Option<Visitor>,
}

/// The type of a property's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(
    missing_docs,
    reason = "the words of the API; a description of one would change the schema"
)]
pub enum PropertyType {
    Int,
    Float,
    Double,
    String,
    Boolean,
    Bytes,
    Stream,
}

/// Whether a property can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    missing_docs,
    reason = "the words of the API; a description of one would change the schema"
)]
pub enum AccessMode {
    ReadWrite,
    ReadOnly,
}
