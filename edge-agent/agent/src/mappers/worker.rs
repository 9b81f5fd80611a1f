//! Brings one mapper up to what it should know, call by call, and sees whether it is still there.
//!
//! Level-triggered: what the mapper should know is compared with what it was told, so a call that got lost is made
//! again, and a change that was taken back is none. A mapper that cannot be reached is tried again under a growing
//! delay; a device that the mapper refuses, or does not answer for in time, is, too. Calls go one at a time, which is
//! what mappers of others are made for: a device that the mapper hangs on holds up the others for one call, and then
//! gets a small share of the task's time.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use device_model::{Device, DeviceId};
use device_twin::Twin;
use dmi::convert::model_to_proto;
use dmi::proto::{self, DeviceMapperServiceClient};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use super::registration::{self, FIRST, Noted, OTHER};
use super::told::{ToldDevice, message};
use super::{Mappers, OPENING, Start, answers};
use crate::feed::Origin;
use crate::leases::MapperName;
use crate::refuse;

/// How often a mapper's socket is tried.
const PROBE: Duration = Duration::from_secs(2);
/// Time-outs in a row after which the mapper counts as not reached.
const SILENCES: u32 = 3;
/// Refusals in a row after which the mapper counts as gone: a restart takes less.
const REFUSALS: u32 = 2;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(30);
/// After a call that took all of its time, a device rests up to so many times as long.
const REST: u32 = 16;

/// How a call went.
enum Call {
    Done,
    /// The mapper was not reached: nothing else will get through either.
    Unreached(Status),
    /// The mapper did not answer in time: it may be this device alone.
    Silent(Status),
    /// The mapper does not want this device.
    Refused(Status),
}

/// Serves one registration until it is replaced or the agent stops, or until its mapper is gone: then its name and
/// number.
pub(super) async fn run(
    mappers: Arc<Mappers>,
    start: Start,
    agent: CancellationToken,
) -> Option<(MapperName, u64)> {
    let stop = start.stop.clone();
    let mut worker = Worker::new(mappers, start);
    tokio::select! {
        () = stop.cancelled() => None,
        () = agent.cancelled() => {
            worker.keep().await;
            None
        }
        () = worker.serve() => Some((worker.start.info.name, worker.start.number)),
    }
}

/// When a device is looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    /// How long it waited before; those that wait longest come last, since they may cost the time of a call again.
    delay: Duration,
    at: Instant,
    /// Whether the mapper did not answer for it the last time: then there is no sooner.
    silent: bool,
}

impl Due {
    fn at(now: Instant) -> Self {
        Self { delay: Duration::ZERO, at: now, silent: false }
    }

    /// There is news of the device.
    fn hurry(&mut self, now: Instant) {
        if !self.silent {
            *self = Self::at(now);
        }
    }

    /// Waits longer than the last time, but for `least` to `most`.
    fn put_off(&mut self, now: Instant, least: Duration, most: Duration) {
        self.delay = (self.delay * 2).clamp(least, most);
        self.at = now + self.delay;
    }
}

struct Worker {
    mappers: Arc<Mappers>,
    client: DeviceMapperServiceClient<Channel>,
    start: Start,
    /// Devices to look at.
    todo: HashMap<DeviceId, Due>,
    /// Before the next try to reach the mapper.
    delay: Duration,
    reached: bool,
    /// Calls in a row that it did not answer in time.
    silences: u32,
    /// Whether its socket was ever seen to answer.
    open: bool,
    /// Whether the store lacks some of what is noted.
    unkept: bool,
}

impl Worker {
    fn new(mappers: Arc<Mappers>, start: Start) -> Self {
        let client = dmi::connect::mapper(&start.info.address, mappers.timeout);
        let unkept = !start.kept && start.told.noted.is_some();
        Self {
            mappers,
            client,
            start,
            todo: HashMap::new(),
            delay: FIRST_DELAY,
            reached: true,
            silences: 0,
            open: false,
            unkept,
        }
    }

    /// Ends when the mapper is gone.
    async fn serve(&mut self) {
        let mut probe = tokio::time::interval(PROBE);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let opened_by = Instant::now() + OPENING;
        let mut refusals = 0;
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
                        (self.open, refusals) = (true, 0);
                    } else if self.open || Instant::now() > opened_by {
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
        self.unkept |= marked.forgotten;
        if marked.all {
            let mine = self.mappers.catalogue.devices().into_iter().map(|device| device.id.clone());
            let told = &self.start.told;
            let noted = told.noted.iter().flat_map(Noted::keys);
            let known: Vec<_> = mine.chain(told.devices.keys().chain(noted).cloned()).collect();
            known.into_iter().for_each(|id| self.hurry(id, now));
        }
        marked.devices.into_iter().for_each(|id| self.hurry(id, now));
        let todo = self.todo.iter().filter(|(_, due)| due.at <= now);
        let mut due: Vec<_> = todo.map(|(id, due)| (*due, id.clone())).collect();
        due.sort();
        let due: Vec<_> = due.into_iter().map(|(_, id)| id).collect();
        // Before it is told: a device that the mapper may know is never taken for one that is new to it.
        if self.start.told.noted.is_some() {
            for id in &due {
                if self.is_mine(id) {
                    self.note(id, |known| known.or(Some(FIRST)));
                }
            }
            self.keep().await;
        }
        let again = self.tell(due).await;
        self.keep().await;
        let later = self.unkept && self.start.told.noted.is_some();
        again.into_iter().chain(later.then(|| Instant::now() + LAST_DELAY)).min()
    }

