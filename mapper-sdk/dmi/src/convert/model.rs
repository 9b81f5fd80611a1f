//! Device models.

use device_model::{DeviceModel, Metadata, ModelProperty, ModelSpec};

use crate::proto;

/// The part of a model that DMI carries: its properties. Default visitors and the like are merged into the devices
/// instead; commands have no source.
pub fn model_to_proto(model: &DeviceModel) -> proto::DeviceModel {
    let property = |property: &ModelProperty| proto::ModelProperty {
        name: property.name.clone(),
        description: property.description.clone(),
        r#type: property.data_type.clone(),
        access_mode: property.access_mode.clone(),
        minimum: property.minimum.clone(),
        maximum: property.maximum.clone(),
        unit: property.unit.clone(),
    };
    proto::DeviceModel {
        name: model.metadata.name.clone(),
        namespace: model.metadata.namespace.clone(),
        spec: Some(proto::DeviceModelSpec {
            properties: model.spec.properties.iter().map(property).collect(),
            commands: Vec::new(),
        }),
    }
}

/// The model as a manifest would hold it, without the defaults, which the devices have already.
///
/// A peer of before KubeEdge 1.16 names no namespace; that is `default`.
pub fn model_from_proto(model: proto::DeviceModel) -> DeviceModel {
    let property = |property: proto::ModelProperty| ModelProperty {
        name: property.name,
        description: property.description,
        data_type: property.r#type,
        access_mode: property.access_mode,
        minimum: property.minimum,
        maximum: property.maximum,
        unit: property.unit,
        visitors: None,
    };
    let properties = model.spec.map(|spec| spec.properties).unwrap_or_default();
    DeviceModel {
        metadata: metadata(model.namespace, model.name),
        spec: ModelSpec {
            properties: properties.into_iter().map(property).collect(),
            ..ModelSpec::default()
        },
    }
}

pub(super) fn metadata(namespace: String, name: String) -> Metadata {
    let namespace = if namespace.is_empty() { "default".into() } else { namespace };
    Metadata { name, namespace, ..Metadata::default() }
}
