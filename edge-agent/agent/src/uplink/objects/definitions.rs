//! What the cloud's objects define, all together: devices resolved with their models, and what the twins are to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use device_model::{Device, DeviceId, DeviceModel};
use device_twin::{Command, Uid as Life};
use edge_link::{Kind, ObjectKey, Uid};
use serde_json::Value as Json;

use super::super::body::Body;
use crate::catalogue::{self, ModelId};
use crate::manifests::Fault;

/// Models and devices as the cloud has them, and as they are in force.
#[derive(Default)]
pub(super) struct Definitions {
    /// Models that cannot be read, and why.
    unread: BTreeMap<ModelId, String>,
    devices: BTreeMap<DeviceId, Entry>,
    force: catalogue::Definitions,
}

#[derive(Default)]
struct Entry {
    /// None: what came cannot be read.
    body: Option<Arc<Body>>,
    /// What the twins know of it.
    told: Option<Arc<Body>>,
    /// Why it is not in force as the cloud has it.
    problem: Option<String>,
}

/// One command for the twins.
pub(super) struct Step {
    /// Which device it is about; none: many.
    pub(super) device: Option<DeviceId>,
    pub(super) command: Command,
    /// The life that is over with it.
    pub(super) over: Option<Life>,
}

impl Step {
    /// About many devices.
    pub(super) fn all(command: Command) -> Self {
        Self { device: None, command, over: None }
    }

    /// The end of a life of `device`.
    pub(super) fn end(device: DeviceId, uid: &Uid) -> Self {
        let command = Command::Remove(device.clone());
        Self { device: Some(device), command, over: Some(Life::new(uid.as_str())) }
    }

    fn of(device: &DeviceId, command: Command) -> Self {
        Self { device: Some(device.clone()), command, over: None }
    }
}

impl Definitions {
    /// What is in force.
    pub(super) fn in_force(&self) -> &catalogue::Definitions {
        &self.force
    }

    /// What the cloud says and cannot be.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let of_device =
            |(id, entry): (&DeviceId, &Entry)| Some(Fault::of_device(id, entry.problem.clone()?));
        let of_model = |((namespace, name), problem): (&ModelId, &String)| Fault {
            file: format!("DeviceModel {namespace}/{name}"),
            device: None,
            message: problem.clone(),
        };
        let devices = self.devices.iter().filter_map(of_device);
        self.unread.iter().map(of_model).chain(devices).collect()
    }

    /// The cloud has this object, as `body`, which is fitted for keeping; the devices that it touches.
    pub(super) fn put(&mut self, key: &ObjectKey, body: &mut Json) -> BTreeSet<DeviceId> {
        if *key.kind() == Kind::DEVICE_MODEL {
            let id = model_id(key);
            match serde_path_to_error::deserialize::<_, DeviceModel>(&*body) {
                Ok(model) => {
                    self.unread.remove(&id);
                    self.force.models.insert(id.clone(), Arc::new(model));
                }
                Err(error) => {
                    self.unread.insert(id.clone(), format!("{}: {}", error.path(), error.inner()));
                }
            }
            return self.of_model(&id);
        }
        let Some(id) = key.device() else { return BTreeSet::new() };
        let entry = self.devices.entry(id.clone()).or_default();
        match Body::read(body, entry.body.as_deref()) {
            Ok(body) => entry.body = Some(Arc::new(body)),
            Err(problem) => entry.problem = Some(problem),
        }
        BTreeSet::from([id])
    }

    /// The cloud has this object no more; the devices that it touches beside the one that it is.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> BTreeSet<DeviceId> {
        if *key.kind() == Kind::DEVICE_MODEL {
            let id = model_id(key);
            self.force.models.remove(&id);
            self.unread.remove(&id);
            return self.of_model(&id);
        }
        if let Some(id) = key.device() {
            self.devices.remove(&id);
            self.force.devices.remove(&id);
        }
        BTreeSet::new()
    }

    fn of_model(&self, model: &ModelId) -> BTreeSet<DeviceId> {
        let has_it = |(_, entry): &(&DeviceId, &Entry)| {
            entry.body.as_ref().is_some_and(|body| model_of(body) == *model)
        };
        self.devices.iter().filter(has_it).map(|(id, _)| id.clone()).collect()
    }

    /// What the twins are to be told of `devices`. Those in `adopted` take over what this node had of that name.
    pub(super) fn steps(
        &mut self,
        devices: impl IntoIterator<Item = DeviceId>,
        adopted: &BTreeSet<DeviceId>,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        for id in devices {
            let Some(entry) = self.devices.get_mut(&id) else { continue };
            let Some(body) = entry.body.clone() else { continue };
            match resolve(&self.force, &body) {
                Ok(device) => {
                    let device = Arc::new(device);
                    let wishes = body.wishes(&device, entry.told.as_deref());
                    let load = match adopted.contains(&id) {
                        true => Command::Adopt(device.clone()),
                        false => Command::Load(device.clone()),
                    };
                    steps.push(Step::of(&id, load));
                    steps.extend(
                        wishes.into_iter().map(|wish| Step::of(&id, Command::Desire(wish))),
                    );
                    if entry.problem.take().is_some() {
                        steps.push(Step::of(&id, judged(&id, None)));
                    }
                    self.force.devices.insert(id, device);
                }
                Err(problem) => {
                    // It stays as it was; people see it at the twin, if there is one.
                    if self.force.devices.contains_key(&id) {
                        steps.push(Step::of(&id, judged(&id, Some(&problem))));
                    }
                    entry.problem = Some(problem);
                }
            }
        }
        steps
    }

    /// The twins know `device` as it is now.
    pub(super) fn told(&mut self, device: &DeviceId) {
        if let Some(entry) = self.devices.get_mut(device) {
            entry.told.clone_from(&entry.body);
        }
    }

    /// The twins do not take what the cloud says of `device`.
    pub(super) fn refuse(&mut self, device: &DeviceId, problem: String) {
        if let Some(entry) = self.devices.get_mut(device) {
            entry.problem = Some(problem);
        }
    }
}

fn judged(device: &DeviceId, problem: Option<&str>) -> Command {
    Command::Judge { device: device.clone(), problem: problem.map(Into::into) }
}

fn resolve(force: &catalogue::Definitions, body: &Body) -> Result<Device, String> {
    let (namespace, name) = model_of(body);
    match force.models.get(&(namespace.clone(), name.clone())) {
        Some(model) => Device::resolve(model, &body.instance).map_err(|error| error.to_string()),
        None => Err(format!(
            "spec.deviceModelRef.name = \"{name}\": the cloud has sent no such DeviceModel of namespace {namespace}; apply it there"
        )),
    }
}

fn model_of(body: &Body) -> ModelId {
    let model = body.instance.spec.device_model_ref.as_ref();
    let name = model.map(|model| model.name.clone()).unwrap_or_default();
    (body.instance.metadata.namespace.clone(), name)
}

fn model_id(key: &ObjectKey) -> ModelId {
    (key.namespace().unwrap_or("default").to_owned(), key.name().to_owned())
}
