//! What a wire's task does with its session: one transaction at a time.

use std::future::Future;

use device_model::{Access, PropertyName, Value};
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info, info_span, warn};

use super::{Endpoint, GATHER, send, time};
use crate::driver::{Cause, Driver, PropertyFault, ReadResult, Session, SessionFault, Tag};
use crate::member::{Link, Member, Point};
use crate::metrics::ErrorClass;
use crate::report::Report;
use crate::schedule::{Job, Seat};
use crate::wire::{bounded, changed, discarded, request};
use crate::write::{Step, Turn};

/// So many silences in a row, from every unit of the wire, and the wire itself is taken for dead: a connection
/// that was cut without a word looks like this.
const SILENCES: u32 = 3;
/// Pushed changes that are taken between two transactions.
const CHANGES: usize = 64;

impl<D: Driver> Endpoint<D> {
    pub(super) async fn perform(
        &mut self,
        session: &mut D::Session,
        job: Job,
        cancel: &CancellationToken,
    ) -> Result<(), SessionFault> {
        let (Job::Read { seat, .. } | Job::Write { seat, .. }) = job;
        self.tap.turn(seat);
        let (seat, outcome) = match job {
            Job::Read { seat, group } => (seat, self.read(session, seat, group, cancel).await),
            Job::Write { seat, point } => (seat, self.write(session, seat, point, cancel).await),
        };
        let overruns = self.schedule.overruns();
        if overruns > self.overruns {
            self.metrics.overruns.add(overruns - self.overruns);
            self.wire.overruns.add(overruns - self.overruns);
            self.overruns = overruns;
        }
        let discarded = discarded(session, &self.metrics)?;
        if discarded > self.discarded {
            self.metrics.discarded.add(discarded - self.discarded);
            self.discarded = discarded;
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(SessionFault::Lost(cause)) => Err(SessionFault::Lost(cause)),
            Err(SessionFault::Silent(cause)) => {
                self.metrics.read_errors.increment();
                self.schedule.silent(seat, Instant::now().into_std());
                self.unreachable(seat, &cause).await;
                if self.schedule.all_silent(SILENCES) {
                    return Err(SessionFault::lost(format_args!("no unit answers: {cause}")));
                }
                Ok(())
            }
        }
    }

    async fn read(
        &mut self,
        session: &mut D::Session,
        seat: Seat,
        group: usize,
        cancel: &CancellationToken,
    ) -> Result<(), SessionFault> {
        let limit = self.driver.deadline(&self.address);
        let Some(member) = self.members.get(&seat) else { return Ok(()) };
        let Some(group) = member.groups.get(group) else { return Ok(()) };
        let points = group.points.clone();
        let visitors: Vec<_> = points.iter().map(|point| &member.points[*point].visitor).collect();
        let results = {
            let call =
                request(limit, (&self.metrics, &self.wire), session.read(&member.unit, &visitors));
            let call = unless_stopped(cancel, self.limits.stop, call);
            tokio::pin!(call);
            tokio::select! {
                biased;
                results = &mut call => results,
                // What was read before does not wait for a unit that is slow, or dead.
                () = sleep_until(self.batch_begun + GATHER), if !self.batch.is_empty() => {
                    let batch = std::mem::take(&mut self.batch);
                    send(&self.reports, Report::Batch(batch)).await;
                    call.await
                }
            }?
        };
        self.metrics.reads.increment();
        self.answered(seat).await;
        self.take(seat, &points, results).await;
        self.tell_health(seat).await;
        Ok(())
    }

