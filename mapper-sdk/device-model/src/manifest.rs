//! DeviceModel and Device exactly as they come in: the `devices.kubeedge.io/v1beta1` resources.
//!
//! Nothing is merged or checked here but the shape; [`crate::Device::resolve`] does that. Members that this
//! crate does not know are ignored, so manifests written for any KubeEdge release load as they stand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{DeviceId, IdError};

/// The one `apiVersion` that is read.
pub const API_VERSION: &str = "devices.kubeedge.io/v1beta1";

/// The part of an object's metadata that matters here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Object name, unique within its namespace and kind.
    #[serde(default)]
    pub name: String,
    /// Kubernetes namespace; `default` where the manifest names none.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Set by the API server; absent in files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Counts changes of the spec; set by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Free labels; `description` reaches the edge in membership messages.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn default_namespace() -> String {
    "default".into()
}

impl Metadata {
    /// Namespace and name as an identity.
    ///
    /// # Errors
    /// One of them is not a Kubernetes name.
    pub fn id(&self) -> Result<DeviceId, IdError> {
        DeviceId::new(&self.namespace, &self.name)
    }
}

/// A kind of device: its properties and the defaults of its protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceModel {
    /// Whose model this is.
    pub metadata: Metadata,
    /// What such a device has.
    #[serde(default)]
    pub spec: ModelSpec,
}

/// `DeviceModel.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelSpec {
    /// Which mapper the model is sent to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Defaults of the devices' `protocol.configData`; an instance's key wins.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub protocol_config_data: Map<String, Json>,
    /// What can be read and written.
    #[serde(default)]
    pub properties: Vec<ModelProperty>,
}

/// `DeviceModel.spec.properties[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelProperty {
    /// Unique within the model.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `INT`, `FLOAT`, `DOUBLE`, `STRING`, `BOOLEAN`, `BYTES` (or `STREAM`, which is refused).
    #[serde(rename = "type")]
    pub data_type: String,
    /// `ReadWrite` or `ReadOnly`.
    pub access_mode: String,
    /// Smallest accepted value, as text; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub minimum: String,
    /// Largest accepted value, as text; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub maximum: String,
    /// Unit of measure, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Default visitor of the devices' property of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitors: Option<Visitor>,
}

/// One real device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceInstance {
    /// Which device.
    pub metadata: Metadata,
    /// Where it is and what is wanted of it.
    #[serde(default)]
    pub spec: InstanceSpec,
}

/// `Device.spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceSpec {
    /// The model, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_model_ref: Option<ModelRef>,
    /// The edge node that the device hangs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// How the device is reached.
    pub protocol: Protocol,
    /// What is collected and desired of it.
    pub properties: Vec<DeviceProperty>,
    /// Named groups of properties that may be written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<DeviceMethod>,
    /// Whether and how often the device's state is reported (KubeEdge 1.23 on).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_report: Option<StateReportSpec>,
}

/// `spec.deviceModelRef`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelRef {
    /// Name of the DeviceModel.
    pub name: String,
}

/// `spec.protocol`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Protocol {
    /// Decides which mapper gets the device; case matters.
    pub protocol_name: String,
    /// Connection parameters, scalars only.
    pub config_data: Map<String, Json>,
}

/// `spec.properties[].visitors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Visitor {
    /// Protocol of the visitor, normally the device's.
    pub protocol_name: String,
    /// How the property is addressed, scalars only.
    pub config_data: Map<String, Json>,
}

/// `Device.spec.properties[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceProperty {
    /// Unique within the device; must exist in the model.
    pub name: String,
    /// What the property should become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Desired>,
    /// How the property is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitors: Option<Visitor>,
    /// Milliseconds between two readings; 0 means 1000.
    #[serde(skip_serializing_if = "is_zero")]
    pub collect_cycle: i64,
    /// Milliseconds between two pushes; 0 means 1000.
    #[serde(skip_serializing_if = "is_zero")]
    pub report_cycle: i64,
    /// Whether readings are reported at all; absent means yes here, though KubeEdge's default is no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_to_cloud: Option<bool>,
    /// Extra receivers of readings, kept as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_method: Option<Json>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `spec.properties[].desired`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desired {
    /// The value as text.
    pub value: String,
    /// Free words; mappers use `timestamp` and `type`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// `spec.methods[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceMethod {
    /// Unique within the device.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The properties that it may write.
    pub property_names: Vec<String>,
}

