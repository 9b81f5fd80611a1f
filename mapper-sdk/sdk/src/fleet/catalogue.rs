//! Models and instances as the agent gave them.

use std::collections::{BTreeMap, HashMap};

use device_model::{Config, Device, DeviceId, DeviceInstance, DeviceModel};

use super::Refused;

/// Kept so that a change of a model can be applied to its devices.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    models: HashMap<(String, String), DeviceModel>,
    instances: BTreeMap<DeviceId, DeviceInstance>,
}

impl Catalogue {
    /// Takes a model. Gives the instances that it changes.
    pub(super) fn put_model(&mut self, model: DeviceModel) -> Vec<DeviceInstance> {
        let key = (model.metadata.namespace.clone(), model.metadata.name.clone());
        if self.models.get(&key) == Some(&model) {
            return Vec::new();
        }
        self.models.insert(key.clone(), model);
        let uses = |instance: &&DeviceInstance| {
            instance.metadata.namespace == key.0
                && instance.spec.device_model_ref.as_ref().is_some_and(|model| model.name == key.1)
        };
        self.instances.values().filter(uses).cloned().collect()
    }

    pub(super) fn remove_model(&mut self, namespace: &str, name: &str) {
        self.models.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(super) fn put_instance(&mut self, id: DeviceId, instance: DeviceInstance) {
        self.instances.insert(id, instance);
    }

    pub(super) fn remove_instance(&mut self, id: &DeviceId) {
        self.instances.remove(id);
    }

    pub(super) fn resolve(&self, instance: &DeviceInstance) -> Result<Device, Refused> {
        let name = instance.spec.device_model_ref.as_ref().map_or("", |model| &model.name);
        let key = (instance.metadata.namespace.clone(), name.to_owned());
        match self.models.get(&key) {
            Some(model) => Device::resolve(model, instance).map_err(Refused::Invalid),
            None => Err(Refused::NoModel(format!("{}/{}", key.0, key.1))),
        }
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
