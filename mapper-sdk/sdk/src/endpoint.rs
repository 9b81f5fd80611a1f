//! One task per endpoint: the only user of that wire, for all devices on it.
//!
//! ```text
//! connecting ──ok──→ serving ──Lost──→ waiting ──→ connecting …     for ever, under back-off
//!     └───────────failed──────────────────↑
//! ```
//!
//! In each of the three it hears commands. Whatever a driver does, slow or panicking, ends as a
//! [`SessionFault`]; the devices' desired values and rests live here and survive the session.

mod reach;
mod work;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use device_model::{Ack, Device};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::backoff::{Backoff, Pace};
use crate::clock::time;
use crate::driver::{Cause, Driver, SessionFault, Tag};
use crate::frames::FrameTap;
use crate::member::{Link, Member};
use crate::metrics::{ErrorClass, Metrics, WireMetrics};
use crate::report::{Batch, Report};
use crate::schedule::{Schedule, Seat};
use crate::wire::{bounded, changed, close, show};
use crate::write::{Origin, Turn};

/// What the fleet tells a wire's task.
pub(crate) enum Command<D: Driver> {
    /// The device is on this wire, or is described differently from now on; the others do not notice.
    Join {
        member: Box<Member<D>>,
        origin: Origin,
        /// Its desired values may have been written by a task that is gone.
        doubtful: bool,
    },
    /// Only desired values changed.
    Desire(Seat, Arc<Device>),
    Leave(Seat),
    /// The agent is a new one: tell it everything.
    Refresh,
}

/// Bounds that hold for every wire of a mapper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) reconnect: Pace,
    pub(crate) rest: Pace,
    /// At a stop: how long the transaction in flight may take, and then the safe values together.
    pub(crate) stop: Duration,
}

/// A device is offline when its wire was not open by then.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// On a wire that is never idle, what is read of one device is told after this time, if not for another reason: also
/// while the next unit is waited for.
const GATHER: Duration = Duration::from_millis(100);

/// One wire, and what its task knows of the devices on it.
pub(crate) struct Endpoint<D: Driver> {
    driver: Arc<D>,
    address: D::Endpoint,
    commands: mpsc::Receiver<Command<D>>,
    reports: mpsc::Sender<Report>,
    limits: Limits,
    metrics: Arc<Metrics>,
    wire: Arc<WireMetrics>,
    tap: FrameTap,
    members: BTreeMap<Seat, Member<D>>,
    schedule: Schedule,
    tags: HashMap<Tag, (Seat, usize)>,
    next_tag: u64,
    link: Link,
    /// Why the wire was last lost.
    cause: Option<Cause>,
    backoff: Backoff,
    batch: Batch,
    /// When the transaction began that the batch came from, or the first of them.
    batch_begun: Instant,
    acks: Vec<Ack>,
    /// Pulses of which the agent is told: done when it has recorded them.
    announced: FuturesUnordered<Announced>,
    next_ticket: u64,
    overruns: u64,
    discarded: u64,
}

/// A device, and the ticket of its pulse.
type Announced = Pin<Box<dyn Future<Output = (Seat, u64)> + Send + Sync>>;

/// The fleet dropped the commands, or the mapper stops.
struct Stopped;

impl<D: Driver> Endpoint<D> {
    pub(crate) fn new(
        driver: Arc<D>,
        address: D::Endpoint,
        phase: f64,
        (commands, reports): (mpsc::Receiver<Command<D>>, mpsc::Sender<Report>),
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let wire = metrics.wire(&address.to_string());
        // A task before this one may have fallen with the wire open.
        wire.up.set(0);
        Self {
            driver,
            address,
            commands,
            reports,
            limits,
            metrics,
            wire,
            tap: FrameTap::default(),
            members: BTreeMap::new(),
            schedule: Schedule::new(limits.rest, phase),
            tags: HashMap::new(),
            next_tag: 0,
            link: Link::Unknown,
            cause: None,
            backoff: Backoff::new(limits.reconnect),
            batch: Batch::default(),
            batch_begun: Instant::now(),
            acks: Vec::new(),
            announced: FuturesUnordered::new(),
            next_ticket: 0,
            overruns: 0,
            discarded: 0,
        }
    }

    /// Where the frames of the wire are shown.
    pub(crate) fn tap(&self) -> FrameTap {
        self.tap.clone()
    }

