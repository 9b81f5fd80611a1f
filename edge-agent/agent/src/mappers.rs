//! The mappers of this node: who is registered, who has which device, and what each was told.
//!
//! One small task per mapper brings it up to what it should know ([`worker`]); this file decides who that is. The
//! task also knocks at the mapper's own socket every two seconds: a mapper that died does not answer there, so its
//! devices are given up long before its lease ends, also those of peers that know no leases.

mod dirty;
mod reconciler;
pub(crate) mod registration;
mod resume;
#[cfg(test)]
mod tests;
mod told;
mod worker;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use device_model::DeviceId;
use device_twin::store::Object;
use device_twin::{Change, ChangeKind, Command, PropertyChange};
use dmi::convert::Peer;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::view::{Part, PartStatus};
use crate::catalogue::Catalogue;
use crate::feed::Origin;
use crate::health::Health;
use crate::leases::{Denied, Leases, MapperName};
use crate::metrics::Metrics;
use crate::traces::Traces;
use crate::twins::{Twins, Unavailable};

use dirty::Dirty;
pub(crate) use reconciler::Reconciler;
use resume::Former;
pub(crate) use told::{Told, ToldDevice, message};

/// Registrations that may wait for their task.
const REGISTRATIONS: usize = 16;
/// A new mapper opens its socket only after it was answered, and may take its time.
const OPENING: Duration = Duration::from_secs(20);
/// Longest wait for a socket on this machine to accept.
const KNOCK: Duration = Duration::from_secs(1);

/// What a mapper says about itself.
#[derive(Clone, Debug)]
pub(crate) struct MapperInfo {
    pub(crate) name: MapperName,
    pub(crate) protocol: String,
    /// Its own socket.
    pub(crate) address: PathBuf,
    pub(crate) peer: Peer,
    /// Whether it knows leases.
    pub(crate) leased: bool,
}

/// A mapper was not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRegistered {
    #[error("mapper {name} is registered already and answers at {}; give this one another name", address.display())]
    NameTaken { name: MapperName, address: PathBuf },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Who is registered. Shared by the DMI server, which registers, and the task that reconciles.
#[derive(Debug)]
pub(crate) struct Mappers {
    registry: Mutex<Registry>,
    twins: Twins,
    catalogue: Arc<Catalogue>,
    metrics: Arc<Metrics>,
    pub(crate) traces: Arc<Traces>,
    timeout: Duration,
    started: mpsc::Sender<Start>,
    ended: mpsc::Sender<End>,
}

#[derive(Debug)]
struct Registry {
    leases: Leases,
    mappers: HashMap<MapperName, Registered>,
    count: u64,
}

#[derive(Debug)]
struct Registered {
    protocol: String,
    address: PathBuf,
    /// Numbers registrations: a task of an older one has nothing to say.
    number: u64,
    dirty: Arc<Dirty>,
    stop: CancellationToken,
    /// It is to be ended, and the store is being told so.
    ending: bool,
}

/// Asks for the task of a new registration.
#[derive(Debug)]
struct Start {
    info: MapperInfo,
    number: u64,
    dirty: Arc<Dirty>,
    stop: CancellationToken,
    told: Told,
    /// Whether the store keeps what is noted in `told`.
    kept: bool,
}

/// Asks for the end of a registration.
#[derive(Debug)]
struct End {
    name: MapperName,
    number: u64,
    done: oneshot::Sender<Result<(), Unavailable>>,
}

/// A registration that its mapper has not been answered yet.
///
/// Its task starts when this is dropped, in any case: a caller that hung up meanwhile leaves a mapper that was told
/// nothing, and the task tells it.
pub(crate) struct Pending {
    start: Option<Start>,
    task: Option<mpsc::OwnedPermit<Start>>,
    /// The devices that are the mapper's.
    pub(crate) devices: Vec<DeviceId>,
    /// Its token.
    pub(crate) token: Arc<str>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let (Some(start), Some(task)) = (self.start.take(), self.task.take()) {
            // Whatever changed since `told` was put together.
            start.dirty.mark_all();
            task.send(start);
        }
    }
}