    /// Judges the results of one read and gathers what is to be reported.
    async fn take(&mut self, seat: Seat, points: &[usize], results: Vec<ReadResult>) {
        self.batch_of(seat).await;
        let (now, time) = (Instant::now().into_std(), time());
        let Some(member) = self.members.get_mut(&seat) else { return };
        self.batch.readings.reserve(results.len());
        let missing = points.len().saturating_sub(results.len());
        let none = || Err(PropertyFault::undecodable("the driver gave no result"));
        let results = results.into_iter().chain(std::iter::repeat_with(none).take(missing));
        let (mut values, mut refused, mut undecodable) = (0, 0, 0);
        for (point, result) in points.iter().zip(results) {
            match &result {
                Ok(_) => values += 1,
                Err(fault) if ErrorClass::of(fault) == ErrorClass::Refused => refused += 1,
                Err(_) => undecodable += 1,
            }
            let (reading, turn) = member.judge(*point, result, now, time);
            if let Some(reading) = reading {
                let name = member.property(*point).name.clone();
                self.batch.readings.push((name, reading));
            }
            if let Turn::After(wait) = turn {
                self.schedule.write(seat, *point, now + wait);
            }
        }
        self.metrics.values.add(values);
        if refused + undecodable > 0 {
            self.metrics.read_errors.add(refused + undecodable);
            self.wire.error(ErrorClass::Refused, refused);
            self.wire.error(ErrorClass::Undecodable, undecodable);
        }
    }

    /// A property's turn to be written, in the logs under the number of the change.
    async fn write(
        &mut self,
        session: &mut D::Session,
        seat: Seat,
        point: usize,
        cancel: &CancellationToken,
    ) -> Result<(), SessionFault> {
        let span = self.members.get(&seat).map_or_else(Span::none, |member| {
            let Some(wanted) = member.points[point].writer.wanted() else { return Span::none() };
            let (device, property) = (&member.device.id, property_name(member, point));
            let trace = wanted.trace.map(tracing::field::display);
            info_span!("desired", trace, %device, %property, version = %wanted.generation)
        });
        self.write_now(session, seat, point, cancel).instrument(span).await
    }

    /// The write and its read-back, or the read-back alone.
    async fn write_now(
        &mut self,
        session: &mut D::Session,
        seat: Seat,
        point: usize,
        cancel: &CancellationToken,
    ) -> Result<(), SessionFault> {
        let limit = self.driver.deadline(&self.address);
        loop {
            let Some(member) = self.members.get_mut(&seat) else { return Ok(()) };
            let step = member.points[point].writer.step(&mut self.acks);
            self.keep_acks(seat, point).await;
            if step == Some(Step::Announce) {
                self.announce(seat, point).await;
                return Ok(());
            }
            self.flush().await;
            let Some(member) = self.members.get(&seat) else { return Ok(()) };
            let visitor = &member.points[point].visitor;
            let outcome = match step {
                None | Some(Step::Announce) => return Ok(()),
                Some(Step::Write(value)) => {
                    self.metrics.writes.increment();
                    let call = session.write(&member.unit, visitor, &value);
                    let call = request(limit, (&self.metrics, &self.wire), call);
                    unless_stopped(cancel, self.limits.stop, call).await.map(Outcome::Written)
                }
                Some(Step::ReadBack) => {
                    let call = session.read_back(&member.unit, visitor);
                    let call = request(limit, (&self.metrics, &self.wire), call);
                    unless_stopped(cancel, self.limits.stop, call).await.map(Outcome::Seen)
                }
            };
            let Some(member) = self.members.get_mut(&seat) else { return Ok(()) };
            let (state, property) = member.pair(point);
            let (options, acks) = (&property.options, &mut self.acks);
            let mut seen = None;
            let turn = match &outcome {
                Ok(Outcome::Written(Ok(()))) => state.writer.written(options, acks),
                Ok(Outcome::Written(Err(fault))) => {
                    self.wire.error(ErrorClass::of(fault), 1);
                    state.writer.refused(fault, acks);
                    Turn::None
                }
                Ok(Outcome::Seen(result)) => {
                    seen = Some(result.clone());
                    state.writer.read_back(result, options, acks)
                }
                Err(SessionFault::Lost(cause) | SessionFault::Silent(cause)) => {
                    state.writer.unanswered(options, &cause.0, acks)
                }
            };
            for ack in &self.acks {
                info!(code = %ack.code, detail = ack.detail, "desired value");
            }
            if let Some(result) = seen {
                // The reading goes first, so that whoever waits for the acknowledgement sees the value.
                self.take(seat, &[point], vec![result]).await;
            }
            self.keep_acks(seat, point).await;
            self.flush().await;
            if let Err(fault) = outcome {
                if let Turn::After(wait) = turn {
                    self.schedule.write(seat, point, Instant::now().into_std() + wait);
                }
                return Err(fault);
            }
            self.answered(seat).await;
            match turn {
                Turn::None => return Ok(()),
                Turn::After(wait) if !wait.is_zero() || cancel.is_cancelled() => {
                    self.schedule.write(seat, point, Instant::now().into_std() + wait);
                    return Ok(());
                }
                Turn::After(_) => {}
            }
        }
    }

