//! What is kept of one Device or DeviceModel.

use std::sync::Arc;

use device_model::{DeviceId, DeviceInstance, IdError, PropertyName};
use edge_link::{Kind, Look, ObjectKey, ResourceError, Uid, Version};
use kube::api::DynamicObject;
use serde_json::Value;

use super::Numbers;

/// Namespace and name of a model.
pub(crate) type ModelId = (Arc<str>, Arc<str>);

/// A Device as the API server has it.
#[derive(Debug)]
pub(crate) struct DeviceEntry {
    pub(crate) id: DeviceId,
    pub(crate) key: ObjectKey,
    pub(crate) uid: Uid,
    pub(crate) version: Version,
    /// `spec.nodeName`; none: it is for no node yet.
    pub(crate) node: Option<Arc<str>>,
    /// `spec.deviceModelRef`, in the device's own namespace.
    pub(crate) model: Option<ModelId>,
    /// `spec.protocol.protocolName`: which mapper it is for.
    pub(crate) protocol: Box<str>,
    /// `spec.properties[].name`.
    pub(crate) properties: Box<[PropertyName]>,
    /// The label `description`, which KubeEdge's lists of devices tell.
    pub(crate) description: Option<Box<str>>,
    pub(crate) numbers: Numbers,
    /// The whole object, without what only the API server needs.
    json: Box<str>,
}

/// A DeviceModel as the API server has it.
#[derive(Debug)]
pub(crate) struct ModelEntry {
    pub(crate) id: ModelId,
    pub(crate) key: ObjectKey,
    pub(crate) uid: Uid,
    pub(crate) version: Version,
    /// `spec.protocol`.
    protocol: Option<Box<str>>,
    json: Box<str>,
}

/// An object that is sent to a node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Device(Arc<DeviceEntry>),
    Model(Arc<ModelEntry>),
    /// The node's own Node, for an EdgeCore.
    Node(Arc<str>),
}

/// An object that nothing can be done with. Later ones of the same name may do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error(transparent)]
    Name(#[from] IdError),
    #[error(transparent)]
    Key(#[from] ResourceError),
    #[error("the API server gave no metadata.uid or no metadata.resourceVersion")]
    Unversioned,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl DeviceEntry {
    /// Reads `device`. `known` are the numbers of its desired values so far.
    pub(crate) fn read(device: DynamicObject, known: &Numbers) -> Result<Self, EntryError> {
        let object = slim(device)?;
        let (uid, version) = life(&object)?;
        let instance: DeviceInstance = serde_json::from_value(object.clone())?;
        let id = instance.metadata.id()?;
        let key = ObjectKey::new(Some(id.namespace()), Kind::DEVICE, id.name())?;
        let spec = instance.spec;
        let named = |name: &String| PropertyName::new(name).ok();
        let texts = spec.properties.iter().filter_map(|property| {
            let text = property.desired.as_ref()?.value.clone();
            // KubeEdge's tools write an empty text where nothing is desired.
            Some((named(&property.name)?, text)).filter(|(_, text)| !text.is_empty())
        });
        let texts: Vec<_> = texts.collect();
        let given = texts.iter().map(|(name, text)| (name, text.as_str()));
        let numbers = Numbers::of(given, version.generation.unwrap_or(0), known);
        let text = |text: &str| (!text.is_empty()).then(|| Arc::<str>::from(text));
        let model = spec.device_model_ref.as_ref().and_then(|model| text(&model.name));
        Ok(Self {
            key,
            uid,
            version,
            node: text(&spec.node_name),
            model: model.map(|name| (id.namespace().into(), name)),
            protocol: spec.protocol.protocol_name.as_str().into(),
            properties: spec.properties.iter().filter_map(|one| named(&one.name)).collect(),
            description: instance.metadata.labels.get("description").map(|one| one.as_str().into()),
            numbers,
            json: object.to_string().into(),
            id,
        })
    }
}

impl ModelEntry {
    /// Reads `model`.
    pub(crate) fn read(model: DynamicObject) -> Result<Self, EntryError> {
        let object = slim(model)?;
        let (uid, version) = life(&object)?;
        let look = Look::at(&object);
        let (namespace, name) =
            (look.namespace.unwrap_or("default"), look.name.unwrap_or_default());
        let key = ObjectKey::new(Some(namespace), Kind::DEVICE_MODEL, name)?;
        let id = (namespace.into(), name.into());
        let protocol = object["spec"]["protocol"].as_str().map(Into::into);
        Ok(Self { id, key, uid, version, protocol, json: object.to_string().into() })
    }

    /// The whole object.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }
}

impl Body {
    /// Which mapper a device or a model is for.
    pub(crate) fn protocol(&self) -> Option<&str> {
        match self {
            Self::Device(device) => Some(&device.protocol),
            Self::Model(model) => model.protocol.as_deref(),
            Self::Node(_) => None,
        }
    }

    /// The object as it is sent; towards an agent of ours with the numbers of its desired values.
    pub(crate) fn content(&self, ours: bool) -> Value {
        let json = match self {
            Self::Device(device) => &*device.json,
            Self::Model(model) => &*model.json,
            Self::Node(json) => json,
        };
        let mut object: Value = serde_json::from_str(json).unwrap_or_default();
        if let (true, Self::Device(device)) = (ours, self)
            && !device.numbers.is_empty()
        {
            let versions = serde_json::json!(device.numbers.versions()).to_string();
            object["metadata"]["annotations"][Numbers::ANNOTATION] = versions.into();
        }
        object
    }
}

/// The object as JSON, without members that only the API server needs and that would be most of its size.
pub(crate) fn slim(mut object: DynamicObject) -> Result<Value, serde_json::Error> {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            object.metadata.annotations = None;
        }
    }
    serde_json::to_value(object)
}

fn life(object: &Value) -> Result<(Uid, Version), EntryError> {
    let look = Look::at(object);
    look.uid.zip(look.version).ok_or(EntryError::Unversioned)
}
