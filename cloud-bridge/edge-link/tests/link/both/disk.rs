//! What outlives the agent: whatever a store was told to commit, and nothing else.

use std::cell::RefCell;
use std::rc::Rc;

use device_model::{DeviceId, PropertyName};
use device_twin::store::{Confirmed, MemoryStore, Object, ObjectKey, Row, Stored};
use device_twin::{Durability, Store, StoreError};

/// A store that can be copied while it is in use, and be another one at the next start.
#[derive(Clone, Debug, Default)]
pub struct Disk(Rc<RefCell<MemoryStore>>);

impl Disk {
    pub fn copy(&self) -> MemoryStore {
        self.0.borrow().clone()
    }

    pub fn replace(&self, content: MemoryStore) {
        *self.0.borrow_mut() = content;
    }
}

impl Store for Disk {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.0.borrow_mut().load()
    }

    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), StoreError> {
        self.0.borrow_mut().commit(rows, durability)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.0.borrow_mut().sync()
    }

    fn epoch(&mut self) -> Result<u64, StoreError> {
        self.0.borrow_mut().epoch()
    }

    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.0.borrow_mut().set_epoch(epoch)
    }

    fn dirty_since(&mut self, of: &DeviceId, rev: u64) -> Result<Vec<PropertyName>, StoreError> {
        self.0.borrow_mut().dirty_since(of, rev)
    }

    fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError> {
        self.0.borrow_mut().confirm(confirmed)
    }

    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError> {
        self.0.borrow_mut().confirmed(device)
    }

    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        self.0.borrow_mut().put_objects(objects)
    }

    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError> {
        self.0.borrow_mut().delete_object(key)
    }

    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        self.0.borrow_mut().object(key)
    }

    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError> {
        self.0.borrow_mut().objects(kind)
    }
}
