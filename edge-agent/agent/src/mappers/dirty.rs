//! What a mapper may have to be told of, for the task that tells it.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use device_model::DeviceId;
use tokio::sync::Notify;

/// Devices that a mapper may have to be told of.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    marked: Mutex<Marked>,
    pub(super) wake: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Marked {
    pub(super) devices: HashSet<DeviceId>,
    /// Every device that the mapper was told of or should be.
    pub(super) all: bool,
    /// What the store keeps of the mapper may be gone.
    pub(super) forgotten: bool,
}

impl Dirty {
    pub(super) fn mark(&self, id: &DeviceId) {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).devices.insert(id.clone());
        self.wake.notify_one();
    }

    pub(super) fn mark_all(&self) {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).all = true;
        self.wake.notify_one();
    }

    /// The store forgot an earlier registration of the mapper, which may have been this one.
    pub(super) fn mark_forgotten(&self) {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner).forgotten = true;
        self.wake.notify_one();
    }

    pub(super) fn take(&self) -> Marked {
        std::mem::take(&mut self.marked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
