//! Devices and their models as the API server has them, by node: what each node should have.
//!
//! [`watch`] keeps this true to the API server. Sessions follow their own node: they are told that something changed, and
//! look at all of it, so that no order of events and no lost event can lead them astray.

mod device;
mod number;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use device_model::DeviceId;
use edge_link::{ObjectKey, Uid, Version};
use tokio::sync::watch as signal;

pub(crate) use device::{Body, DeviceEntry, ModelEntry, ModelId, slim};
pub(crate) use number::Numbers;
pub(crate) use watch::{Devices, Models};

/// Everything that is defined. Each read sees one state of it.
#[derive(Debug, Default)]
pub(crate) struct Objects(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    devices: HashMap<DeviceId, Arc<DeviceEntry>>,
    models: HashMap<ModelId, Arc<ModelEntry>>,
    nodes: HashMap<Arc<str>, NodeDevices>,
    /// Which devices name a model, whether it exists or not.
    users: HashMap<ModelId, BTreeSet<DeviceId>>,
}

/// The devices of one node.
#[derive(Debug)]
struct NodeDevices {
    devices: BTreeSet<DeviceId>,
    changed: signal::Sender<()>,
}

/// One object that a node should have.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: ObjectKey,
    pub(crate) uid: Uid,
    pub(crate) version: Version,
    pub(crate) body: Body,
}

impl Objects {
    /// Marks whenever an object of `node` may have changed.
    pub(crate) fn follow(&self, node: &Arc<str>) -> signal::Receiver<()> {
        self.write().node(node).changed.subscribe()
    }

    /// Everything that `node` should have; models before the devices that need them.
    pub(crate) fn of_node(&self, node: &str) -> Vec<Wanted> {
        let inner = self.read();
        let Some(of_node) = inner.nodes.get(node) else { return Vec::new() };
        let devices = || of_node.devices.iter().filter_map(|id| inner.devices.get(id));
        let models: BTreeSet<_> = devices().filter_map(|device| device.model.clone()).collect();
        let models = models.iter().filter_map(|id| inner.models.get(id));
        let models = models.map(Wanted::of_model);
        models.chain(devices().map(Wanted::of_device)).collect()
    }

    /// The device of that name.
    pub(crate) fn device(&self, id: &DeviceId) -> Option<Arc<DeviceEntry>> {
        self.read().devices.get(id).cloned()
    }

    /// The model of that name.
    pub(crate) fn model(&self, id: &ModelId) -> Option<Arc<ModelEntry>> {
        self.read().models.get(id).cloned()
    }

    /// The devices of `node`.
    pub(crate) fn devices_of(&self, node: &str) -> Vec<Arc<DeviceEntry>> {
        let inner = self.read();
        let ids = inner.nodes.get(node).into_iter().flat_map(|of_node| &of_node.devices);
        ids.filter_map(|id| inner.devices.get(id).cloned()).collect()
    }

    /// Devices that name that model.
    pub(crate) fn users(&self, model: &ModelId) -> Vec<DeviceId> {
        self.read().users.get(model).into_iter().flatten().cloned().collect()
    }

    /// How many devices and models there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.read();
        (inner.devices.len(), inner.models.len())
    }

    /// Takes a device as the API server has it. An older state than the one that is known, as a slow answer may bring it,
    /// changes nothing.
    pub(crate) fn put_device(&self, device: DeviceEntry) {
        let mut inner = self.write();
        let known = inner.devices.get(&device.id).filter(|known| known.uid == device.uid);
        if known.is_some_and(|known| device.version.is_older_than(&known.version)) {
            return;
        }
        let id = device.id.clone();
        inner.unlink(&id);
        let device = Arc::new(device);
        if let Some(node) = &device.node {
            inner.node(node).devices.insert(id.clone());
        }
        if let Some(model) = &device.model {
            inner.users.entry(model.clone()).or_default().insert(id.clone());
        }
        inner.devices.insert(id, device.clone());
        inner.tell(device.node.as_ref());
    }

    /// That life of a device is over.
    pub(crate) fn remove_device(&self, id: &DeviceId, uid: &Uid) {
        let mut inner = self.write();
        if inner.devices.get(id).is_some_and(|known| known.uid == *uid) {
            inner.unlink(id);
            inner.devices.remove(id);
        }
    }

    /// After a list: devices that are not in it are gone.
    pub(crate) fn keep_only_devices(&self, listed: &BTreeSet<DeviceId>) {
        let mut inner = self.write();
        let gone: Vec<_> =
            inner.devices.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        for id in gone {
            inner.unlink(&id);
            inner.devices.remove(&id);
        }
    }

    /// Takes a model as the API server has it.
    pub(crate) fn put_model(&self, model: ModelEntry) {
        let mut inner = self.write();
        let id = model.id.clone();
        inner.models.insert(id.clone(), Arc::new(model));
        inner.tell_users(&id);
    }

    /// A model is gone.
    pub(crate) fn remove_model(&self, id: &ModelId) {
        let mut inner = self.write();
        inner.models.remove(id);
        inner.tell_users(id);
    }

    /// After a list: models that are not in it are gone.
    pub(crate) fn keep_only_models(&self, listed: &BTreeSet<ModelId>) {
        let mut inner = self.write();
        let gone: Vec<_> =
            inner.models.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        for id in gone {
            inner.models.remove(&id);
            inner.tell_users(&id);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn node(&mut self, node: &Arc<str>) -> &mut NodeDevices {
        self.nodes.entry(node.clone()).or_insert_with(|| NodeDevices {
            devices: BTreeSet::new(),
            changed: signal::Sender::new(()),
        })
    }

    /// Takes a device out of all indexes, and tells its node.
    fn unlink(&mut self, id: &DeviceId) {
        let Some(device) = self.devices.get(id).cloned() else { return };
        if let Some(node) = &device.node
            && let Some(of_node) = self.nodes.get_mut(node)
        {
            of_node.devices.remove(id);
            of_node.changed.send_replace(());
            if of_node.devices.is_empty() && of_node.changed.is_closed() {
                self.nodes.remove(node);
            }
        }
        if let Some(model) = &device.model
            && let Some(users) = self.users.get_mut(model)
        {
            users.remove(id);
            if users.is_empty() {
                self.users.remove(model);
            }
        }
    }

    fn tell(&self, node: Option<&Arc<str>>) {
        if let Some(of_node) = node.and_then(|node| self.nodes.get(node)) {
            of_node.changed.send_replace(());
        }
    }

    fn tell_users(&self, model: &ModelId) {
        let users = self.users.get(model).into_iter().flatten();
        let nodes: BTreeSet<_> =
            users.filter_map(|id| self.devices.get(id)?.node.as_ref()).collect();
        for node in nodes {
            self.tell(Some(node));
        }
    }
}

impl Wanted {
    fn of_device(device: &Arc<DeviceEntry>) -> Self {
        Self {
            key: device.key.clone(),
            uid: device.uid.clone(),
            version: device.version.clone(),
            body: Body::Device(device.clone()),
        }
    }

    fn of_model(model: &Arc<ModelEntry>) -> Self {
        Self {
            key: model.key.clone(),
            uid: model.uid.clone(),
            version: model.version.clone(),
            body: Body::Model(model.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