    /// Tells the mapper of each of `due`, up to the first that it does not answer in time; when to go on.
    async fn tell(&mut self, due: Vec<DeviceId>) -> Option<Instant> {
        for id in due {
            let call = self.device(&id).await;
            match call {
                Call::Done => {
                    self.silences = 0;
                    self.todo.remove(&id);
                }
                Call::Refused(status) => {
                    self.silences = 0;
                    if self.put_off(&id, false) {
                        warn!(
                            mapper = %self.start.info.name, device = %id, code = ?status.code(),
                            reason = status.message(), "mapper refused the device"
                        );
                    }
                    // It only lacks something, and will ask for it.
                    if status.code() != Code::FailedPrecondition {
                        let wordless = || Some(format!("refused: {}", status.code()).into());
                        let problem = refuse::in_short(status.message()).or_else(wordless);
                        self.judged(&id, problem).await;
                    }
                }
                Call::Silent(status) => {
                    self.mappers.metrics.mapper_failures.fetch_add(1, Ordering::Relaxed);
                    if self.put_off(&id, true) {
                        warn!(mapper = %self.start.info.name, device = %id, %status, "no answer for the device");
                    }
                    self.silences = self.silences.saturating_add(1);
                    if self.silences >= SILENCES {
                        return Some(self.unreached(&status));
                    }
                    // The others are still due; before them, what happened meanwhile is seen.
                    return self.earliest();
                }
                Call::Unreached(status) => {
                    self.mappers.metrics.mapper_failures.fetch_add(1, Ordering::Relaxed);
                    return Some(self.unreached(&status));
                }
            }
        }
        if !std::mem::replace(&mut self.reached, true) {
            info!(mapper = %self.start.info.name, "mapper reached again");
        }
        self.delay = FIRST_DELAY;
        self.earliest()
    }

    /// When the next device is due.
    fn earliest(&self) -> Option<Instant> {
        self.todo.values().map(|due| due.at).min()
    }

    /// There is news of a device.
    fn hurry(&mut self, id: DeviceId, now: Instant) {
        self.todo.entry(id).or_insert(Due::at(now)).hurry(now);
    }

    /// Has a device wait, longer each time; whether that is news.
    fn put_off(&mut self, id: &DeviceId, silent: bool) -> bool {
        let now = Instant::now();
        let timeout = self.mappers.timeout;
        let (least, most) =
            if silent { (timeout, timeout * REST) } else { (FIRST_DELAY, LAST_DELAY) };
        let due = self.todo.entry(id.clone()).or_insert(Due::at(now));
        let news = due.delay.is_zero() || due.silent != silent;
        due.silent = silent;
        due.put_off(now, least, most);
        news
    }

    /// Nothing gets through to the mapper: when to try again.
    fn unreached(&mut self, status: &Status) -> Instant {
        if std::mem::replace(&mut self.reached, false) {
            debug!(mapper = %self.start.info.name, %status, "mapper not reached; trying again");
        }
        let again = Instant::now() + self.delay;
        self.delay = (self.delay * 2).min(LAST_DELAY);
        again
    }

    fn is_mine(&self, id: &DeviceId) -> bool {
        self.mappers.owner(id).as_ref() == Some(&self.start.info.name)
    }

    /// Changes what is noted of a device.
    fn note(&mut self, id: &DeviceId, change: impl FnOnce(Option<u64>) -> Option<u64>) {
        let Some(noted) = &mut self.start.told.noted else { return };
        let before = noted.get(id).copied();
        let after = change(before);
        match after {
            _ if before == after => return,
            Some(fingerprint) => noted.insert(id.clone(), fingerprint),
            None => noted.remove(id),
        };
        self.unkept = true;
    }

    /// Has the store keep what was noted since the last time.
    async fn keep(&mut self) {
        if let Some(noted) = &self.start.told.noted
            && self.unkept
        {
            let object = registration::object(&self.start.info, noted);
            // Cleared only then: stopped in the middle of it, or refused by the store, the task does it again. What
            // is not noted is told again.
            if self.mappers.twins.keep(object).await.is_ok() {
                self.unkept = false;
            }
        }
    }

