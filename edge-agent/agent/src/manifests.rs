//! The manifests folder: DeviceModel and Device files, watched and reconciled.
//!
//! [`folder`] decides, without I/O: what is defined, from the last good content of each file. This file reads the
//! folder, when the system says that something changed and every ten seconds besides, and tells catalogue, twins
//! and mappers what became of it.

mod folder;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use device_model::DeviceId;
use device_twin::{Command, Rejected};
use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use folder::SETTLE;
pub(crate) use folder::{Fault, Folder};

use crate::api::view::{Part, PartStatus};
use crate::catalogue::{Catalogue, Definitions};
use crate::feed::Origin;
use crate::health::Health;
use crate::twins::{Twins, Unavailable};

/// How often the folder is read though nobody said that it changed.
const RESYNC: Duration = Duration::from_secs(10);
/// The same, while the store does not take what it says.
const AGAIN: Duration = Duration::from_secs(1);
/// Devices that are loaded in one transaction: what one needs on its way is freed before the next one.
const CHUNK: usize = 64;

/// What is wrong in the folder now, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Faults(RwLock<Vec<Fault>>);

impl Faults {
    /// Every present fault, by file.
    pub(crate) fn all(&self) -> Vec<Fault> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong in what the folder says of a device.
    pub(crate) fn of_device(&self, id: &DeviceId) -> Option<String> {
        let faults = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_it = |fault: &&Fault| fault.device.as_ref() == Some(id);
        faults.iter().find(of_it).map(|fault| fault.message.clone())
    }

    pub(crate) fn replace(&self, faults: Vec<Fault>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = faults;
    }
}

/// The task that keeps the definitions true to the folder.
pub(crate) struct Manifests {
    dir: PathBuf,
    folder: Folder,
    twins: Twins,
    catalogue: Arc<Catalogue>,
    faults: Arc<Faults>,
    health: Arc<Health>,
    changed: Arc<Notify>,
    /// Kept for its watch, which ends with it; none where the system has no watches to give.
    _watcher: Option<notify::RecommendedWatcher>,
    loaded: Definitions,
    /// Whether the folder was never read.
    first: bool,
    /// Whether the store did not take all of it.
    unkept: bool,
    /// What of it no look into the folder would bring again.
    again: Vec<Command>,
}

impl Manifests {
    /// Watches `dir`, making it if need be.
    pub(crate) fn watch(
        dir: &Path,
        twins: Twins,
        catalogue: Arc<Catalogue>,
        faults: Arc<Faults>,
        health: Arc<Health>,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let changed = Arc::new(Notify::new());
        let watcher = watcher(dir, changed.clone())
            .inspect_err(
                |error| warn!(%error, "cannot watch the manifests folder; it is read every 10 s"),
            )
            .ok();
        Ok(Self {
            dir: dir.into(),
            folder: Folder::default(),
            twins,
            catalogue,
            faults,
            health,
            changed,
            _watcher: watcher,
            loaded: Definitions::default(),
            first: true,
            unkept: false,
            again: Vec::new(),
        })
    }

