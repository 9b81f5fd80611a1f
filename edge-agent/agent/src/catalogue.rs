//! What is defined: every device, resolved, and every model. Written by the manifests, read by the borders.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use device_model::{Device, DeviceId, DeviceModel};

/// Namespace and name of a model.
pub(crate) type ModelId = (String, String);

/// The present definitions. Each read sees one state of them as a whole.
#[derive(Debug, Default)]
pub(crate) struct Catalogue(RwLock<Definitions>);

/// Devices and models.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definitions {
    pub(crate) devices: HashMap<DeviceId, Arc<Device>>,
    pub(crate) models: HashMap<ModelId, Arc<DeviceModel>>,
}

impl Catalogue {
    fn read(&self) -> RwLockReadGuard<'_, Definitions> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One device.
    pub(crate) fn device(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.read().devices.get(id).cloned()
    }

    /// Every device, in the order of their names.
    pub(crate) fn devices(&self) -> Vec<Arc<Device>> {
        let mut devices: Vec<_> = self.read().devices.values().cloned().collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        devices
    }

    /// The devices that `wanted` picks, in any order.
    pub(crate) fn find(&self, wanted: impl Fn(&Device) -> bool) -> Vec<Arc<Device>> {
        self.read().devices.values().filter(|device| wanted(device)).cloned().collect()
    }

    /// Every model, in the order of their names.
    pub(crate) fn models(&self) -> Vec<Arc<DeviceModel>> {
        let models = self.read().models.clone();
        let mut models: Vec<_> = models.into_iter().collect();
        models.sort_by(|(a, _), (b, _)| a.cmp(b));
        models.into_iter().map(|(_, model)| model).collect()
    }

    /// The model of a device.
    pub(crate) fn model_of(&self, device: &Device) -> Option<Arc<DeviceModel>> {
        let id = (device.id.namespace().to_owned(), device.model.clone());
        self.read().models.get(&id).cloned()
    }

    /// Puts other definitions in place of the present ones.
    pub(crate) fn replace(&self, definitions: Definitions) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = definitions;
    }
}