/// `spec.stateReport`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateReportSpec {
    /// Whether the state is reported.
    pub report_to_cloud: bool,
    /// Milliseconds between two reports; 0 means 1000.
    pub report_cycle: i64,
}

/// One object of a manifest file.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    /// A kind of device.
    Model(DeviceModel),
    /// One device.
    Device(Box<DeviceInstance>),
}

/// Why a manifest file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML.
    #[error("not valid YAML: {0}")]
    Syntax(String),
    /// A document of another API.
    #[error(
        "document {document}: {kind} of {api_version} is not read here; write apiVersion: {API_VERSION} and kind: Device or DeviceModel"
    )]
    Kind {
        /// Position in the file, from 1.
        document: usize,
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A field of the wrong shape.
    #[error("document {document}: {field}: {reason}")]
    Shape {
        /// Position in the file, from 1.
        document: usize,
        /// Path of the field.
        field: String,
        /// What was found and expected.
        reason: String,
    },
}

/// Reads every DeviceModel and Device of a YAML file with any number of documents.
///
/// # Errors
/// The text is not YAML, a document is something else, or a field has the wrong shape. Nothing is read in part.
pub fn parse_manifests(text: &str) -> Result<Vec<Manifest>, ManifestError> {
    let documents: Vec<Json> = serde_saphyr::from_multiple(text)
        .map_err(|error| ManifestError::Syntax(error.to_string()))?;
    documents
        .into_iter()
        .enumerate()
        .filter(|(_, document)| !document.is_null())
        .map(|(index, document)| parse_document(index + 1, document))
        .collect()
}

fn parse_document(document: usize, json: Json) -> Result<Manifest, ManifestError> {
    let word = |key| json.get(key).and_then(Json::as_str).unwrap_or("(none)").to_owned();
    let (api_version, kind) = (word("apiVersion"), word("kind"));
    if api_version != API_VERSION {
        return Err(ManifestError::Kind { document, api_version, kind });
    }
    match kind.as_str() {
        "DeviceModel" => shaped(document, json).map(Manifest::Model),
        "Device" => shaped(document, json).map(|device| Manifest::Device(Box::new(device))),
        _ => Err(ManifestError::Kind { document, api_version, kind }),
    }
}

fn shaped<T: serde::de::DeserializeOwned>(document: usize, json: Json) -> Result<T, ManifestError> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let reason = error.inner().to_string();
        let quoted = reason.contains("expected a string");
        let remedy = if quoted { "; put the value in quotes" } else { "" };
        ManifestError::Shape {
            document,
            field: error.path().to_string(),
            reason: format!("{reason}{remedy}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_where_text_belongs_is_named_with_its_place() {
        let error = parse_manifests(
            "apiVersion: devices.kubeedge.io/v1beta1\nkind: Device\nmetadata: {name: pump}\nspec:\n  properties:\n  - name: speed\n    desired: {value: 1450}\n",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "document 1: spec.properties[0].desired.value: invalid type: integer `1450`, expected a string; put the value in quotes"
        );
    }

    #[test]
    fn other_kinds_and_broken_yaml_are_refused() {
        assert!(matches!(
            parse_manifests("apiVersion: v1\nkind: Pod\n"),
            Err(ManifestError::Kind { document: 1, .. })
        ));
        assert!(matches!(parse_manifests("a: [1"), Err(ManifestError::Syntax(_))));
        assert_eq!(parse_manifests("---\n---\n").unwrap(), vec![]);
    }
}