    /// Reconciles until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let Ok(unsettled) = self.reconcile().await else { return };
            if !unsettled {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep(if self.unkept { AGAIN } else { RESYNC }) => continue,
                }
            }
            // Changes come in bursts: an editor writes, renames and touches.
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SETTLE) => {}
            }
        }
    }

    /// Reads the folder once and brings everybody up to it; whether there is a file to be read again soon.
    pub(crate) async fn reconcile(&mut self) -> Result<bool, Unavailable> {
        let dir = self.dir.clone();
        let mut folder = std::mem::take(&mut self.folder);
        let read = tokio::task::spawn_blocking(move || {
            let look = folder.read(&dir, SystemTime::now());
            (folder, look)
        });
        let Ok((folder, look)) = read.await else { return Err(Unavailable::Stopped) };
        self.folder = folder;
        if !look.changed && !self.unkept {
            return Ok(look.unsettled);
        }
        let (wanted, mut faults) = self.folder.resolve(&self.loaded);
        let before = std::mem::replace(&mut self.loaded, wanted.clone());
        let (mut load, mut gone) = difference(&before, &wanted);
        if !self.folder.has_unread() {
            // What the store knows from an earlier run and no file holds. While a file is broken it may be that one's.
            let parked = self.twins.parked().await?;
            gone.extend(parked.into_iter().filter(|id| !wanted.devices.contains_key(id)));
        }
        load.sort_by(|a, b| a.id.cmp(&b.id));
        self.catalogue.replace(wanted);
        // What the store knows of states is of an earlier run; nobody has said anything in this one.
        let states = match std::mem::replace(&mut self.first, false) {
            true => load.iter().map(|device| device.id.clone()).collect(),
            false => Vec::new(),
        };
        let removals = gone.into_iter().map(Command::Remove);
        let loads = load.into_iter().map(Command::Load);
        let reason = || "nothing was heard of it since the agent started".into();
        let lose =
            (!states.is_empty()).then(|| Command::Lose { devices: states, reason: reason() });
        let again = std::mem::take(&mut self.again);
        let commands: Vec<_> = removals.chain(loads).chain(lose).chain(again).collect();
        let mut rejections = false;
        self.unkept = false;
        for chunk in commands.chunks(CHUNK) {
            let results = self.apply(chunk).await?;
            for (command, result) in chunk.iter().zip(results) {
                let Err(why) = result else { continue };
                if let Command::Remove(id) = command
                    && let Some(old) = before.devices.get(id)
                {
                    // It goes when the store lets it go.
                    self.loaded.devices.insert(id.clone(), old.clone());
                }
                if let Command::Load(device) = command {
                    faults.push(Fault::of_device(&device.id, why));
                    // It is as it was, and is tried again when the folder is read.
                    match before.devices.get(&device.id) {
                        Some(old) => self.loaded.devices.insert(device.id.clone(), old.clone()),
                        None => self.loaded.devices.remove(&device.id),
                    };
                    rejections = true;
                }
            }
        }
        if rejections || self.unkept {
            self.catalogue.replace(self.loaded.clone());
        }
        self.tell_faults(&faults);
        self.tell_health(&faults);
        self.faults.replace(faults);
        let (devices, models) = (self.loaded.devices.len(), self.loaded.models.len());
        if look.changed {
            info!(devices, models, changed = commands.len(), "manifests read");
        }
        Ok(look.unsettled)
    }

    fn tell_health(&self, faults: &[Fault]) {
        let Some(Fault { file, message, .. }) = faults.first() else {
            return self.health.ok(Part::Manifests);
        };
        let reason = match faults.len() {
            1 => format!("{file}: {message}"),
            several => format!("{several} problems, the first in {file}: {message}"),
        };
        let remedy = "mend the file; it is read again by itself";
        self.health.set(Part::Manifests, PartStatus::Degraded, reason, remedy);
    }

    /// Commits `commands` together or, if the store does not take that, one by one: most change nothing there.
    async fn apply(
        &mut self,
        commands: &[Command],
    ) -> Result<Vec<Result<(), String>>, Unavailable> {
        match self.twins.apply(commands.to_vec(), Origin::Unasked).await {
            Ok(results) => {
                let told =
                    |result: Result<_, Rejected>| result.map(drop).map_err(|e| e.to_string());
                return Ok(results.into_iter().map(told).collect());
            }
            Err(Unavailable::Store(_)) => {}
            Err(error) => return Err(error),
        }
        let mut results = Vec::with_capacity(commands.len());
        for command in commands {
            match self.twins.apply(vec![command.clone()], Origin::Unasked).await {
                Ok(mut one) => {
                    results.extend(one.pop().map(|one| one.map(drop).map_err(|e| e.to_string())));
                }
                Err(Unavailable::Store(error)) => {
                    self.unkept = true;
                    if matches!(command, Command::Lose { .. }) {
                        self.again.push(command.clone());
                    }
                    results.push(Err(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    /// One line for each fault that is new, and for each that is mended.
    fn tell_faults(&self, faults: &[Fault]) {
        let known = self.faults.all();
        for fault in faults.iter().filter(|fault| !known.contains(fault)) {
            warn!(file = %fault.file, "{}", fault.message);
        }
        for fault in known.iter().filter(|fault| !faults.contains(fault)) {
            info!(file = %fault.file, "mended");
        }
    }
}

fn watcher(dir: &Path, changed: Arc<Notify>) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a file is an event, too; our own reading must not wake us.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    })?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Devices that are new or other than before, and those that are gone.
fn difference(
    before: &Definitions,
    after: &Definitions,
) -> (Vec<Arc<device_model::Device>>, Vec<DeviceId>) {
    let changed = |device: &&Arc<device_model::Device>| {
        before.devices.get(&device.id).is_none_or(|old| !Arc::ptr_eq(old, device))
    };
    let load = after.devices.values().filter(changed).cloned().collect();
    let gone =
        before.devices.keys().filter(|id| !after.devices.contains_key(id)).cloned().collect();
    (load, gone)
}
