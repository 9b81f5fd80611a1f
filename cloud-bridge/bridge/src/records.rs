//! What DeviceStatuses record besides values: how far each twin is written, and the numbers of desired values.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock};

use device_model::DeviceId;
use edge_link::Uid;
use edge_link::content::Point;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::objects::Numbers;
use crate::status::document;
use crate::watch::{Watched, follow, of_devices};

/// The records of all devices, as fresh as the watch is: whoever writes looks at the API server itself.
#[derive(Debug)]
pub(crate) struct Records {
    of: RwLock<HashMap<DeviceId, Record>>,
    synced: signal::Sender<bool>,
}

#[derive(Debug)]
struct Record {
    point: Option<Point>,
    /// Which life of the device it is of.
    owner: Option<Uid>,
    numbers: Numbers,
}

impl Records {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self { of: RwLock::default(), synced: signal::Sender::new(false) }
    }

    /// Waits until everything is known that there was at the start.
    pub(crate) async fn synced(&self) {
        // The sender lives as long as this does.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// How far that life of a device is written.
    pub(crate) fn point(&self, id: &DeviceId, uid: &Uid) -> Option<Point> {
        let of = self.of.read().unwrap_or_else(PoisonError::into_inner);
        of.get(id)?.point.clone().filter(|point| point.uid == *uid)
    }

    /// The numbers of desired values of that life of a device.
    pub(crate) fn numbers(&self, id: &DeviceId, uid: &Uid) -> Numbers {
        let of = self.of.read().unwrap_or_else(PoisonError::into_inner);
        let record = of.get(id).filter(|record| record.owner.as_ref() == Some(uid));
        record.map(|record| record.numbers.clone()).unwrap_or_default()
    }

    /// Keeps them true until `stop`.
    pub(crate) async fn run(&self, client: kube::Client, stop: CancellationToken) {
        let api = Api::all_with(client, &of_devices("DeviceStatus", "devicestatuses"));
        follow(api, self, &self.synced, &stop).await;
    }
}

impl Watched<DynamicObject> for Records {
    type Id = DeviceId;

    fn put(&self, object: DynamicObject) -> Option<DeviceId> {
        let id = id(&object)?;
        let annotation = object.annotations().get(Numbers::ANNOTATION);
        let record = Record {
            point: document::point(&object.data["status"]),
            owner: object.owner_references().iter().find_map(|owner| Uid::new(&owner.uid)),
            numbers: annotation.map(|text| Numbers::from_annotation(text)).unwrap_or_default(),
        };
        self.of.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), record);
        Some(id)
    }

    fn remove(&self, object: DynamicObject) {
        if let Some(id) = id(&object) {
            self.of.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        }
    }

    fn keep_only(&self, listed: BTreeSet<DeviceId>) {
        let mut of = self.of.write().unwrap_or_else(PoisonError::into_inner);
        of.retain(|id, _| listed.contains(id));
    }
}

fn id(object: &DynamicObject) -> Option<DeviceId> {
    DeviceId::new(&object.namespace()?, &object.name_any()).ok()
}
