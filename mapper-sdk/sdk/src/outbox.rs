//! What is still to be told to the agent, and in which order. Pure.
//!
//! - Of readings the newest per property is kept, so that memory is bounded however long the agent is away.
//! - Acknowledgements are all kept, in their order.
//! - One call per device is under way at a time; the device that waits longest is next.
//! - A receipt goes with what it came with, and is dropped with it.
//! - What the agent put off comes back here, unless something newer took its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use device_model::{Ack, Device, PropertyName, Reading, Value};

use crate::report::{Batch, Health, Receipt};
use crate::schedule::Seat;
use crate::steadiness::Steadiness;

#[cfg(test)]
mod tests;

/// Octets of text that count as one value more.
const LONG: usize = 64;

/// What one call tells of one device.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) seat: Seat,
    pub(crate) device: Arc<Device>,
    pub(crate) readings: Vec<(PropertyName, Reading)>,
    pub(crate) acks: Vec<(PropertyName, Ack)>,
    receipts: Vec<Receipt>,
    /// When the oldest of it came.
    since: u64,
}

impl Parcel {
    /// How many values it amounts to; a long text counts as several.
    pub(crate) fn weight(&self) -> usize {
        let of = |reading: &Reading| match &reading.value {
            Some(Value::String(text)) => 1 + text.len() / LONG,
            Some(Value::Bytes(bytes)) => 1 + bytes.len() / LONG,
            _ => 1,
        };
        self.readings.iter().map(|(_, reading)| of(reading)).sum::<usize>() + self.acks.len()
    }
}

/// What is told of a device as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) seat: Seat,
    pub(crate) device: Arc<Device>,
    pub(crate) health: Health,
    /// What is wrong with the description that came last.
    pub(crate) problem: Option<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    device: Arc<Device>,
    readings: Vec<(PropertyName, Reading)>,
    acks: Vec<(PropertyName, Ack)>,
    receipts: Vec<Receipt>,
    since: Option<u64>,
    /// When the oldest came of what is under way, and how much that is.
    flying: Option<(u64, usize)>,
    state: Steadiness,
    state_due: Option<Instant>,
    /// What is wrong with the device's description.
    problem: Option<Arc<str>>,
    /// Whether the agent was not told of `problem` yet.
    problem_news: bool,
}

impl Entry {
    /// Readings and acknowledgements that wait.
    fn waiting(&self) -> usize {
        self.readings.len() + self.acks.len()
    }
}

#[derive(Debug)]
pub(crate) struct Outbox {
    entries: HashMap<Seat, Entry>,
    /// Devices with something to tell and no call under way, by age.
    ready: BTreeSet<(u64, Seat)>,
    states: BTreeSet<(Instant, Seat)>,
    /// What the numbers are in time of what waits or is under way.
    times: BTreeMap<u64, Instant>,
    /// Readings and acknowledgements that wait or are under way.
    count: usize,
    clock: u64,
    hold: Duration,
}

