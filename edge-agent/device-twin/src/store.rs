//! Where twins outlive the process.
//!
//! A [`Store`] keeps rows; it knows none of the rules. [`Twins`](crate::Twins) hands it the rows that a batch changed,
//! as one transaction. Besides the twins it keeps what the uplink has confirmed, and whole objects (Kubernetes
//! resources) so that a node can start without its cloud.

mod content;
mod document;
mod edgecore;
mod memory;
mod run;
mod sqlite;
mod subscription;

use std::path::Path;
use std::sync::Arc;

use device_model::{DataType, DeviceId, Generation, PropertyName, Timestamp};

pub use content::Content;
pub use document::{Document, DocumentError};
pub use edgecore::{Left, Taken, take_edgecore};
pub use memory::MemoryStore;
pub use run::Run;
pub use sqlite::{Inspected, JournalExtent, SqliteStore};
pub use subscription::{MOST_SUBSCRIPTIONS, Subscription, TopicFilter, TopicFilterError};

use crate::{Condition, Reported, TwinProperty, Uid};

/// How far a commit must have got when it returns. Both outlive the death of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Given to the kernel: survives `kill -9`, but not a power cut.
    Written,
    /// On the disk: survives a power cut. Reported values that were only written before wait for [`Store::sync`], or for a
    /// synced commit of nothing but reported values.
    Synced,
}

/// A place for twins, confirmations and objects.
///
/// Each method that writes is one transaction: after an error nothing of it is there.
pub trait Store {
    /// Everything about twins; called once, at the start.
    ///
    /// # Errors
    /// The store cannot be read; the error says what to do.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Writes `rows` in their order, as one transaction.
    ///
    /// # Errors
    /// Nothing was written; the error says what to do.
    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), StoreError>;

    /// Brings everything that was written to the disk.
    ///
    /// # Errors
    /// It may not be there yet; the error says what to do.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Numbers the lives of this store, upwards; 0 before the first [`Store::set_epoch`]. Order of twins within one
    /// life of a device is (epoch, revision).
    ///
    /// # Errors
    /// The store cannot be read.
    fn epoch(&mut self) -> Result<u64, StoreError>;

    /// Sets the epoch, synced.
    ///
    /// # Errors
    /// It is not set.
    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError>;

    /// The properties of `device` of which a side changed after revision `rev`, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    fn dirty_since(&mut self, device: &DeviceId, rev: u64)
    -> Result<Vec<PropertyName>, StoreError>;

    /// Notes, synced, up to where the uplink has each of these devices. A point below the known one changes nothing.
    ///
    /// # Errors
    /// Nothing is noted.
    fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError>;

    /// Up to where the uplink has `device`, if it has anything.
    ///
    /// # Errors
    /// The store cannot be read.
    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError>;

    /// Stores each of `objects` in place of one of the same kind, namespace and name, synced.
    ///
    /// # Errors
    /// The former ones, or none, are there still.
    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError>;

    /// Stores one object in the same way.
    ///
    /// # Errors
    /// The former one, or none, is there still.
    fn put_object(&mut self, object: &Object) -> Result<(), StoreError> {
        self.put_objects(std::slice::from_ref(object))
    }

    /// Deletes an object, synced; whether there was one.
    ///
    /// # Errors
    /// It is there still.
    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError>;

    /// One object.
    ///
    /// # Errors
    /// The store cannot be read.
    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError>;

    /// All objects of a kind, by namespace and name.
    ///
    /// # Errors
    /// The store cannot be read.
    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError>;
}

/// A store behind a pointer is one, too.
impl<S: Store + ?Sized> Store for Box<S> {
    fn load(&mut self) -> Result<Stored, StoreError> {
        (**self).load()
    }

    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), StoreError> {
        (**self).commit(rows, durability)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        (**self).sync()
    }

    fn epoch(&mut self) -> Result<u64, StoreError> {
        (**self).epoch()
    }

    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        (**self).set_epoch(epoch)
    }

    fn dirty_since(
        &mut self,
        device: &DeviceId,
        rev: u64,
    ) -> Result<Vec<PropertyName>, StoreError> {
        (**self).dirty_since(device, rev)
    }

    fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError> {
        (**self).confirm(confirmed)
    }

    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError> {
        (**self).confirmed(device)
    }

    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        (**self).put_objects(objects)
    }

    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError> {
        (**self).delete_object(key)
    }

    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        (**self).object(key)
    }

    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError> {
        (**self).objects(kind)
    }
}

/// What a store holds about twins.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// See [`Store::epoch`].
    pub epoch: u64,
    /// All twins.
    pub twins: Vec<StoredTwin>,
    /// What was deleted.
    pub tombstones: Vec<Tombstone>,
}

/// A twin without its device's description, which comes from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTwin {
    /// Its row.
    pub row: u32,
    /// Whose twin.
    pub id: DeviceId,
    /// Which life.
    pub uid: Uid,
    /// Its revision, or less: then the newest change is the one that a property's side carries. See [`StoredTwin::revision`].
    pub rev: u64,
    /// The device's state.
    pub condition: Condition,
    /// When the state was last online.
    pub last_online: Option<Timestamp>,
    /// Its properties.
    pub properties: Vec<StoredProperty>,
}

