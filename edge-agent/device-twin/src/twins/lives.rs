//! Devices come, change and go, and with them their twins.

use std::sync::Arc;

use device_model::{Device, DeviceId};

use super::{Done, Twins, unknown};
use crate::batch::{Batch, Key};
use crate::draft::Moment;
use crate::load::{self, Loaded};
use crate::store::{Store, StoredTwin, Tombstone};
use crate::{Answer, Change, Now, Rejected, Twin, Uid};

impl<S: Store> Twins<S> {
    pub(super) fn load(&mut self, device: Arc<Device>, batch: &mut Batch, now: Now) -> Done {
        let id = device.id.clone();
        self.has_room(&device)?;
        let mut changes = Vec::new();
        if self.is_other_life(&device) {
            changes.extend(self.remove(&id, batch, now)?.1);
        }
        if let Some(twin) = self.twins.get(&id)
            && *twin.device == *device
        {
            return Ok((Answer { rev: twin.rev, ..Answer::default() }, changes));
        }
        let (former, described) = match (self.twins.get_mut(&id), self.parked.get(&id)) {
            (Some(twin), _) => {
                batch.touch(twin);
                (Some(twin.clone().into_stored()), true)
            }
            (None, Some(parked)) => {
                batch.touch_parked(parked);
                (Some(parked.clone()), false)
            }
            (None, None) => {
                batch.touch_absent(&id);
                (None, false)
            }
        };
        let (answer, change) = self.fit(former, described, device, batch, now)?;
        changes.extend(change);
        Ok((answer, changes))
    }

    /// A twin of this node's own becomes that of a device of the cloud.
    pub(super) fn adopt(&mut self, device: Arc<Device>, batch: &mut Batch, now: Now) -> Done {
        self.has_room(&device)?;
        if !self.is_other_life(&device) {
            return self.load(device, batch, now);
        }
        let id = &device.id;
        let former = match (self.twins.get_mut(id), self.parked.get(id)) {
            (Some(twin), _) => {
                batch.touch(twin);
                twin.clone().into_stored()
            }
            (None, Some(parked)) => {
                batch.touch_parked(parked);
                parked.clone()
            }
            (None, None) => return self.load(device, batch, now),
        };
        let uid = device.uid.as_deref().map_or(former.uid.clone(), Uid::new);
        let former = load::reborn(former, uid, &mut self.rows);
        let (answer, change) = self.fit(Some(former), true, device, batch, now)?;
        Ok((answer, change.into_iter().collect()))
    }

    /// Puts the twin of `device` in place, made of `former` or of nothing.
    fn fit(
        &mut self,
        former: Option<StoredTwin>,
        described: bool,
        device: Arc<Device>,
        batch: &mut Batch,
        now: Now,
    ) -> Result<(Answer, Option<Change>), Rejected> {
        let id = device.id.clone();
        let Self { settings, counters, opened_at, tombstones, rows, .. } = self;
        let moment =
            &mut Moment { now: now.wall, clocks: now, opened_at: *opened_at, settings, counters };
        let Loaded { mut twin, change, buried } =
            load::load(former, described, device, tombstones, rows, moment)?;
        for tombstone in buried {
            self.bury(tombstone, batch);
        }
        for property in &twin.device.properties {
            self.forget((id.clone(), Some(property.name.clone())), batch);
        }
        self.forget((id.clone(), None), batch);
        let answer = Answer { rev: twin.rev, ..Answer::default() };
        batch.mark(&mut twin);
        self.parked.remove(&id);
        self.twins.insert(id, twin);
        Ok((answer, change))
    }

    fn has_room(&self, device: &Device) -> Result<(), Rejected> {
        let limit = self.settings.limits.properties;
        if device.properties.len() <= limit {
            return Ok(());
        }
        let (what, limit) = (format!("device {}", device.id), format!("{limit} properties"));
        Err(Rejected::TooLarge { what, limit })
    }

    /// Whether another life of `device` is known here.
    fn is_other_life(&self, device: &Device) -> bool {
        let known = (self.twins.get(&device.id).map(Twin::uid))
            .or_else(|| self.parked.get(&device.id).map(|parked| &parked.uid));
        let given = device.uid.as_deref();
        known.zip(given).is_some_and(|(known, given)| known.as_str() != given)
    }

    pub(super) fn remove(&mut self, id: &DeviceId, batch: &mut Batch, now: Now) -> Done {
        let (uid, rev, change) = match (self.twins.get_mut(id), self.parked.get(id)) {
            (Some(twin), _) => {
                batch.touch(twin);
                (twin.uid.clone(), twin.rev + 1, Some(twin.removal()))
            }
            (None, Some(parked)) => {
                batch.touch_parked(parked);
                (parked.uid.clone(), parked.rev + 1, None)
            }
            (None, None) => return Err(unknown(id)),
        };
        self.twins.remove(id);
        self.parked.remove(id);
        let of_device = (id.clone(), None)..;
        let properties: Vec<_> = (self.tombstones.range(of_device))
            .map(|(key, _)| key.clone())
            .take_while(|(device, _)| device == id)
            .collect();
        for key in properties {
            self.forget(key, batch);
        }
        let tombstone = Tombstone {
            device: id.clone(),
            property: None,
            uid,
            rev,
            generation: device_model::Generation::default(),
            deleted_at: now.wall,
            confirmed: false,
        };
        self.bury(tombstone, batch);
        Ok((Answer { rev, ..Answer::default() }, change.into_iter().collect()))
    }

    fn bury(&mut self, tombstone: Tombstone, batch: &mut Batch) {
        let key = (tombstone.device.clone(), tombstone.property.clone());
        let before = self.tombstones.insert(key.clone(), tombstone);
        batch.tombstones.entry(key).or_insert(before);
    }

    pub(super) fn forget(&mut self, key: Key, batch: &mut Batch) {
        if let Some(tombstone) = self.tombstones.remove(&key) {
            batch.tombstones.entry(key).or_insert(Some(tombstone));
        }
    }
}
