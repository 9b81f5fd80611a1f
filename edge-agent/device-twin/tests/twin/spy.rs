//! A store that notes what it is asked, and can be told to fail.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use device_model::{DeviceId, PropertyName};
use device_twin::store::{Confirmed, Object, ObjectKey, Row, Stored};
use device_twin::{Durability, MemoryStore, Store, StoreError};

/// What the test sees of a [`SpyStore`].
#[derive(Clone, Default)]
pub struct Spy {
    fails: Rc<Cell<bool>>,
    commits: Rc<RefCell<Vec<(usize, Durability)>>>,
    syncs: Rc<Cell<usize>>,
}

impl Spy {
    pub fn fail(&self, fails: bool) {
        self.fails.set(fails);
    }

    /// Rows and durability of each commit since the last call.
    pub fn commits(&self) -> Vec<(usize, Durability)> {
        self.commits.take()
    }

    pub fn syncs(&self) -> usize {
        self.syncs.get()
    }
}

#[derive(Default)]
pub struct SpyStore {
    pub inner: MemoryStore,
    spy: Spy,
}

impl SpyStore {
    pub fn new() -> (Self, Spy) {
        let store = Self::default();
        let spy = store.spy.clone();
        (store, spy)
    }
}

impl Store for SpyStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.inner.load()
    }

    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), StoreError> {
        if self.spy.fails.get() {
            return Err(StoreError::Full { place: "the spy".into() });
        }
        self.spy.commits.borrow_mut().push((rows.len(), durability));
        self.inner.commit(rows, durability)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.spy.syncs.set(self.spy.syncs.get() + 1);
        self.inner.sync()
    }

    fn epoch(&mut self) -> Result<u64, StoreError> {
        self.inner.epoch()
    }

    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.inner.set_epoch(epoch)
    }

    fn dirty_since(
        &mut self,
        device: &DeviceId,
        rev: u64,
    ) -> Result<Vec<PropertyName>, StoreError> {
        self.inner.dirty_since(device, rev)
    }

    fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError> {
        self.inner.confirm(confirmed)
    }

    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError> {
        self.inner.confirmed(device)
    }

    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        self.inner.put_objects(objects)
    }

    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError> {
        self.inner.delete_object(key)
    }

    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        self.inner.object(key)
    }

    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError> {
        self.inner.objects(kind)
    }
}
