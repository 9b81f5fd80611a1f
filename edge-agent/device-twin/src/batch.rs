//! What one batch of commands did so far: enough to write it, or to take it back.

use std::collections::{HashMap, HashSet};

use device_model::{DeviceId, PropertyName, Timestamp};

use crate::rows::Before;
use crate::store::{StoredTwin, Tombstone};
use crate::{Counters, EventKey, Now, Twin};

/// Names a tombstone: a device, or a property of one.
pub(crate) type Key = (DeviceId, Option<PropertyName>);

/// What one batch did so far.
pub(crate) struct Batch {
    /// Tells its marks on twins from those of other batches.
    number: u64,
    /// Each touched device as it was, once.
    pub(crate) before: Vec<(DeviceId, Before)>,
    /// Devices of `before` that had no twin: nothing else marks them.
    unmarked: HashSet<DeviceId>,
    pub(crate) tombstones: HashMap<Key, Option<Tombstone>>,
    pub(crate) events: Vec<(DeviceId, EventKey)>,
    pub(crate) counters: Counters,
    /// When all deadlines were last looked at.
    pub(crate) looked_at: Now,
}

/// A twin is to be looked at at another time than before.
pub(crate) struct Deadline {
    pub(crate) device: DeviceId,
    pub(crate) old: Option<Timestamp>,
    pub(crate) new: Option<Timestamp>,
}

impl Batch {
    pub(crate) fn new(number: u64, counters: Counters, looked_at: Now) -> Self {
        Self {
            number,
            before: Vec::new(),
            unmarked: HashSet::new(),
            tombstones: HashMap::new(),
            events: Vec::new(),
            counters,
            looked_at,
        }
    }

    /// Keeps `twin` as it was, the first time.
    pub(crate) fn touch(&mut self, twin: &mut Twin) {
        if twin.batch != self.number {
            self.before.push((twin.device.id.clone(), Before::Present(Box::new(twin.clone()))));
            twin.batch = self.number;
        }
    }

    pub(crate) fn touch_parked(&mut self, parked: &StoredTwin) {
        if self.unmarked.insert(parked.id.clone()) {
            self.before.push((parked.id.clone(), Before::Parked(Box::new(parked.clone()))));
        }
    }

    /// Notes that there was nothing of that name; unless something was, and went in this batch.
    pub(crate) fn touch_absent(&mut self, id: &DeviceId) {
        let went = || {
            self.before
                .iter()
                .any(|(known, before)| matches!(before, Before::Present(_)) && known == id)
        };
        if !self.unmarked.contains(id) && !went() {
            self.unmarked.insert(id.clone());
            self.before.push((id.clone(), Before::Absent));
        }
    }

    /// Marks a twin that came in this batch.
    pub(crate) fn mark(&self, twin: &mut Twin) {
        twin.batch = self.number;
    }
}