impl Mappers {
    /// Nobody is registered. A lease lasts `ttl` without a call; a call to a mapper may take `timeout`. `objects`
    /// are the registrations that the store keeps, `devices` those that it knew at the start.
    pub(crate) fn new(
        twins: Twins,
        catalogue: Arc<Catalogue>,
        metrics: Arc<Metrics>,
        ttl: Duration,
        timeout: Duration,
        objects: &[Object],
        devices: Vec<DeviceId>,
    ) -> (Arc<Self>, Reconciler) {
        let (started, starts) = mpsc::channel(REGISTRATIONS);
        let (ended, ends) = mpsc::channel(REGISTRATIONS);
        let registry = Registry { leases: Leases::new(ttl), mappers: HashMap::new(), count: 0 };
        let registry = Mutex::new(registry);
        let feed = twins.feed().clone();
        let traces = Arc::new(Traces::new(feed.clone(), feed.newest(), metrics.clone()));
        let mappers = Self { registry, twins, catalogue, metrics, traces, timeout, started, ended };
        let mappers = Arc::new(mappers);
        let former = Former::read(objects, devices);
        (mappers.clone(), Reconciler::new(mappers, starts, ends, former))
    }

    /// How long a lease lasts without a call.
    pub(crate) fn ttl(&self) -> Duration {
        self.registry().leases.ttl()
    }

