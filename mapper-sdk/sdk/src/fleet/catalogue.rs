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

#[derive(Debug)]
struct Entry {
    model: DeviceModel,
    /// The device that was last made of it: what the next one has in common with it is kept once.
    example: Option<Arc<Device>>,
}

impl Catalogue {
    /// Takes a model. Says whether it changes one that devices were made of.
    pub(super) fn put_model(&mut self, model: DeviceModel) -> bool {
        let key = (model.metadata.namespace.clone(), model.metadata.name.clone());
        match self.models.get(&key) {
            Some(known) if known.model == model => false,
            known => {
                let used = known.is_some_and(|known| known.example.is_some());
                self.models.insert(key, Entry { model, example: None });
                used
            }
        }
    }

    pub(super) fn remove_model(&mut self, namespace: &str, name: &str) {
        self.models.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn resolve(&mut self, instance: &DeviceInstance) -> Result<Arc<Device>, Refused> {
        let name = instance.spec.device_model_ref.as_ref().map_or("", |model| &model.name);
        let key = (instance.metadata.namespace.clone(), name.to_owned());
        let Some(Entry { model, example }) = self.models.get_mut(&key) else {
            return Err(Refused::NoModel(format!("{}/{}", key.0, key.1)));
        };
        let mut device = Device::resolve(model, instance).map_err(Refused::Invalid)?;
        if let Some(example) = example {
            device.share(example);
        }
        let device = Arc::new(device);
        *example = Some(device.clone());
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
