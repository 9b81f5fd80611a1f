//! What one batch of commands did so far: enough to write it, or to take it back.

use std::collections::HashMap;

use device_model::{DeviceId, PropertyName};

use crate::rows::Before;
use crate::store::{StoredTwin, Tombstone};
use crate::{Counters, EventKey, Twin};

/// Names a tombstone: a device, or a property of one.
pub(crate) type Key = (DeviceId, Option<PropertyName>);

/// What one batch did so far, to write it or to take it back.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) before: HashMap<DeviceId, Before>,
    pub(crate) tombstones: HashMap<Key, Option<Tombstone>>,
    pub(crate) events: Vec<(DeviceId, EventKey)>,
    pub(crate) counters: Counters,
}

impl Batch {
    /// Keeps `twin` as it was, the first time.
    pub(crate) fn touch(&mut self, twin: &Twin) {
        if !self.before.contains_key(&twin.device.id) {
            let before = Before::Present(Box::new(twin.clone()));
            self.before.insert(twin.device.id.clone(), before);
        }
    }

    pub(crate) fn touch_parked(&mut self, parked: &StoredTwin) {
        if !self.before.contains_key(&parked.id) {
            self.before.insert(parked.id.clone(), Before::Parked(Box::new(parked.clone())));
        }
    }
}
