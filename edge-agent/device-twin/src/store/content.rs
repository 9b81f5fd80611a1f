//! Everything that a store holds, and how it is put into an empty one.

use std::sync::Arc;

use device_model::{DeviceId, Generation, Timestamp};

use super::{
    Confirmed, Durability, Object, Row, Run, Store, StoreError, StoredProperty, StoredTwin,
    Tombstone,
};
use crate::draft::LAST_VERSION;

/// Generations that may have been given since a backup was made: a mapper that has written one must not take another
/// value under the same number for written.
const SINCE_BACKUP: u64 = 1_000_000;

/// All of a store. Row numbers count within it alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// See [`Store::epoch`].
    pub epoch: u64,
    /// All twins.
    pub twins: Vec<StoredTwin>,
    /// What was deleted.
    pub tombstones: Vec<Tombstone>,
    /// What the uplink has.
    pub confirmations: Vec<(DeviceId, Confirmed)>,
    /// Whole resources.
    pub objects: Vec<Object>,
}

impl Content {
    /// Whether there is nothing in it that anybody would miss.
    pub fn is_empty(&self) -> bool {
        let missed = |object: &Object| &*object.key.kind != Run::KIND;
        self.twins.is_empty() && self.tombstones.is_empty() && !self.objects.iter().any(missed)
    }

    /// How many properties its devices have.
    pub fn properties(&self) -> usize {
        self.twins.iter().map(|twin| twin.properties.len()).sum()
    }

    /// What it is worth some time later: reported values are doubtful, as `restored`, until they are read again, and
    /// numbers of desired values that may have been given since are not given again. A desired value that was not
    /// settled has such a new number itself. The epoch is that of a store that begins at `now`, and above those that it and
    /// `replaced` had, which it takes the place of; so are the numbers of events.
    #[must_use]
    pub fn restored(mut self, replaced: Option<&Self>, now: Timestamp) -> Self {
        let run = Run::restored(&self.objects, replaced.map_or(&[], |content| &content.objects));
        self.objects.retain(|object| &*object.key.kind != Run::KIND);
        self.objects.extend(run.map(Run::object));
        let above = replaced.map_or(0, |content| content.epoch);
        let above = above.max(self.epoch).saturating_add(1);
        self.epoch = Self::epoch_at(now).max(above).min(LAST_VERSION);
        for property in self.twins.iter_mut().flat_map(|twin| &mut twin.properties) {
            doubt(property);
        }
        for tombstone in &mut self.tombstones {
            tombstone.generation = later(tombstone.generation);
        }
        self
    }

    /// Puts all of it into `store`, which is empty.
    ///
    /// # Errors
    /// Part of it may be there; begin with another empty store.
    pub fn put_into(&self, store: &mut impl Store) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        let mut number = 0;
        for (device, twin) in (1..).zip(&self.twins) {
            let StoredTwin { id, uid, rev, condition, last_online, .. } = twin;
            rows.push(Row::Device { row: device, id, uid });
            let last_online = *last_online;
            rows.push(Row::Twin { row: device, rev: *rev, condition, last_online });
            for StoredProperty { name, data_type, state } in &twin.properties {
                number += 1;
                rows.push(Row::Property { row: number, device, name, data_type: *data_type });
                rows.push(Row::Desired { row: number, state });
                if let Some(reported) = &state.reported {
                    rows.push(Row::Reported { row: number, reported });
                }
            }
        }
        rows.extend(self.tombstones.iter().map(Row::Bury));
        store.set_epoch(self.epoch)?;
        store.commit(&rows, Durability::Synced)?;
        store.confirm(&self.confirmations)?;
        store.put_objects(&self.objects)
    }

    /// An epoch for a store that begins at `now`: later stores of a node get higher ones, as long as its clock is not set
    /// back.
    pub(crate) fn epoch_at(now: Timestamp) -> u64 {
        u64::try_from(now.as_millis()).unwrap_or(1).clamp(1, LAST_VERSION)
    }
}

fn later(generation: Generation) -> Generation {
    Generation(generation.0.saturating_add(SINCE_BACKUP).min(LAST_VERSION))
}

fn doubt(property: &mut StoredProperty) {
    let state = &mut property.state;
    if let Some(reported) = &mut state.reported {
        reported.doubt();
    }
    let settled = state.settled();
    if state.generation != Generation::default() {
        state.generation = later(state.generation);
    }
    if let Some(desired) = &mut state.desired
        && !settled
    {
        let desired = Arc::make_mut(desired);
        desired.generation = state.generation;
        state.ack = None;
    }
}
