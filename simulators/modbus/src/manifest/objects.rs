//! The Kubernetes objects in a YAML text, with the members that matter here.

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::problem::{Problem, SpecError};

pub(super) struct Objects {
    pub(super) models: Vec<ModelObject>,
    pub(super) devices: Vec<DeviceObject>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
}

impl Metadata {
    pub(super) fn id(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

fn default_namespace() -> String {
    "default".into()
}

#[derive(Debug, Deserialize)]
pub(super) struct ModelObject {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: ModelSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ModelSpec {
    pub(super) protocol_config_data: Map<String, Json>,
    pub(super) properties: Vec<ModelProperty>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ModelProperty {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) data_type: String,
    /// A text in KubeEdge; YAML written without quotes gives a number.
    pub(super) minimum: Json,
    pub(super) maximum: Json,
    pub(super) visitors: Visitor,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeviceObject {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: DeviceSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeviceSpec {
    pub(super) device_model_ref: ModelRef,
    pub(super) protocol: Protocol,
    pub(super) properties: Vec<DeviceProperty>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ModelRef {
    pub(super) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Protocol {
    pub(super) protocol_name: String,
    pub(super) config_data: Map<String, Json>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeviceProperty {
    pub(super) name: String,
    pub(super) visitors: Visitor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Visitor {
    pub(super) config_data: Map<String, Json>,
}

/// Every DeviceModel and Device in `text`; other objects are passed over.
pub(super) fn read(text: &str) -> Result<Objects, SpecError> {
    let documents: Vec<Json> = serde_saphyr::from_multiple(text)
        .map_err(|error| SpecError::one(Problem::new("YAML", error, "correct the text there")))?;
    let mut objects = Objects { models: Vec::new(), devices: Vec::new() };
    let mut problems = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let kind = document.get("kind").and_then(Json::as_str).unwrap_or_default().to_owned();
        let name = document.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default();
        let field = format!("{kind} {name} (document {})", index + 1);
        let version = document.get("apiVersion").and_then(Json::as_str).unwrap_or_default();
        let ours = matches!(kind.as_str(), "DeviceModel" | "Device");
        if ours && version != "devices.kubeedge.io/v1beta1" {
            let remedy = "write devices.kubeedge.io/v1beta1";
            problems.push(Problem::new(format!("{field} apiVersion"), version, remedy));
            continue;
        }
        let read = match kind.as_str() {
            "DeviceModel" => {
                serde_json::from_value(document).map(|model| objects.models.push(model))
            }
            "Device" => serde_json::from_value(document).map(|device| objects.devices.push(device)),
            _ => Ok(()),
        };
        if let Err(error) = read {
            problems.push(Problem::new(field, error, "correct this member"));
        }
    }
    SpecError::unless_empty(problems).map(|()| objects)
}