    /// Tells the agent of a pulse, and asks for a receipt.
    async fn announce(&mut self, seat: Seat, point: usize) {
        let (receipt, taken) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let Some(member) = self.members.get_mut(&seat) else { return };
        member.points[point].writer.announced(ticket);
        self.announced.push(Box::pin(taken.map(move |_| (seat, ticket))));
        self.batch_of(seat).await.receipts.push(receipt);
        self.flush().await;
    }

    /// Subscribes to what the device can push, reads that once, and polls the rest.
    pub(super) async fn watch(
        &mut self,
        session: &mut D::Session,
        seat: Seat,
        cancel: &CancellationToken,
    ) -> Result<(), SessionFault> {
        self.tap.turn(seat);
        let limit = self.driver.deadline(&self.address);
        let points = self.members.get(&seat).map_or(0, |member| member.points.len());
        let mut watched = Vec::new();
        for point in 0..points {
            if cancel.is_cancelled() {
                return Ok(());
            }
            let Some(member) = self.members.get_mut(&seat) else { return Ok(()) };
            member.points[point].tag = None;
            if !member.property(point).report {
                continue;
            }
            let tag = Tag(self.next_tag);
            let visitor = &member.points[point].visitor;
            let call = session.watch(&member.unit, visitor, tag);
            let call = bounded(limit, &self.metrics, call);
            match unless_stopped(cancel, self.limits.stop, call).await {
                Ok(true) => {
                    self.next_tag += 1;
                    member.points[point].tag = Some(tag);
                    self.tags.insert(tag, (seat, point));
                    watched.push(point);
                }
                Ok(false) => {}
                // The unit is not there; its poll will find that out, and the next session watches again.
                Err(SessionFault::Silent(_)) => break,
                Err(fault) => return Err(fault),
            }
        }
        let Some(member) = self.members.get_mut(&seat) else { return Ok(()) };
        let before = member.groups.clone();
        member.plan(&self.driver);
        if member.groups != before {
            let cycles: Vec<_> = member.groups.iter().map(|group| group.every).collect();
            self.schedule.join(seat, &cycles, Instant::now().into_std());
        }
        for point in watched {
            if cancel.is_cancelled() {
                return Ok(());
            }
            let Some(member) = self.members.get(&seat) else { return Ok(()) };
            let call = session.read_back(&member.unit, &member.points[point].visitor);
            let call = request(limit, (&self.metrics, &self.wire), call);
            match unless_stopped(cancel, self.limits.stop, call).await {
                Ok(result) => {
                    self.answered(seat).await;
                    self.take(seat, &[point], vec![result]).await;
                }
                Err(SessionFault::Silent(cause)) => {
                    self.unreachable(seat, &cause).await;
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
        }
        self.flush().await;
        self.tell_health(seat).await;
        Ok(())
    }

    /// Takes changes that wait, and sends heartbeats of watched properties. Says when that is needed next.
    pub(super) async fn tend_watched(
        &mut self,
        session: &mut D::Session,
        now: Instant,
    ) -> Result<Option<std::time::Instant>, SessionFault> {
        if self.tags.is_empty() {
            return Ok(None);
        }
        for _ in 0..CHANGES {
            let Some(change) = changed(session, &self.metrics).now_or_never() else { break };
            let (tag, result) = change?;
            self.pushed(tag, result).await;
        }
        let mut wake = None;
        let seats: Vec<_> = self.members.keys().copied().collect();
        for seat in seats {
            let mut readings = Vec::new();
            let Some(member) = self.members.get_mut(&seat) else { continue };
            let next = member.tick(now.into_std(), |name, reading| readings.push((name, reading)));
            wake = wake.into_iter().chain(next).min();
            if !readings.is_empty() {
                self.batch_of(seat).await.readings.extend(readings);
            }
        }
        Ok(wake)
    }

    pub(super) async fn pushed(&mut self, tag: Tag, result: ReadResult) {
        let Some((seat, point)) = self.tags.get(&tag).copied() else { return };
        self.answered(seat).await;
        self.take(seat, &[point], vec![result]).await;
        self.tell_health(seat).await;
    }

    /// Leaves the outputs of devices that answer as their owner wants them when nobody minds them. A call may take half
    /// of the time that is left, so that a device that fell silent a moment ago leaves those after it theirs.
    pub(super) async fn apply_safe_values(&mut self, session: &mut D::Session) {
        self.flush().await;
        let end = Instant::now() + self.limits.stop;
        let limit = self.driver.deadline(&self.address);
        let mut lost: Option<Cause> = None;
        let devices = self.members.values().map(|member| (member, safe_values(member)));
        let mut devices = Vec::from_iter(devices);
        devices.retain(|(_, values)| !values.is_empty());
        let mut to_come = devices.len();
        for (member, values) in devices {
            to_come -= 1;
            self.tap.turn(member.seat);
            let down = (member.link != Link::Up).then(|| Cause::from("the device does not answer"));
            let mut silent = lost.clone().or(down);
            for (point, property, value) in values {
                let device = &member.device.id;
                if let Some(cause) = &silent {
                    warn!(%device, %property, %cause, "safe value not written");
                    continue;
                }
                let left = end.saturating_duration_since(Instant::now());
                let share = if to_come > 0 { left / 2 } else { left };
                let call = session.write(&member.unit, &point.visitor, value);
                match timeout(share, request(limit, (&self.metrics, &self.wire), call)).await {
                    Ok(Ok(Ok(()))) => info!(%device, %property, %value, "safe value"),
                    Ok(Ok(Err(fault))) => warn!(%device, %property, %fault, "safe value not taken"),
                    Ok(Err(SessionFault::Silent(cause))) => silent = Some(cause),
                    Ok(Err(SessionFault::Lost(cause))) => {
                        (lost, silent) = (Some(cause.clone()), Some(cause))
                    }
                    Err(_) => silent = Some(Cause(format!("no answer within {share:?}"))),
                }
                if let Some(cause) = &silent {
                    warn!(%device, %property, %cause, "safe value not taken");
                }
            }
        }
    }

    /// Names what [`Self::apply_safe_values`] would have written if the wire were open.
    pub(super) fn skip_safe_values(&self) {
        for member in self.members.values() {
            for (_, property, _) in safe_values(member) {
                let device = &member.device.id;
                warn!(%device, %property, cause = "the wire is not open", "safe value not written");
            }
        }
    }
}

/// What is to be written of a device when the mapper stops.
fn safe_values<D: Driver>(member: &Member<D>) -> Vec<(&Point<D::Visitor>, &PropertyName, &Value)> {
    let mut values = Vec::new();
    for point in &member.points {
        let property = &member.device.properties[point.index];
        if let (Some(value), Access::ReadWrite) = (&property.options.safe_value, property.access) {
            values.push((point, &property.name, value));
        }
    }
    values
}

enum Outcome {
    Written(Result<(), PropertyFault>),
    Seen(ReadResult),
}

fn property_name<D: Driver>(member: &Member<D>, point: usize) -> PropertyName {
    member.property(point).name.clone()
}

/// Lets a transaction end after a stop was asked for, within `grace`.
async fn unless_stopped<T>(
    cancel: &CancellationToken,
    grace: std::time::Duration,
    call: impl Future<Output = Result<T, SessionFault>>,
) -> Result<T, SessionFault> {
    let out_of_patience = async {
        cancel.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        result = call => result,
        () = out_of_patience => Err(SessionFault::lost("the mapper stops")),
    }
}
