//! One task tells the agent what the wires' tasks said: newest first per property, oldest device first.
//!
//! It always takes what it is sent, so that no wire ever waits for the agent.

mod parcel;
mod trace;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dmi::convert::{EncodedReport, Peer};
use dmi::proto::ReportDeviceStatesRequest;
use dmi::trace::TraceId;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, debug, warn};

use crate::agent::{Agent, Link, Registration, Trouble};
use crate::budget::Budget;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Parcel, Told};
use crate::report::{Health, Report};
use crate::schedule::Seat;

use parcel::Wrapping;

/// When the mapper stops: how long the rest may take to be told.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How long plain readings wait for those of other devices, so that their calls share wake-ups and packets.
const LINGER: Duration = Duration::from_millis(10);
/// A call that tells so many values is not given another device.
const CALL_VALUES: usize = 1_000;
/// Messages that may wait for the reporter.
pub(crate) const INBOX: usize = 256;

/// A call that came back.
struct Landed {
    cargo: Cargo,
    result: Result<(), Trouble>,
    registration: u64,
    trace: Option<TraceId>,
}

enum Cargo {
    Parcels(Vec<Parcel>),
    State(Seat),
}

impl Cargo {
    fn reports(&self) -> u64 {
        match self {
            Self::Parcels(parcels) => u64::try_from(parcels.len()).unwrap_or(u64::MAX),
            Self::State(_) => 1,
        }
    }
}

type Call = Pin<Box<dyn Future<Output = Landed> + Send>>;

pub(crate) struct Reporter {
    agent: Agent,
    link: watch::Receiver<Link>,
    /// Says that the registration of this number is no good any more.
    again: watch::Sender<u64>,
    metrics: Arc<Metrics>,
    outbox: Outbox,
    budget: Budget,
    wrapping: Wrapping,
    registration: Option<Registration>,
    calls: FuturesUnordered<Call>,
    /// When what waits is told; none if nothing waits.
    departure: Option<Instant>,
}

impl Reporter {
    /// At most two changes of a device's state are told within `state_window`.
    pub(crate) fn new(
        agent: Agent,
        link: watch::Receiver<Link>,
        again: watch::Sender<u64>,
        metrics: Arc<Metrics>,
        state_window: Duration,
    ) -> Self {
        Self {
            agent,
            link,
            again,
            metrics,
            outbox: Outbox::new(state_window),
            budget: Budget::new(Peer::Edgetwin),
            wrapping: Wrapping::default(),
            registration: None,
            calls: FuturesUnordered::new(),
            departure: None,
        }
    }