impl StoredTwin {
    /// The revision: of the twin's own row, or of its newest side.
    pub fn revision(&self) -> u64 {
        self.properties.iter().map(|one| one.state.newest()).fold(self.rev, u64::max)
    }
}

/// One property of a [`StoredTwin`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredProperty {
    /// Its name.
    pub name: PropertyName,
    /// The type of its values.
    pub data_type: DataType,
    /// Its state.
    pub state: TwinProperty,
}

impl StoredProperty {
    /// Its row number.
    pub fn row(&self) -> u32 {
        self.state.row
    }
}

/// The memory of a deleted device, or of a deleted property of one (rule R25).
#[derive(Clone, Debug, PartialEq)]
pub struct Tombstone {
    /// The device.
    pub device: DeviceId,
    /// The property; `None`: the whole device.
    pub property: Option<PropertyName>,
    /// Which life of the device.
    pub uid: Uid,
    /// The revision of the deletion.
    pub rev: u64,
    /// The property's highest generation.
    pub generation: Generation,
    /// When.
    pub deleted_at: Timestamp,
    /// Whether the cloud knows.
    pub confirmed: bool,
}

/// One row to write.
#[derive(Clone, Debug)]
pub enum Row<'a> {
    /// A new device.
    Device {
        /// Its row number, unused so far.
        row: u32,
        /// Namespace and name, not there so far.
        id: &'a DeviceId,
        /// Which life.
        uid: &'a Uid,
    },
    /// The device with everything that is its own goes.
    RemoveDevice {
        /// Its row number.
        row: u32,
    },
    /// Revision and state of a device.
    Twin {
        /// The device's row number.
        row: u32,
        /// Its revision.
        rev: u64,
        /// Its state.
        condition: &'a Condition,
        /// When the state was last online.
        last_online: Option<Timestamp>,
    },
    /// A new property.
    Property {
        /// Its row number, unused so far.
        row: u32,
        /// The row number of its device.
        device: u32,
        /// Its name.
        name: &'a PropertyName,
        /// The type of its values.
        data_type: DataType,
    },
    /// A property with both its sides goes.
    RemoveProperty {
        /// Its row number.
        row: u32,
    },
    /// The desired side of a property.
    Desired {
        /// The property's row number.
        row: u32,
        /// All of it; the reported side is not looked at.
        state: &'a TwinProperty,
    },
    /// The reported side of a property.
    Reported {
        /// The property's row number.
        row: u32,
        /// All of it.
        reported: &'a Reported,
    },
    /// Something deleted is remembered, in place of an older memory of the same.
    Bury(&'a Tombstone),
    /// A memory goes.
    Forget(&'a Tombstone),
}

impl Row<'_> {
    /// Whether it is a reported value.
    pub fn is_reported(&self) -> bool {
        matches!(self, Self::Reported { .. })
    }

    /// Whether a device or a property comes or goes.
    pub fn is_structure(&self) -> bool {
        matches!(
            self,
            Self::Device { .. }
                | Self::RemoveDevice { .. }
                | Self::Property { .. }
                | Self::RemoveProperty { .. }
        )
    }
}

/// Up to where the uplink has a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Which life of the device.
    pub uid: Uid,
    /// The store's epoch.
    pub epoch: u64,
    /// The device's revision.
    pub rev: u64,
}

/// Names an [`Object`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `Device`, `ConfigMap`, `Pod`.
    pub kind: Arc<str>,
    /// Its namespace; empty for what has none.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A whole resource, as its API gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: String,
    /// The API's version of it; opaque.
    pub resource_version: String,
    /// Its text.
    pub body: Vec<u8>,
}

/// The store could not do what was asked; nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Free space, then try again.
    #[error("the disk of {place} is full; free space there, nothing that was accepted is lost")]
    Full {
        /// The store's file.
        place: String,
    },
    /// Stop the other process, or give this one another file.
    #[error(
        "{place} is in use by another process; stop that one, or give this one another directory"
    )]
    InUse {
        /// The store's file.
        place: String,
    },
    /// Give this user the right to write there.
    #[error(
        "{place} cannot be opened for writing ({reason}); check its owner, its mode and its mount"
    )]
    Access {
        /// The store's file.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// Put the file aside, start again without it, or with a backup.
    #[error(
        "{place} is damaged ({reason}); start again: it is set aside, and the new one is empty"
    )]
    Damaged {
        /// The store's file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Run the version that wrote it, or a newer one.
    #[error(
        "{place} has format {found}, this program knows up to {known}; run the newer program again"
    )]
    TooNew {
        /// The store's file.
        place: String,
        /// The file's format.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// The medium fails: check the disk, try again.
    #[error("{place} cannot be written to or read ({reason}); check its disk with `dmesg`")]
    Failed {
        /// The store's file.
        place: String,
        /// What was said.
        reason: String,
    },
}

impl StoreError {
    /// The same of the file that a copy was made of.
    fn of_original(mut self, copies: &Path, originals: &Path) -> Self {
        let (Self::Full { place }
        | Self::InUse { place }
        | Self::Access { place, .. }
        | Self::Damaged { place, .. }
        | Self::TooNew { place, .. }
        | Self::Failed { place, .. }) = &mut self;
        if let Ok(name) = Path::new(place.as_str()).strip_prefix(copies) {
            *place = originals.join(name).display().to_string();
        }
        self
    }
}