    /// Sets that for every renewal from now on.
    pub(crate) fn set_ttl(&self, ttl: Duration) {
        self.registry().leases.set_ttl(ttl);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a mapper and gives it its devices; complete it with [`Mappers::begin`].
    pub(crate) async fn register(&self, info: MapperInfo) -> Result<Pending, NotRegistered> {
        let former = self.registry().mappers.get(&info.name).map(|known| known.address.clone());
        if let Some(address) = former
            && address != info.address
            && answers(&address).await
        {
            return Err(NotRegistered::NameTaken { name: info.name, address });
        }
        let former = self.registry().of_another_protocol(&info);
        if let Some(number) = former {
            // Whoever asks may hang up in the middle of it.
            let (done, ended) = oneshot::channel();
            let end = End { name: info.name.clone(), number, done };
            self.ended.send(end).await.map_err(|_| Unavailable::Stopped)?;
            ended.await.map_err(|_| Unavailable::Stopped)??;
        }
        let task = self.started.clone().reserve_owned().await;
        let task = task.map_err(|_| Unavailable::Stopped)?;
        let token: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let mut registry = self.registry();
        let (number, dirty, stop) = registry.enter(&info, &token);
        let Registry { leases, mappers, .. } = &mut *registry;
        let mut devices = Vec::new();
        for device in self.catalogue.devices() {
            if device.protocol != info.protocol {
                continue;
            }
            let had = leases.owner(&device.id).cloned();
            match leases.assign(&device.id, &device.protocol) {
                Some(owner) if owner == info.name => devices.push(device.id.clone()),
                Some(owner) if had.as_ref() != Some(&owner) => {
                    mappers[&owner].dirty.mark(&device.id);
                }
                _ => {}
            }
        }
        drop(registry);
        info!(
            mapper = %info.name, protocol = info.protocol, devices = devices.len(),
            socket = %info.address.display(), "mapper registered"
        );
        let told = Told::nothing(info.leased);
        let start = Start { info, number, dirty, stop, told, kept: false };
        Ok(Pending { start: Some(start), task: Some(task), devices, token })
    }

    /// Begins to keep a registered mapper up to date. `told` is what the answer to its registration holds.
    pub(crate) async fn begin(
        &self,
        mut pending: Pending,
        mut told: Told,
    ) -> Result<(), Unavailable> {
        let Some(start) = &mut pending.start else { return Ok(()) };
        if start.info.leased {
            // It may have been one without.
            self.twins.forget(registration::key(&start.info.name)).await?;
        } else {
            let noted = told.note();
            match self.twins.keep(registration::object(&start.info, noted)).await {
                Ok(()) => start.kept = true,
                // It is registered all the same; its task keeps it as soon as the store takes it.
                Err(Unavailable::Store(_)) => {}
                Err(error) => return Err(error),
            }
        }
        start.told = told;
        Ok(())
    }

    /// Whether the bearer of `token` may speak for `device`; renews its lease.
    pub(crate) fn admit(&self, token: &str, device: &DeviceId) -> Result<(), Denied> {
        self.registry().leases.admit(token, device, Instant::now())
    }

    /// Renews the lease of `token`.
    pub(crate) fn renew(&self, token: &str) -> Result<(), Denied> {
        self.registry().leases.renew(token, Instant::now()).map(drop)
    }

    /// The mapper that has `device`.
    pub(crate) fn owner(&self, device: &DeviceId) -> Option<MapperName> {
        self.registry().leases.owner(device).cloned()
    }

    /// The mapper that has `device` and is not found gone: who is told that its state is unknown is told no mapper.
    pub(crate) fn live_owner(&self, device: &DeviceId) -> Option<MapperName> {
        let registry = self.registry();
        let owner = registry.leases.owner(device)?;
        let ending = registry.mappers.get(owner).is_some_and(|mapper| mapper.ending);
        (!ending).then(|| owner.clone())
    }

    /// The mapper that has `device`, and its socket.
    pub(crate) fn socket(&self, device: &DeviceId) -> Option<(MapperName, PathBuf)> {
        let registry = self.registry();
        let owner = registry.leases.owner(device)?;
        Some((owner.clone(), registry.mappers.get(owner)?.address.clone()))
    }

    /// How many are registered.
    pub(crate) fn count(&self) -> usize {
        self.registry().mappers.len()
    }

    /// Whether each device has a mapper.
    fn tell_health(&self, health: &Health) {
        let registry = self.registry();
        let mut alone = self.catalogue.find(|device| registry.leases.owner(&device.id).is_none());
        drop(registry);
        alone.sort_by(|a, b| a.id.cmp(&b.id));
        let Some(first) = alone.first() else { return health.ok(Part::Mappers) };
        let (id, protocol) = (&first.id, &first.protocol);
        let reason = match alone.len() {
            1 => format!("device {id} has no mapper: none for {protocol} is registered"),
            several => format!(
                "{several} devices have no mapper, the first of them {id}: none for {protocol} is registered"
            ),
        };
        let remedy = format!("start a mapper for {protocol}, or remove the device's manifest");
        health.set(Part::Mappers, PartStatus::Degraded, reason, remedy);
    }

    /// A device is new, changed or gone.
    fn follow(&self, change: &Change) {
        let device = &change.device;
        let wanted = change.properties.iter().any(PropertyChange::desired_changed);
        let mut registry = self.registry();
        let Registry { leases, mappers, .. } = &mut *registry;
        let former = leases.owner(&device.id).cloned();
        let present = match change.kind {
            ChangeKind::Added | ChangeKind::Described => {
                leases.assign(&device.id, &device.protocol)
            }
            ChangeKind::Removed => {
                leases.release(&device.id);
                None
            }
            ChangeKind::Updated if wanted => former.clone(),
            ChangeKind::Updated => return,
        };
        let moved = if former == present { None } else { former };
        for name in moved.iter().chain(&present) {
            if let Some(mapper) = mappers.get(name) {
                mapper.dirty.mark(&device.id);
            }
        }
    }

    /// Brings everybody up to everything, after a gap in what was heard.
    fn resync(&self) {
        let devices = self.catalogue.devices();
        let mut registry = self.registry();
        let Registry { leases, mappers, .. } = &mut *registry;
        for device in devices {
            leases.assign(&device.id, &device.protocol);
        }
        for mapper in mappers.values() {
            mapper.dirty.mark_all();
        }
    }

    /// A mapper is gone, unless it has registered again since it had `number`: nobody knows the state of its devices,
    /// until another one has them.
    ///
    /// # Errors
    /// That is not told: it is registered still, and is to be ended again.
    async fn end(&self, name: &MapperName, number: u64, why: &str) -> Result<(), Unavailable> {
        let lost = {
            let mut registry = self.registry();
            let Some(mapper) = registry.present(name, number) else { return Ok(()) };
            mapper.ending = true;
            registry.leases.devices(name)
        };
        // Before anybody else has them: what the next one says of their state must stay.
        let reason = format!("its mapper {name} is gone: {why}").into();
        let lose = Command::Lose { devices: lost, reason };
        self.twins.apply(vec![lose], Origin::Unasked).await?;
        let lost = {
            let mut registry = self.registry();
            let Some(mapper) = registry.present(name, number) else { return Ok(()) };
            mapper.stop.cancel();
            registry.mappers.remove(name);
            registry.leases.end(name)
        };
        match self.forget(name).await {
            // Not found by the next run, it is forgotten then.
            Ok(()) | Err(Unavailable::Store(_)) => {}
            Err(error) => return Err(error),
        }
        let mut moved = 0;
        let mut registry = self.registry();
        let Registry { leases, mappers, .. } = &mut *registry;
        for id in &lost {
            let Some(device) = self.catalogue.device(id) else { continue };
            if let Some(owner) = leases.assign(id, &device.protocol) {
                mappers[&owner].dirty.mark(id);
                moved += 1;
            }
        }
        drop(registry);
        warn!(mapper = %name, devices = lost.len(), moved, why, "mapper gone");
        Ok(())
    }

    /// A mapper that could not be ended, and that nobody found gone, is there as before.
    fn stays(&self, name: &MapperName, number: u64) {
        if let Some(mapper) = self.registry().present(name, number) {
            mapper.ending = false;
        }
    }

    /// The store need not keep the registration of a mapper that is gone. Did it come back meanwhile, its task keeps it
    /// again.
    async fn forget(&self, name: &MapperName) -> Result<(), Unavailable> {
        self.twins.forget(registration::key(name)).await?;
        if let Some(back) = self.registry().mappers.get(name) {
            back.dirty.mark_forgotten();
        }
        Ok(())
    }

    /// The mappers whose leases are over, with the numbers of their registrations.
    fn ended(&self) -> Vec<(MapperName, u64)> {
        let registry = self.registry();
        let names = registry.leases.ended(Instant::now()).into_iter();
        names.filter_map(|name| Some((name.clone(), registry.mappers.get(&name)?.number))).collect()
    }
}

impl Registry {
    /// The registration of that name, unless it has registered again since it had `number`.
    fn present(&mut self, name: &MapperName, number: u64) -> Option<&mut Registered> {
        self.mappers.get_mut(name).filter(|mapper| mapper.number == number)
    }