impl Outbox {
    /// Tells at most two changes of a device's state within `hold`.
    pub(crate) fn new(hold: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            ready: BTreeSet::new(),
            states: BTreeSet::new(),
            times: BTreeMap::new(),
            count: 0,
            clock: 0,
            hold,
        }
    }

    pub(crate) fn device(&mut self, seat: Seat, device: Arc<Device>) {
        match self.entries.get_mut(&seat) {
            Some(entry) => {
                let known = |name: &PropertyName| device.property(name.as_str()).is_some();
                self.count -= entry.waiting();
                entry.readings.retain(|(name, _)| known(name));
                entry.acks.retain(|(name, _)| known(name));
                self.count += entry.waiting();
                entry.device = device;
            }
            None => {
                let entry = Entry {
                    device,
                    readings: Vec::new(),
                    acks: Vec::new(),
                    receipts: Vec::new(),
                    since: None,
                    flying: None,
                    state: Steadiness::default(),
                    state_due: None,
                    problem: None,
                    problem_news: false,
                };
                self.entries.insert(seat, entry);
            }
        }
    }

    pub(crate) fn gone(&mut self, seat: Seat) {
        if let Some(entry) = self.entries.remove(&seat) {
            let (since, items) = entry.flying.unzip();
            for since in entry.since.iter().chain(&since) {
                self.times.remove(since);
            }
            self.count -= entry.waiting() + items.unwrap_or_default();
            self.ready.retain(|(_, other)| *other != seat);
            if let Some(due) = entry.state_due {
                self.states.remove(&(due, seat));
            }
        }
    }

    /// What one turn on the wire gave, `now`.
    pub(crate) fn put(&mut self, batch: Batch, now: Instant) {
        let Some(seat) = batch.seat else { return };
        let Some(entry) = self.entries.get_mut(&seat) else { return };
        self.count -= entry.waiting();
        if entry.readings.is_empty() {
            entry.readings = batch.readings;
        } else {
            for (name, reading) in batch.readings {
                match entry.readings.iter_mut().rev().find(|(other, _)| *other == name) {
                    Some((_, older)) => *older = reading,
                    None => entry.readings.push((name, reading)),
                }
            }
        }
        for ack in batch.acks {
            // Said once more: a device that comes and goes while the agent is away says the same again and again.
            entry.acks.retain(|waiting| *waiting != ack);
            entry.acks.push(ack);
        }
        entry.receipts.extend(batch.receipts);
        self.count += entry.waiting();
        self.clock += 1;
        if entry.since.is_none() && entry.waiting() > 0 {
            self.times.insert(self.clock, now);
        }
        self.queue(seat, self.clock);
    }

    /// What to tell next, if any device is free. It must come back by [`Outbox::landed`] or [`Outbox::put_off`].
    /// Whoever has it drops it when it landed, and its receipts with it.
    pub(crate) fn take(&mut self) -> Option<Parcel> {
        let (since, seat) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&seat)?;
        entry.since = None;
        entry.flying = Some((since, entry.waiting()));
        Some(Parcel {
            seat,
            device: entry.device.clone(),
            readings: std::mem::take(&mut entry.readings),
            acks: std::mem::take(&mut entry.acks),
            receipts: std::mem::take(&mut entry.receipts),
            since,
        })
    }

    /// The agent took the parcel, or refused it for good.
    pub(crate) fn landed(&mut self, seat: Seat) {
        if let Some(entry) = self.entries.get_mut(&seat) {
            if let Some((since, items)) = entry.flying.take() {
                self.times.remove(&since);
                self.count -= items;
            }
            if let Some(since) = entry.since.take()
                && !self.queue(seat, since)
            {
                // Nothing of it is in the device's description any more.
                self.times.remove(&since);
            }
        }
    }

    /// The agent did not take the parcel; it is told again, as far as nothing newer came.
    pub(crate) fn put_off(&mut self, parcel: Parcel) {
        let Parcel { seat, readings, mut acks, mut receipts, since, .. } = parcel;
        let Some(entry) = self.entries.get_mut(&seat) else { return };
        let (_, items) = entry.flying.take().unwrap_or_default();
        self.count -= items + entry.waiting();
        let newer = std::mem::replace(&mut entry.readings, readings);
        for (name, reading) in newer {
            match entry.readings.iter_mut().rev().find(|(other, _)| *other == name) {
                Some((_, older)) => *older = reading,
                None => entry.readings.push((name, reading)),
            }
        }
        acks.append(&mut entry.acks);
        entry.acks = acks;
        receipts.append(&mut entry.receipts);
        entry.receipts = receipts;
        if let Some(newer) = entry.since.take() {
            self.times.remove(&newer);
        }
        self.count += entry.waiting();
        let device = entry.device.clone();
        // The device may be described differently by now.
        self.device(seat, device);
        if !self.queue(seat, since) {
            self.times.remove(&since);
        }
    }

    /// Has a device wait, if it does not yet; whether it does so since then.
    fn queue(&mut self, seat: Seat, since: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&seat) else { return false };
        if entry.since.is_none() && entry.waiting() > 0 {
            entry.since = Some(since);
            if entry.flying.is_none() {
                self.ready.insert((since, seat));
            }
        }
        entry.since == Some(since)
    }

    /// A device's state, as its wire's task sees it.
    pub(crate) fn state(&mut self, seat: Seat, health: Health, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&seat) {
            entry.state.set(health);
            self.plan_state(seat, now);
        }
    }

    /// What is wrong with a device's description; it is told with its state, at once if that is known.
    pub(crate) fn problem(&mut self, seat: Seat, problem: Option<Arc<str>>, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&seat)
            && entry.problem != problem
        {
            (entry.problem, entry.problem_news) = (problem, true);
            self.plan_state(seat, now);
        }
    }

    /// When [`Outbox::take_state`] will next have something.
    pub(crate) fn state_wake(&self) -> Option<Instant> {
        self.states.first().map(|(due, _)| *due)
    }

    /// The next state to tell.
    pub(crate) fn take_state(&mut self, now: Instant) -> Option<Told> {
        while let Some((due, seat)) = self.states.first().copied() {
            if due > now {
                return None;
            }
            self.states.pop_first();
            let Some(entry) = self.entries.get_mut(&seat) else { continue };
            entry.state_due = None;
            entry.problem_news = false;
            let (device, problem) = (entry.device.clone(), entry.problem.clone());
            let told = entry.state.tell(now, self.hold).map(|health| Told {
                seat,
                device,
                health,
                problem,
            });
            self.plan_state(seat, now);
            if told.is_some() {
                return told;
            }
        }
        None
    }

    /// The agent did not take a state; it is told again.
    pub(crate) fn untold(&mut self, seat: Seat, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&seat) {
            entry.state.untold();
            self.plan_state(seat, now);
        }
    }

    /// The agent is a new one: all states are told again.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let seats: Vec<_> = self.entries.keys().copied().collect();
        for seat in seats {
            self.untold(seat, now);
        }
    }

    fn plan_state(&mut self, seat: Seat, now: Instant) {
        let Some(entry) = self.entries.get_mut(&seat) else { return };
        let cycle = entry.device.state_report.filter(|report| report.enabled);
        let due = entry.state.due(now, self.hold, cycle.map(|report| report.cycle));
        let due = if entry.problem_news && entry.state.is_known() { Some(now) } else { due };
        if due != entry.state_due {
            if let Some(before) = entry.state_due {
                self.states.remove(&(before, seat));
            }
            if let Some(due) = due {
                self.states.insert((due, seat));
            }
            entry.state_due = due;
        }
    }

    /// Whether everything was told.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.entries.values().all(|entry| entry.flying.is_none())
    }

    /// Readings and acknowledgements that the agent has not taken yet: they wait, or are under way.
    pub(crate) fn untaken(&self) -> usize {
        self.count
    }

    /// Since when the device has something to tell that waits longest.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.times.first_key_value().map(|(_, time)| *time)
    }

    /// Readings and acknowledgements that wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.values().map(|entry| entry.readings.len() + entry.acks.len()).sum()
    }
}
