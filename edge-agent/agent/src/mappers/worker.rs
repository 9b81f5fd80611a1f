//! Brings one mapper up to what it should know, call by call, and sees whether it is still there.
//!
//! Level-triggered: what the mapper should know is compared with what it was told, so a call that got lost is made
//! again, and a change that was taken back is none. A mapper that cannot be reached is tried again under a growing
//! delay; a device that the mapper refuses is, too, and holds up no other.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use device_model::{Device, DeviceId, DeviceModel, Property};
use device_twin::Twin;
use dmi::convert::{DesiredTwin, Peer, device_to_proto, model_to_proto};
use dmi::proto::{self, DeviceMapperServiceClient};
use tokio::time::{Instant, MissedTickBehavior};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use super::{Mappers, Start, answers};
use crate::catalogue::ModelId;
use crate::leases::MapperName;

/// How often a mapper's socket is tried.
const PROBE: Duration = Duration::from_secs(2);
/// Refusals in a row after which the mapper counts as gone: a restart takes less.
const REFUSALS: u32 = 2;
/// A new mapper opens its socket only after it was answered, and may take its time.
const OPENING: Duration = Duration::from_secs(20);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);

/// What a mapper was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) devices: HashMap<DeviceId, ToldDevice>,
    pub(crate) models: HashMap<ModelId, Arc<DeviceModel>>,
}

/// What it was told of one device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToldDevice {
    device: Arc<Device>,
    /// Of the generations of all that is desired.
    desired: u64,
}

impl ToldDevice {
    /// What a message made of `twin` tells.
    pub(crate) fn of(twin: &Twin) -> Self {
        let mut hasher = DefaultHasher::new();
        for (_, state) in twin.properties() {
            state.desired.as_ref().map(|desired| desired.generation).hash(&mut hasher);
        }
        Self { device: twin.device().clone(), desired: hasher.finish() }
    }
}

/// The message for a twin's device with what is desired of it now.
pub(crate) fn message(twin: &Twin, peer: Peer) -> Result<proto::Device, device_model::Problem> {
    let desired = |property: &Property| {
        let (_, state) = twin.property(property.name.as_str())?;
        let desired = state.desired.as_ref()?;
        Some(DesiredTwin {
            value: desired.value.clone(),
            generation: desired.generation,
            set_at: desired.set_at,
            ack: state.ack.as_ref().map(|ack| (ack.generation, ack.code)),
        })
    };
    device_to_proto(twin.device(), desired, peer)
}

/// How a call went.
enum Call {
    Done,
    /// The mapper was not reached: nothing else will get through either.
    Unreached(Status),
    /// The mapper does not want this device.
    Refused(String),
}

/// Serves one registration until it is replaced, or until its mapper is gone: then its name and number.
pub(super) async fn run(mappers: Arc<Mappers>, start: Start) -> Option<(MapperName, u64)> {
    let client = dmi::connect::mapper(&start.info.address, mappers.timeout);
    let stop = start.stop.clone();
    let mut worker =
        Worker { mappers, client, start, todo: HashMap::new(), delay: FIRST_DELAY, reached: true };
    tokio::select! {
        () = stop.cancelled() => None,
        () = worker.serve() => Some((worker.start.info.name, worker.start.number)),
    }
}

struct Worker {
    mappers: Arc<Mappers>,
    client: DeviceMapperServiceClient<Channel>,
    start: Start,
    /// Devices to look at, each with the time before which it is not tried again and the delay after that.
    todo: HashMap<DeviceId, (Instant, Duration)>,
    /// Before the next try to reach the mapper.
    delay: Duration,
    reached: bool,
}