    /// Serves the wire until `cancel`, or until the fleet drops the commands. On `cancel` it ends within twice
    /// the limit `stop`: the transaction in flight, then the safe values.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        // Whether there was a session before.
        let mut again = false;
        loop {
            let fault = match self.connect(&cancel).await {
                Err(Stopped) => break,
                Ok(Err(fault)) => {
                    self.wire.error(ErrorClass::Connect, 1);
                    fault
                }
                Ok(Ok(mut session)) => {
                    if std::mem::take(&mut again) {
                        self.metrics.reconnects.increment();
                        self.wire.reconnects.increment();
                    }
                    show(&mut session, self.tap.clone(), &self.metrics);
                    let ended = self.serve(&mut session, &cancel).await;
                    // What was in flight may have been cut off by the stop; the wire is as good as before.
                    let stopped = ended.is_ok() || cancel.is_cancelled();
                    if stopped {
                        self.apply_safe_values(&mut session).await;
                    }
                    close(session, &self.metrics);
                    match ended {
                        Err(fault) if !stopped => {
                            self.wire.error(ErrorClass::Lost, 1);
                            again = true;
                            fault
                        }
                        _ => return,
                    }
                }
            };
            self.lost(&fault).await;
            let wait = self.backoff.next();
            debug!(endpoint = %self.address, ?wait, failures = self.backoff.failures(), %fault, "connect again");
            if self.meanwhile(&cancel, tokio::time::sleep(wait)).await.is_err() {
                break;
            }
        }
        self.skip_safe_values();
    }

    async fn connect(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<Result<D::Session, SessionFault>, Stopped> {
        let (driver, address) = (self.driver.clone(), self.address.clone());
        let metrics = self.metrics.clone();
        let limit = driver.deadline(&address);
        let connecting = bounded(limit, &metrics, driver.connect(&address));
        tokio::pin!(connecting);
        let soon = tokio::time::timeout(PATIENCE, &mut connecting);
        if let Ok(result) = self.meanwhile(cancel, soon).await? {
            return Ok(result);
        }
        let slow = SessionFault::Lost(format!("no connection within {PATIENCE:?}").into());
        self.lost(&slow).await;
        self.meanwhile(cancel, connecting).await
    }

    /// Does `task` and hears commands meanwhile.
    async fn meanwhile<T>(
        &mut self,
        cancel: &CancellationToken,
        task: impl Future<Output = T>,
    ) -> Result<T, Stopped> {
        tokio::pin!(task);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Stopped),
                command = self.commands.recv() => match command {
                    None => return Err(Stopped),
                    Some(command) => {
                        self.obey(command).await;
                        self.note_queue();
                    }
                },
                done = &mut task => return Ok(done),
            }
        }
    }

    /// Uses the session until it is lost or the mapper stops.
    async fn serve(
        &mut self,
        session: &mut D::Session,
        cancel: &CancellationToken,
    ) -> Result<Stopped, SessionFault> {
        self.schedule.restart(Instant::now().into_std());
        self.discarded = 0;
        self.tags.clear();
        let seats: Vec<_> = self.members.keys().copied().collect();
        for seat in seats {
            self.watch(session, seat, cancel).await?;
        }
        loop {
            // A driver that is always ready must not keep the thread.
            tokio::task::consume_budget().await;
            if cancel.is_cancelled() {
                return Ok(Stopped);
            }
            while let Some(command) = self.commands.recv().now_or_never() {
                let Some(command) = command else { return Ok(Stopped) };
                if let Some(seat) = self.obey(command).await {
                    self.watch(session, seat, cancel).await?;
                }
            }
            while let Some(Some((seat, ticket))) = self.announced.next().now_or_never() {
                self.cleared(seat, ticket);
            }
            let now = Instant::now();
            let job = self.schedule.take(now.into_std());
            self.note_queue();
            if self.batch.is_empty() {
                self.batch_begun = now;
            }
            if let Some(job) = job {
                self.perform(session, job, cancel).await?;
            }
            let ticks = self.tend_watched(session, now).await?;
            if job.is_some() && self.batch_begun.elapsed() < GATHER {
                continue;
            }
            self.flush().await;
            if job.is_some() {
                continue;
            }
            let wake = self.schedule.wake().into_iter().chain(ticks).min();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(Stopped),
                command = self.commands.recv() => {
                    let Some(command) = command else { return Ok(Stopped) };
                    if let Some(seat) = self.obey(command).await {
                        self.watch(session, seat, cancel).await?;
                    }
                }
                Some((seat, ticket)) = self.announced.next() => self.cleared(seat, ticket),
                change = changed(session, &self.metrics), if !self.tags.is_empty() => {
                    let (tag, result) = change?;
                    self.pushed(tag, result).await;
                }
                () = until(wake) => {}
            }
        }
    }

    /// Takes a command. Says which device has to be watched anew, if there is a session.
    async fn obey(&mut self, command: Command<D>) -> Option<Seat> {
        let now = Instant::now().into_std();
        match command {
            Command::Leave(seat) => {
                self.flush().await;
                self.members.remove(&seat);
                self.schedule.leave(seat);
                self.tap.leave(seat);
                self.tags.retain(|_, (other, _)| *other != seat);
                None
            }
            Command::Refresh => {
                let seats: Vec<_> = self.members.keys().copied().collect();
                for seat in seats {
                    let Some(member) = self.members.get_mut(&seat) else { continue };
                    let readings = member.refresh(now, time());
                    self.batch_of(seat).await.readings.extend(readings);
                    self.tell_health(seat).await;
                }
                self.flush().await;
                None
            }
            Command::Desire(seat, device) => {
                self.members.get_mut(&seat)?.device = device;
                self.want_all(seat, Origin::Update, false).await;
                None
            }
            Command::Join { mut member, origin, doubtful } => {
                let seat = member.seat;
                self.flush().await;
                let mut waiting = Vec::new();
                self.tags.retain(|_, (other, _)| *other != seat);
                if let Some(before) = self.members.remove(&seat) {
                    // A property may have another place now.
                    for (point, at) in self.schedule.take_writes(seat) {
                        let point = member.point_of(&before.property(point).name);
                        waiting.extend(point.map(|point| (point, at)));
                    }
                    member.inherit(before);
                }
                for (_, problem) in &member.misfits {
                    warn!(device = %member.device.id, %problem, "property not usable");
                }
                let readings = member.misfit_readings(time());
                let cycles: Vec<_> = member.groups.iter().map(|group| group.every).collect();
                self.schedule.join(seat, &cycles, now);
                for (point, at) in waiting {
                    self.schedule.write(seat, point, at);
                }
                self.members.insert(seat, *member);
                self.batch_of(seat).await.readings.extend(readings);
                if self.link == Link::Down {
                    let cause = self.cause.clone().unwrap_or_else(|| "the wire is down".into());
                    self.unreachable(seat, &cause).await;
                }
                self.want_all(seat, origin, doubtful).await;
                self.tell_health(seat).await;
                Some(seat)
            }
        }
    }

    fn note_queue(&self) {
        self.wire.writes_waiting.set(u64::try_from(self.schedule.writes()).unwrap_or(u64::MAX));
    }

    /// Compares what is desired of a device with what its writers know.
    async fn want_all(&mut self, seat: Seat, origin: Origin, doubtful: bool) {
        let now = Instant::now().into_std();
        let Some(member) = self.members.get(&seat) else { return };
        let (points, down) = (member.points.len(), member.link == Link::Down);
        for point in 0..points {
            let Some(member) = self.members.get_mut(&seat) else { return };
            let turn = member.want(point, origin, doubtful, &mut self.acks);
            if let Turn::After(wait) = turn {
                self.schedule.write(seat, point, now + wait);
                if down {
                    let (point, _) = member.pair(point);
                    point.writer.unreachable("the device cannot be reached", &mut self.acks);
                }
            }
            self.keep_acks(seat, point).await;
        }
        self.flush().await;
    }

    /// The agent has recorded that a pulse is about to be written.
    fn cleared(&mut self, seat: Seat, ticket: u64) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        for (point, state) in member.points.iter_mut().enumerate() {
            if let Turn::After(wait) = state.writer.cleared(ticket) {
                self.schedule.write(seat, point, Instant::now().into_std() + wait);
            }
        }
    }

    /// The batch of this device; what was gathered of another one is sent.
    async fn batch_of(&mut self, seat: Seat) -> &mut Batch {
        if self.batch.seat != Some(seat) {
            self.flush().await;
            self.batch.seat = Some(seat);
        }
        &mut self.batch
    }

    /// Moves the acknowledgements just given to the batch.
    async fn keep_acks(&mut self, seat: Seat, point: usize) {
        if self.acks.is_empty() {
            return;
        }
        let Some(member) = self.members.get(&seat) else { return self.acks.clear() };
        let name = member.property(point).name.clone();
        let acks = std::mem::take(&mut self.acks);
        self.batch_of(seat).await.acks.extend(acks.into_iter().map(|ack| (name.clone(), ack)));
    }

    async fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        self.send(Report::Batch(batch)).await;
    }

    async fn send(&self, report: Report) {
        send(&self.reports, report).await;
    }
}

async fn send(reports: &mpsc::Sender<Report>, report: Report) {
    if reports.send(report).await.is_err() {
        debug!("the reporter is gone; the mapper stops");
    }
}

async fn until(wake: Option<std::time::Instant>) {
    match wake {
        Some(wake) => sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
