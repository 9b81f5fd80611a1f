//! A store in memory that fails when a test wants it to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use device_model::{DeviceId, PropertyName};
use device_twin::store::{Confirmed, Object, ObjectKey, Row, Stored};
use device_twin::{Durability, MemoryStore, Store, StoreError};

/// What the test holds of a [`Faulty`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch {
    full: Arc<AtomicBool>,
    /// A commit of more rows is refused; 0: none is.
    most: Arc<AtomicUsize>,
    /// Kinds of the objects that it took.
    kinds: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Switch {
    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Whether it took an object of that kind.
    pub(crate) fn has(&self, kind: &str) -> bool {
        self.kinds.lock().unwrap().iter().any(|known| **known == *kind)
    }

    pub(crate) fn limit(&self, rows: usize) {
        self.most.store(rows, Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Faulty {
    inner: MemoryStore,
    switch: Switch,
    /// A sync hangs until the other end goes.
    hang: Option<mpsc::Receiver<()>>,
}

impl Faulty {
    pub(crate) fn new() -> (Box<Self>, Switch) {
        let store = Box::<Self>::default();
        let switch = store.switch.clone();
        (store, switch)
    }

    /// One whose syncs hang until what is returned is dropped.
    pub(crate) fn hanging() -> (Box<Self>, mpsc::Sender<()>) {
        let (release, hang) = mpsc::channel();
        (Box::new(Self { hang: Some(hang), ..Self::default() }), release)
    }

    fn works(&self) -> Result<(), StoreError> {
        match self.switch.full.load(Ordering::SeqCst) {
            true => Err(StoreError::Full { place: "/faulty".into() }),
            false => Ok(()),
        }
    }
}

impl Store for Faulty {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.inner.load()
    }

    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), StoreError> {
        self.works()?;
        let most = self.switch.most.load(Ordering::SeqCst);
        if most > 0 && rows.len() > most {
            return Err(StoreError::Failed { place: "/faulty".into(), reason: "too big".into() });
        }
        self.inner.commit(rows, durability)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if let Some(hang) = &self.hang {
            // An error is its end.
            let _ = hang.recv();
        }
        self.works()
    }

    fn epoch(&mut self) -> Result<u64, StoreError> {
        self.inner.epoch()
    }

    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.works()?;
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
        self.works()?;
        self.inner.confirm(confirmed)
    }

    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError> {
        self.inner.confirmed(device)
    }

    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        self.works()?;
        self.inner.put_objects(objects)?;
        let kinds = objects.iter().map(|object| object.key.kind.clone());
        self.switch.kinds.lock().unwrap().extend(kinds);
        Ok(())
    }

    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError> {
        self.works()?;
        self.inner.delete_object(key)
    }

    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        self.inner.object(key)
    }

    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError> {
        self.inner.objects(kind)
    }
}
