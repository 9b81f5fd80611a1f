//! The store, opened and read.

use std::path::PathBuf;

use device_twin::store::{Object, Run, Subscription};
use device_twin::{MemoryStore, Settings, SqliteStore, Store, StoreError};
use tracing::{error, warn};

use crate::clock::{clocks, now};
use crate::config::{self, StoreKind};
use crate::error::Error;
use crate::mappers::registration;
use crate::twins::Core;
use crate::uplink::{KINDS, Left};

/// The twins, as they were found.
pub(super) struct Opened {
    pub(super) core: Core,
    pub(super) run: Run,
    pub(super) registrations: Vec<Object>,
    pub(super) subscriptions: Vec<Object>,
    /// What the cloud gave this node, and has of it.
    pub(super) left: Left,
    /// Where the store is that was damaged, if it was.
    pub(super) aside: Option<PathBuf>,
}

/// Opens the store and reads all of it. A damaged one is set aside, for an empty one: the gateway comes up.
pub(super) fn open(config: &config::Store, settings: &Settings) -> Result<Opened, Error> {
    let open = |aside| {
        let mut core = Core::open(open_store(config)?, settings.clone(), clocks())?;
        let registrations = core.store().objects(registration::KIND)?;
        let subscriptions = core.store().objects(Subscription::KIND)?;
        let left = left(&mut core)?;
        let run = Run::next(core.store(), now())?;
        Ok(Opened { core, run, registrations, subscriptions, left, aside })
    };
    let (place, reason) = match open(None) {
        Err(Error::Store(StoreError::Damaged { place, reason })) => (place, reason),
        other => return other,
    };
    let database = config.dir.join(SqliteStore::FILE);
    let aside = SqliteStore::set_aside(&database, &place, now())
        .map_err(|error| Error::place("place for the damaged store beside", &database, error))?;
    error!(place, reason, aside = %aside.display(), "the store is damaged; it is set aside, and this one is empty");
    open(Some(aside))
}

fn left(core: &mut Core) -> Result<Left, StoreError> {
    let mut left = Left::default();
    for kind in KINDS {
        left.objects.append(&mut core.store().objects(kind.as_str())?);
    }
    let devices: Vec<_> = core.parked().cloned().collect();
    for device in devices {
        if let Some(confirmed) = core.store().confirmed(&device)? {
            left.confirmed.insert(device, confirmed);
        }
    }
    Ok(left)
}

fn open_store(config: &config::Store) -> Result<Box<dyn Store + Send>, Error> {
    if config.kind == StoreKind::Memory {
        warn!("store.kind is memory: twins, desired values too, end with this process");
        return Ok(Box::new(MemoryStore::new()));
    }
    let dir = &config.dir;
    std::fs::create_dir_all(dir).map_err(|error| Error::place("store directory", dir, error))?;
    Ok(Box::new(SqliteStore::open(&dir.join(SqliteStore::FILE))?))
}