    /// The number of a registration under the same name for devices of another protocol.
    fn of_another_protocol(&self, info: &MapperInfo) -> Option<u64> {
        let known = self.mappers.get(&info.name)?;
        (known.protocol != info.protocol).then_some(known.number)
    }

    /// A mapper is there, for the first time or again: its number, what it has to be told and its end.
    fn enter(
        &mut self,
        info: &MapperInfo,
        token: &Arc<str>,
    ) -> (u64, Arc<Dirty>, CancellationToken) {
        self.leases.register(&info.name, &info.protocol, token, info.leased, Instant::now());
        self.count += 1;
        let (dirty, stop) = (Arc::<Dirty>::default(), CancellationToken::new());
        let registered = Registered {
            protocol: info.protocol.clone(),
            address: info.address.clone(),
            number: self.count,
            dirty: dirty.clone(),
            stop: stop.clone(),
            ending: false,
        };
        if let Some(former) = self.mappers.insert(info.name.clone(), registered) {
            former.stop.cancel();
        }
        (self.count, dirty, stop)
    }
}

/// Whether somebody accepts connections at `socket`.
async fn answers(socket: &Path) -> bool {
    matches!(tokio::time::timeout(KNOCK, UnixStream::connect(socket)).await, Ok(Ok(_)))
}
