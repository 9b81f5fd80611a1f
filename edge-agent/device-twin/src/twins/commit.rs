//! The end of a batch: written as one transaction, or taken back.

use device_model::Timestamp;

use super::Twins;
use crate::batch::{Batch, Deadline};
use crate::rows::{Before, difference};
use crate::store::{Durability, Row, Store, StoreError};

impl<S: Store> Twins<S> {
    /// Writes what `batch` changed; returns which deadlines it moved.
    pub(super) fn commit(
        &mut self,
        batch: &Batch,
        ticks: bool,
        now: Timestamp,
    ) -> Result<Vec<Deadline>, StoreError> {
        let mut rows = Vec::with_capacity(batch.before.len());
        let mut deadlines = Vec::new();
        let mut durability = Durability::Written;
        for (id, before) in &batch.before {
            let after = self.twins.get(id);
            durability = durability.max(difference(before, after, &mut rows));
            let (old, new) = (before.check_at(), after.and_then(|twin| twin.check_at));
            if old != new {
                deadlines.push(Deadline { device: id.clone(), old, new });
            }
        }
        for (key, before) in &batch.tombstones {
            match (before, self.tombstones.get(key)) {
                (_, Some(after)) => rows.push(Row::Bury(after)),
                (Some(before), None) => rows.push(Row::Forget(before)),
                (None, None) => {}
            }
        }
        // A clock that was set back must not make the disk wait.
        let since = self.unsynced_since.map(|since| since.min(now));
        let due = since.is_some_and(|since| now.since(since) >= self.settings.sync);
        if rows.is_empty() {
            if ticks && due {
                self.store.sync()?;
                self.unsynced_since = None;
            }
            return Ok(deadlines);
        }
        let plain = rows.iter().all(Row::is_reported);
        if !plain || due || self.settings.sync.is_zero() {
            durability = Durability::Synced;
        }
        self.store.commit(&rows, durability)?;
        // Other rows bring no reported ones to the disk that were written before.
        match durability {
            Durability::Synced if plain => self.unsynced_since = None,
            Durability::Synced => {}
            Durability::Written => self.unsynced_since = Some(since.unwrap_or(now)),
        }
        Ok(deadlines)
    }

    /// Follows the deadlines that a commit moved.
    pub(super) fn note(&mut self, deadlines: Vec<Deadline>) {
        for Deadline { device, old, new } in deadlines {
            if let Some(old) = old {
                self.deadlines.remove(&(old, device.clone()));
            }
            if let Some(new) = new {
                self.deadlines.insert((new, device));
            }
        }
    }

    /// Undoes what `batch` did to the twins in memory.
    pub(super) fn take_back(&mut self, batch: Batch) {
        for (id, before) in batch.before {
            match before {
                Before::Absent => {
                    self.twins.remove(&id);
                }
                Before::Parked(parked) => {
                    self.twins.remove(&id);
                    self.parked.insert(id, *parked);
                }
                Before::Present(twin) => {
                    self.twins.insert(id, *twin);
                }
            }
        }
        for (key, before) in batch.tombstones {
            match before {
                Some(tombstone) => self.tombstones.insert(key, tombstone),
                None => self.tombstones.remove(&key),
            };
        }
        for (device, event) in batch.events.into_iter().rev() {
            self.repeats.take_back(&device, &event);
        }
        (self.counters, self.looked_at) = (batch.counters, batch.looked_at);
    }
}