impl Worker {
    /// Ends when the mapper is gone.
    async fn serve(&mut self) {
        let mut probe = tokio::time::interval(PROBE);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let opened_by = Instant::now() + OPENING;
        let mut refusals = 0;
        let mut open = false;
        let mut retry_at: Option<Instant> = None;
        let dirty = self.start.dirty.clone();
        loop {
            let retry = async {
                match retry_at {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = probe.tick() => {
                    if answers(&self.start.info.address).await {
                        (open, refusals) = (true, 0);
                    } else if open || Instant::now() > opened_by {
                        refusals += 1;
                        if refusals >= REFUSALS {
                            return;
                        }
                    }
                    continue;
                }
                () = dirty.wake.notified() => {}
                () = retry => {}
            }
            retry_at = self.pass().await;
        }
    }

    /// Tries all that is due; when to try again.
    async fn pass(&mut self) -> Option<Instant> {
        let marked = self.start.dirty.take();
        let now = Instant::now();
        if marked.all {
            let mine = self.mappers.catalogue.devices().into_iter().map(|device| device.id.clone());
            let known: Vec<_> = mine.chain(self.start.told.devices.keys().cloned()).collect();
            self.todo.extend(known.into_iter().map(|id| (id, (now, FIRST_DELAY))));
        }
        self.todo.extend(marked.devices.into_iter().map(|id| (id, (now, FIRST_DELAY))));
        let mut due: Vec<_> =
            self.todo.iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| id.clone()).collect();
        due.sort();
        for id in due {
            match self.device(&id).await {
                Call::Done => {
                    self.todo.remove(&id);
                }
                Call::Refused(reason) => {
                    let (at, delay) = self.todo.entry(id.clone()).or_insert((now, FIRST_DELAY));
                    if *delay == FIRST_DELAY {
                        warn!(mapper = %self.start.info.name, device = %id, reason, "mapper refused the device");
                    }
                    *at = Instant::now() + *delay;
                    *delay = (*delay * 2).min(LAST_DELAY);
                }
                Call::Unreached(status) => {
                    self.mappers.metrics.mapper_failures.fetch_add(1, Ordering::Relaxed);
                    if std::mem::replace(&mut self.reached, false) {
                        debug!(mapper = %self.start.info.name, %status, "mapper not reached; trying again");
                    }
                    let again = Instant::now() + self.delay;
                    self.delay = (self.delay * 2).min(LAST_DELAY);
                    return Some(again);
                }
            }
        }
        if !std::mem::replace(&mut self.reached, true) {
            info!(mapper = %self.start.info.name, "mapper reached again");
        }
        self.delay = FIRST_DELAY;
        self.todo.values().map(|(at, _)| *at).min()
    }

    /// Tells the mapper what it should know of one device and does not.
    async fn device(&mut self, id: &DeviceId) -> Call {
        let mine = self.mappers.owner(id).as_ref() == Some(&self.start.info.name);
        let told = self.start.told.devices.get(id).cloned();
        let twin = match mine.then(|| self.mappers.catalogue.device(id)).flatten() {
            Some(_) => match self.mappers.twins.twin(id).await {
                Ok(twin) => twin,
                // The agent stops.
                Err(_) => return Call::Done,
            },
            None => None,
        };
        match (twin, told) {
            (None, None) => Call::Done,
            (None, Some(_)) => self.remove(id).await,
            (Some(twin), told) => self.update(&twin, told).await,
        }
    }

    async fn remove(&mut self, id: &DeviceId) -> Call {
        let request = proto::RemoveDeviceRequest {
            device_name: id.name().into(),
            device_namespace: id.namespace().into(),
        };
        match judge(self.client.remove_device(request).await) {
            // What it does not know it need not forget.
            Call::Done | Call::Refused(_) => {
                self.start.told.devices.remove(id);
                Call::Done
            }
            unreached => unreached,
        }
    }

    async fn update(&mut self, twin: &Twin, told: Option<ToldDevice>) -> Call {
        let now = ToldDevice::of(twin);
        if told.as_ref() == Some(&now) {
            return Call::Done;
        }
        let device = match message(twin, self.start.info.peer) {
            Ok(device) => Some(device),
            Err(problem) => return Call::Refused(problem.to_string()),
        };
        match self.model(twin.device()).await {
            Call::Done => {}
            other => return other,
        }
        let call = match told {
            None => {
                let request = proto::RegisterDeviceRequest { device };
                judge(self.client.register_device(request).await)
            }
            Some(_) => {
                let request = proto::UpdateDeviceRequest { device };
                judge(self.client.update_device(request).await)
            }
        };
        if matches!(call, Call::Done) {
            self.start.told.devices.insert(twin.device().id.clone(), now);
        }
        call
    }

    /// A mapper needs the model before the device.
    async fn model(&mut self, device: &Device) -> Call {
        let Some(model) = self.mappers.catalogue.model_of(device) else { return Call::Done };
        let id = (device.id.namespace().to_owned(), device.model.clone());
        let known = self.start.told.models.get(&id);
        if known.is_some_and(|known| **known == *model) {
            return Call::Done;
        }
        let message = Some(model_to_proto(&model));
        let call = match known {
            None => {
                let request = proto::CreateDeviceModelRequest { model: message };
                judge(self.client.create_device_model(request).await)
            }
            Some(_) => {
                let request = proto::UpdateDeviceModelRequest { model: message };
                judge(self.client.update_device_model(request).await)
            }
        };
        if matches!(call, Call::Done) {
            self.start.told.models.insert(id, model);
        }
        call
    }
}

fn judge<T>(answer: Result<tonic::Response<T>, Status>) -> Call {
    match answer {
        Ok(_) => Call::Done,
        Err(status) => match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::ResourceExhausted => Call::Unreached(status),
            _ => Call::Refused(format!("{}: {}", status.code(), status.message())),
        },
    }
}
