//! Models as the agent gave them, and what their devices have in common.

use std::collections::HashMap;
use std::sync::Arc;

use device_model::{Config, Device, DeviceId, DeviceInstance, DeviceModel};

use super::Refused;

/// The models, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    models: HashMap<(String, String), Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    model: Option<DeviceModel>,
    /// A device asked for it, whatever came of that.
    wanted: bool,
    /// The device that was last made of it: what the next one has in common with it is kept once.
    example: Option<Arc<Device>>,
}

impl Catalogue {
    /// Takes a model. Says whether devices may be others for it, or usable at last.
    pub(super) fn put_model(&mut self, model: DeviceModel) -> bool {
        let key = (model.metadata.namespace.clone(), model.metadata.name.clone());
        let entry = self.models.entry(key).or_default();
        if entry.model.as_ref() == Some(&model) {
            return false;
        }
        (entry.model, entry.example) = (Some(model), None);
        entry.wanted
    }

    pub(super) fn remove_model(&mut self, namespace: &str, name: &str) {
        if let Some(entry) = self.models.get_mut(&(namespace.to_owned(), name.to_owned())) {
            (entry.model, entry.example) = (None, None);
        }
    }

    pub(super) fn resolve(&mut self, instance: &DeviceInstance) -> Result<Arc<Device>, Refused> {
        let name = instance.spec.device_model_ref.as_ref().map_or("", |model| &model.name);
        let key = (instance.metadata.namespace.clone(), name.to_owned());
        let text = format!("{}/{}", key.0, key.1);
        let entry = self.models.entry(key).or_default();
        entry.wanted = true;
        let model = entry.model.as_ref().ok_or(Refused::NoModel(text))?;
        let mut device = Device::resolve(model, instance).map_err(Refused::Invalid)?;
        if let Some(example) = &entry.example {
            device.share(example);
        }
        let device = Arc::new(device);
        entry.example = Some(device.clone());
        Ok(device)
    }
}

/// A device of which nothing but the name makes sense.
pub(super) fn bare(id: DeviceId, protocol: &str) -> Device {
    Device {
        id,
        uid: None,
        model: String::new(),
        node: String::new(),
        protocol: protocol.into(),
        config: Config::default(),
        properties: Vec::new(),
        methods: Vec::new(),
        state_report: None,
        description: String::new(),
    }
}
