//! A store that lasts as long as the process: for tests, and for nodes that keep nothing.

use std::collections::BTreeMap;

use device_model::{DeviceId, PropertyName, Timestamp};

use super::{
    Confirmed, Durability, Object, ObjectKey, Row, Store, StoreError, Stored, StoredProperty,
    StoredTwin, Tombstone,
};
use crate::{Condition, TwinProperty};

/// Keeps rows in maps.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    epoch: u64,
    twins: BTreeMap<u32, StoredTwin>,
    /// Which device, by the property's row.
    owners: BTreeMap<u32, u32>,
    tombstones: BTreeMap<(DeviceId, Option<PropertyName>), Tombstone>,
    confirmed: BTreeMap<DeviceId, Confirmed>,
    objects: BTreeMap<ObjectKey, Object>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn property(&mut self, row: u32) -> Option<&mut StoredProperty> {
        let twin = self.twins.get_mut(self.owners.get(&row)?)?;
        twin.properties.iter_mut().find(|property| property.state.row == row)
    }

    fn write(&mut self, row: &Row<'_>) {
        match *row {
            Row::Device { row, id, uid } => {
                let twin = StoredTwin {
                    row,
                    id: id.clone(),
                    uid: uid.clone(),
                    rev: 0,
                    condition: Condition::unheard_of(Timestamp::default()),
                    last_online: None,
                    properties: Vec::new(),
                };
                self.twins.insert(row, twin);
            }
            Row::RemoveDevice { row } => {
                self.twins.remove(&row);
                self.owners.retain(|_, device| *device != row);
            }
            Row::Twin { row, rev, condition, last_online } => {
                if let Some(twin) = self.twins.get_mut(&row) {
                    twin.condition.clone_from(condition);
                    (twin.rev, twin.last_online) = (rev, last_online);
                }
            }
            Row::Property { row, device, name, data_type } => {
                self.owners.insert(row, device);
                if let Some(twin) = self.twins.get_mut(&device) {
                    let state = TwinProperty { row, ..TwinProperty::default() };
                    twin.properties.push(StoredProperty { name: name.clone(), data_type, state });
                }
            }
            Row::RemoveProperty { row } => {
                if let Some(twin) =
                    self.owners.remove(&row).and_then(|device| self.twins.get_mut(&device))
                {
                    twin.properties.retain(|property| property.state.row != row);
                }
            }
            Row::Desired { row, state } => {
                if let Some(property) = self.property(row) {
                    let reported = property.state.reported.take();
                    let persisted_at = property.state.persisted_at;
                    property.state = TwinProperty { reported, persisted_at, row, ..state.clone() };
                }
            }
            Row::Reported { row, reported } => {
                if let Some(property) = self.property(row) {
                    property.state.persisted_at = reported.received_at;
                    property.state.reported = Some(reported.clone());
                }
            }
            Row::Bury(tombstone) => {
                let key = (tombstone.device.clone(), tombstone.property.clone());
                self.tombstones.insert(key, tombstone.clone());
            }
            Row::Forget(tombstone) => {
                self.tombstones.remove(&(tombstone.device.clone(), tombstone.property.clone()));
            }
        }
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        Ok(Stored {
            epoch: self.epoch,
            twins: self.twins.values().cloned().collect(),
            tombstones: self.tombstones.values().cloned().collect(),
        })
    }

    fn commit(&mut self, rows: &[Row<'_>], _durability: Durability) -> Result<(), StoreError> {
        rows.iter().for_each(|row| self.write(row));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn epoch(&mut self) -> Result<u64, StoreError> {
        Ok(self.epoch)
    }

    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.epoch = epoch;
        Ok(())
    }

    fn dirty_since(
        &mut self,
        device: &DeviceId,
        rev: u64,
    ) -> Result<Vec<PropertyName>, StoreError> {
        let twin = self.twins.values().find(|twin| twin.id == *device);
        let properties = twin.map_or(&[][..], |twin| &twin.properties);
        let mut names: Vec<_> = properties
            .iter()
            .filter(|property| property.state.newest() > rev)
            .map(|property| property.name.clone())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError> {
        for (device, new) in confirmed {
            let known = self.confirmed.entry(device.clone()).or_insert_with(|| new.clone());
            if known.uid != new.uid || (known.epoch, known.rev) < (new.epoch, new.rev) {
                *known = new.clone();
            }
        }
        Ok(())
    }

    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError> {
        Ok(self.confirmed.get(device).cloned())
    }

    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        self.objects.extend(objects.iter().map(|object| (object.key.clone(), object.clone())));
        Ok(())
    }

    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError> {
        Ok(self.objects.remove(key).is_some())
    }

    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        Ok(self.objects.get(key).cloned())
    }

    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError> {
        Ok(self.objects.values().filter(|object| *object.key.kind == *kind).cloned().collect())
    }
}