    /// Tells the mapper what it should know of one device and does not.
    async fn device(&mut self, id: &DeviceId) -> Call {
        let mine = self.is_mine(id);
        let told = self.start.told.devices.get(id).cloned();
        let twin = match mine.then(|| self.mappers.catalogue.device(id)).flatten() {
            Some(_) => match self.mappers.twins.twin(id).await {
                Ok(twin) => twin,
                // The agent stops.
                Err(_) => return Call::Done,
            },
            None => None,
        };
        let noted = self.start.told.noted.as_ref().is_some_and(|noted| noted.contains_key(id));
        match (twin, told) {
            (None, None) if !noted => Call::Done,
            (None, _) => self.remove(id).await,
            (Some(twin), told) => self.update(&twin, told).await,
        }
    }

    async fn remove(&mut self, id: &DeviceId) -> Call {
        let request = proto::RemoveDeviceRequest {
            device_name: id.name().into(),
            device_namespace: id.namespace().into(),
        };
        let call = judge(self.client.remove_device(request).await);
        if let Call::Refused(reason) = &call {
            debug!(mapper = %self.start.info.name, device = %id, reason = reason.message(), "mapper refused to remove the device");
        }
        match call {
            // What it does not know it need not forget.
            Call::Done | Call::Refused(_) => {
                self.start.told.devices.remove(id);
                self.note(id, |_| None);
                Call::Done
            }
            other => other,
        }
    }

    async fn update(&mut self, twin: &Twin, told: Option<ToldDevice>) -> Call {
        let now = ToldDevice::of(twin);
        // After a refusal the mapper is asked again, also for what it had before: it has to take something.
        let refused = twin.condition().problem.is_some();
        if told.as_ref() == Some(&now) && !refused {
            return Call::Done;
        }
        let id = &twin.device().id;
        let noted = self.start.told.noted.as_ref().and_then(|noted| noted.get(id)).copied();
        let fingerprint = noted.map(|_| now.fingerprint());
        if told.is_none() && noted.is_some() && noted == fingerprint && !refused {
            // An earlier run told it just this.
            self.start.told.devices.insert(id.clone(), now);
            return Call::Done;
        }
        match self.model(twin.device()).await {
            Call::Done => {}
            other => return other,
        }
        let known = told.is_some() || noted.is_some_and(|noted| noted != FIRST);
        let call = match message(twin, self.start.info.peer, &self.mappers.traces) {
            Ok(device) if known => self.change(device).await,
            Ok(device) => self.register(device).await,
            Err(problem) => Call::Refused(Status::invalid_argument(problem.to_string())),
        };
        match call {
            Call::Done => {
                self.open = true;
                self.note(id, |_| fingerprint);
                self.start.told.devices.insert(id.clone(), now);
                if refused {
                    self.judged(id, None).await;
                }
            }
            // It may have heard it all the same.
            Call::Silent(_) | Call::Unreached(_) => self.note(id, |_| Some(OTHER)),
            Call::Refused(_) => {}
        }
        call
    }

    /// What the mapper makes of the device as it is described now.
    async fn judged(&self, id: &DeviceId, problem: Option<Arc<str>>) {
        let judge = device_twin::Command::Judge { device: id.clone(), problem };
        // Without an owner of the twins the agent stops; a device that is gone has no problem; what the store does not
        // take is said again with the next refusal.
        let _ = self.mappers.twins.apply(vec![judge], Origin::Unasked).await;
    }

    async fn register(&mut self, device: proto::Device) -> Call {
        let request = proto::RegisterDeviceRequest { device: Some(device) };
        judge(self.client.register_device(request).await)
    }

    /// RegisterDevice would do nothing for a device that the mapper knows; but it may have forgotten it.
    async fn change(&mut self, device: proto::Device) -> Call {
        let request = proto::UpdateDeviceRequest { device: Some(device.clone()) };
        match self.client.update_device(request).await {
            Err(status) if status.code() == Code::NotFound => self.register(device).await,
            answer => judge(answer),
        }
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
            Code::Unavailable | Code::ResourceExhausted => Call::Unreached(status),
            Code::DeadlineExceeded | Code::Cancelled => Call::Silent(status),
            // Not the mapper's word but the connection's.
            _ if status.source().is_some() => Call::Unreached(status),
            _ => Call::Refused(status),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{info, nobody};
    use super::*;

    #[tokio::test]
    async fn what_the_store_did_not_keep_is_still_to_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (mappers, _reconciler, owner) = nobody();
        let Ok(mut pending) = mappers.register(info("old", &dir.path().join("old.sock"))).await
        else {
            panic!("nobody has that name")
        };
        let mut worker = Worker::new(mappers, pending.start.take().unwrap());
        let pump = DeviceId::new("demo", "pump").unwrap();
        worker.note(&pump, |_| Some(FIRST));
        worker.keep().await;
        assert!(!worker.unkept, "it is kept");
        worker.note(&pump, |_| Some(OTHER));
        owner.stop(LAST_DELAY).await.unwrap();
        worker.keep().await;
        assert!(worker.unkept);
    }
}
