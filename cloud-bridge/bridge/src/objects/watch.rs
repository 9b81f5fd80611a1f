//! Keeps [`Objects`] true to the API server.

use std::collections::BTreeSet;
use std::sync::Arc;

use device_model::DeviceId;
use edge_link::Uid;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{DeviceEntry, ModelEntry, ModelId, Objects};
use crate::records::Records;
use crate::watch::{Watched, follow, of_devices};

/// Devices: they go where the records of their statuses are known, so that desired values keep their numbers.
pub(crate) struct Devices {
    pub(crate) objects: Arc<Objects>,
    pub(crate) records: Arc<Records>,
}

impl Devices {
    /// Keeps the devices true until `stop`.
    pub(crate) async fn run(
        self,
        client: kube::Client,
        synced: signal::Sender<bool>,
        stop: CancellationToken,
    ) {
        let known = self.records.clone();
        if stop.run_until_cancelled(known.synced()).await.is_some() {
            let api = Api::all_with(client, &of_devices("Device", "devices"));
            follow(api, &self, &synced, &stop).await;
        }
    }

    /// Takes a device, however it came.
    pub(crate) fn take(&self, device: DynamicObject) -> Option<DeviceId> {
        let id = id(&device)?;
        let uid = device.metadata.uid.as_deref().and_then(Uid::new)?;
        let known = self.objects.device(&id).filter(|known| known.uid == uid);
        let recorded = || self.records.numbers(&id, &uid);
        let numbers = known.map_or_else(recorded, |known| known.numbers.clone());
        match DeviceEntry::read(device, &numbers) {
            Ok(device) => self.objects.put_device(device),
            Err(error) => warn!(device = %id, %error, "a Device cannot be read; mend it"),
        }
        Some(id)
    }
}

impl Watched<DynamicObject> for Devices {
    type Id = DeviceId;

    fn put(&self, object: DynamicObject) -> Option<DeviceId> {
        self.take(object)
    }

    fn remove(&self, object: DynamicObject) {
        let uid = object.metadata.uid.as_deref().and_then(Uid::new);
        if let Some((id, uid)) = id(&object).zip(uid) {
            self.objects.remove_device(&id, &uid);
        }
    }

    fn keep_only(&self, listed: BTreeSet<DeviceId>) {
        self.objects.keep_only_devices(&listed);
    }
}

/// Models.
pub(crate) struct Models(pub(crate) Arc<Objects>);

impl Models {
    /// Keeps the models true until `stop`.
    pub(crate) async fn run(
        self,
        client: kube::Client,
        synced: signal::Sender<bool>,
        stop: CancellationToken,
    ) {
        let api = Api::all_with(client, &of_devices("DeviceModel", "devicemodels"));
        follow(api, &self, &synced, &stop).await;
    }
}

impl Watched<DynamicObject> for Models {
    type Id = ModelId;

    fn put(&self, object: DynamicObject) -> Option<ModelId> {
        let id = model_id(&object);
        match ModelEntry::read(object) {
            Ok(model) => self.0.put_model(model),
            Err(error) => {
                warn!(namespace = %id.0, model = %id.1, %error, "a DeviceModel cannot be read; mend it");
            }
        }
        Some(id)
    }

    fn remove(&self, object: DynamicObject) {
        self.0.remove_model(&model_id(&object));
    }

    fn keep_only(&self, listed: BTreeSet<ModelId>) {
        self.0.keep_only_models(&listed);
    }
}

fn id(object: &DynamicObject) -> Option<DeviceId> {
    DeviceId::new(&object.namespace()?, &object.name_any()).ok()
}

fn model_id(object: &DynamicObject) -> ModelId {
    (object.namespace().unwrap_or_default().into(), object.name_any().into())
}