    /// Tells until the senders of `inbox` are gone, and then what is left, if the agent takes it soon.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Report>) {
        let mut messages = Vec::with_capacity(INBOX);
        let mut end = None;
        loop {
            let now = Instant::now();
            let wake = self.start_calls(now);
            self.metrics.note_unreported(self.outbox.untaken(), self.outbox.oldest());
            if end.is_some() && (self.registration.is_none() || self.outbox.is_empty()) {
                return;
            }
            tokio::select! {
                biased;
                changed = self.link.changed() => match changed {
                    Ok(()) => self.linked(),
                    Err(_) => return,
                },
                count = inbox.recv_many(&mut messages, INBOX), if end.is_none() => {
                    if count == 0 {
                        end = Some(now + LAST_WORDS);
                    }
                    for message in messages.drain(..) {
                        self.take(message);
                    }
                }
                Some(landed) = self.calls.next() => self.landed(landed),
                () = until(wake) => {}
                () = until(end) => return,
            }
        }
    }

    fn take(&mut self, message: Report) {
        match message {
            Report::Device(seat, device) => self.outbox.device(seat, device),
            Report::Gone(seat) => self.outbox.gone(seat),
            Report::Batch(batch) => {
                let now = Instant::now();
                if batch.acks.is_empty() {
                    self.departure.get_or_insert(now + LINGER);
                } else {
                    // Somebody waits for it.
                    self.departure = Some(now);
                }
                self.outbox.put(batch, now.into_std());
            }
            Report::Problem(seat, problem) => {
                self.outbox.problem(seat, problem, Instant::now().into_std());
            }
            Report::State(seat, health) => {
                self.outbox.state(seat, health, Instant::now().into_std());
            }
        }
    }

    fn linked(&mut self) {
        let link = self.link.borrow_and_update().clone();
        match link {
            Link::Away => self.registration = None,
            Link::Up(registration) => {
                self.budget = Budget::new(registration.peer);
                self.wrapping = Wrapping::new(registration.peer);
                if registration.fresh {
                    self.outbox.refresh(Instant::now().into_std());
                }
                self.registration = Some(registration);
            }
        }
    }

    /// Starts what may be started. Says when to look again, though nothing happened.
    fn start_calls(&mut self, now: Instant) -> Option<Instant> {
        let registration = self.registration.clone()?;
        let std_now = now.into_std();
        while self.calls.len() < self.budget.at_once() {
            let free = self.budget.free_from(std_now);
            if free > std_now {
                return Some(free.into());
            }
            let (agent, registration) = (self.agent.clone(), registration.clone());
            if let Some(Told { seat, device, health, problem }) = self.outbox.take_state(std_now) {
                let Health { state, reason } = health;
                let ours = registration.peer == Peer::Edgetwin;
                let reason = reason.filter(|_| ours);
                let state = ReportDeviceStatesRequest {
                    device_name: device.id.name().into(),
                    device_namespace: device.id.namespace().into(),
                    state: state.as_str().into(),
                    reason: reason.as_deref().unwrap_or_default().into(),
                    problem: ours.then(|| problem.as_deref().unwrap_or_default().into()),
                };
                self.budget.spend(std_now);
                self.calls.push(Box::pin(async move {
                    let result = agent.state(state, &registration).await;
                    let registration = registration.number;
                    Landed { cargo: Cargo::State(seat), result, registration, trace: None }
                }));
                continue;
            }
            match self.departure {
                Some(departure) if departure > now => return Some(departure),
                _ => {}
            }
            let Some((report, parcels, change)) = self.load() else {
                self.departure = None;
                break;
            };
            self.budget.spend(std_now);
            let (span, trace) = trace::begin(&parcels, change);
            let call = async move {
                let result = agent.report(report, trace, &registration).await;
                if result.is_ok() {
                    debug!("taken");
                }
                let registration = registration.number;
                Landed { cargo: Cargo::Parcels(parcels), result, registration, trace }
            };
            self.calls.push(Box::pin(call.instrument(span)));
        }
        self.outbox
            .state_wake()
            .filter(|_| self.calls.len() < self.budget.at_once())
            .map(Into::into)
    }

    /// What the next call tells: the device that waits longest and, to our agent, those behind it, as far as they
    /// fit. One call acknowledges desired changes of one trace. None if nothing waits.
    fn load(&mut self) -> Option<(EncodedReport, Vec<Parcel>, Option<TraceId>)> {
        let mut report = self.wrapping.report();
        let (mut parcels, mut values, mut change) = (vec![], 0, None);
        while parcels.is_empty() || self.wrapping.several() && values < CALL_VALUES {
            let Some(parcel) = self.outbox.take() else { break };
            let of_parcel = trace::of(&parcel);
            if of_parcel.is_some() && change.is_some() && of_parcel != change {
                self.outbox.put_off(parcel);
                break;
            }
            if self.wrapping.wrap(&parcel, &mut report) {
                change = change.or(of_parcel);
                values += parcel.weight();
                parcels.push(parcel);
            } else {
                // Nothing of it is for this peer.
                self.outbox.landed(parcel.seat);
            }
        }
        (!parcels.is_empty()).then_some((report, parcels, change))
    }

    fn landed(&mut self, Landed { cargo, result, registration, trace }: Landed) {
        let now = Instant::now().into_std();
        match (&result, &cargo) {
            (Ok(()), _) => {
                self.budget.taken();
                self.metrics.reports.add(cargo.reports());
            }
            (Err(Trouble::Refused(status)), cargo) => {
                self.metrics.refused.increment();
                match cargo {
                    Cargo::Parcels(parcels) => {
                        // Of several, the message names those that were refused; the others were taken.
                        let device = parcels
                            .first()
                            .map(|parcel| tracing::field::display(&parcel.device.id));
                        let trace = trace.map(tracing::field::display);
                        warn!(
                            trace, device, devices = parcels.len(), code = ?status.code(),
                            message = status.message(), "report refused"
                        );
                    }
                    Cargo::State(_) => {
                        warn!(code = ?status.code(), message = status.message(), "state refused");
                    }
                }
            }
            (Err(Trouble::Busy), _) => {
                self.metrics.pushed_back.increment();
                self.budget.busy(now);
            }
            (Err(Trouble::Away(status)), _) => {
                self.metrics.pushed_back.increment();
                if self.registration.as_ref().is_some_and(|held| held.number == registration) {
                    warn!(
                        code = ?status.code(), message = status.message(),
                        "the agent takes no reports; registering again"
                    );
                    self.registration = None;
                    self.again.send_replace(registration);
                }
            }
        }
        let done = matches!(result, Ok(()) | Err(Trouble::Refused(_)));
        match cargo {
            Cargo::Parcels(parcels) if done => {
                for parcel in parcels {
                    self.outbox.landed(parcel.seat);
                }
            }
            Cargo::Parcels(parcels) => {
                for parcel in parcels {
                    self.outbox.put_off(parcel);
                }
            }
            Cargo::State(_) if done => {}
            Cargo::State(seat) => self.outbox.untold(seat, now),
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
