//! Who may use the wire next. Pure: the caller brings the time.
//!
//! - Writes go before reads, in the order in which they came; after eight in a row a due read has its turn.
//! - The earliest due read goes first. A cycle that was missed is counted as an overrun, never queued.
//! - A group of a device's plan is a job of its own, so that a write waits for one transaction at most.
//! - A silent unit rests, twice as long each time, and is then probed by one read.
//! - The first probe is free, since an answer may get lost. While somebody answers, those after it together get a
//!   twenty-fifth of the wire's time ([`Allowance`]), and let due reads of the others go first, for two seconds at most.
//! - A write waits until the unit has answered a read on this session, since a lost answer to a write is dear.
//! - The first reads of units that join one after another are spread over the cycle, in four steps: few enough
//!   wake-ups, and no burst.

mod allowance;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use self::allowance::Allowance;
use crate::backoff::Pace;

#[cfg(test)]
mod tests;

/// Names one device of a mapper. Given by the fleet, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Seat(pub(crate) u32);

/// One transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Write, or read back, this point.
    Write { seat: Seat, point: usize },
    /// Read this group of the plan.
    Read { seat: Seat, group: usize },
}

/// After so many writes in a row a due read has its turn.
const WRITES_IN_A_ROW: u32 = 8;
/// Steps over which a cycle is spread.
const STEPS: u32 = 4;
/// A unit is first read within this time, however long its cycle.
const FIRST_WITHIN: Duration = Duration::from_millis(500);
/// A probe lets due reads go first for so long. A wire with room is free for a moment before that.
const YIELDS: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Read {
    every: Duration,
    due: Instant,
    /// Set until the first read: where in the cycle the following ones lie.
    anchor: Option<Instant>,
}

#[derive(Debug)]
struct Unit {
    reads: Vec<Read>,
    /// Share of the cycle by which its reads lie behind the wire's start.
    phase: f64,
    silences: u32,
    resting_until: Option<Instant>,
    /// It answered since the session began, and was not silent after that.
    proven: bool,
}

impl Unit {
    /// Whether its probes come out of the allowance: it did not answer the free one either.
    fn is_limited(&self) -> bool {
        self.silences > 1
    }
}

#[derive(Debug)]
struct Write {
    order: u64,
    not_before: Instant,
}

/// The schedule of one wire.
#[derive(Debug)]
pub(crate) struct Schedule {
    rest: Pace,
    /// Of this wire among the mapper's wires, 0 to 1.
    phase: f64,
    joined: u32,
    units: BTreeMap<Seat, Unit>,
    /// Reads of units that answer, were not asked yet, or have their free probe.
    reads: BTreeSet<(Instant, Seat, usize)>,
    /// Reads of the other units that rest.
    probes: BTreeSet<(Instant, Seat, usize)>,
    allowance: Allowance,
    /// When the last job was taken.
    taken: Option<Instant>,
    writes: BTreeMap<(Seat, usize), Write>,
    order: u64,
    in_a_row: u32,
    overruns: u64,
}

impl Schedule {
    pub(crate) const fn new(rest: Pace, phase: f64) -> Self {
        Self {
            rest,
            phase,
            joined: 0,
            units: BTreeMap::new(),
            reads: BTreeSet::new(),
            probes: BTreeSet::new(),
            allowance: Allowance::new(),
            taken: None,
            writes: BTreeMap::new(),
            order: 0,
            in_a_row: 0,
            overruns: 0,
        }
    }

    /// Adds a unit, or gives it a new plan: one read per cycle of `cycles`, in the order of the plan's groups. A
    /// known unit keeps its phase, its rest and its writes.
    pub(crate) fn join(&mut self, seat: Seat, cycles: &[Duration], now: Instant) {
        let known = self.take_out(seat);
        let (phase, silences, resting_until, proven) = match known {
            Some(unit) => (unit.phase, unit.silences, unit.resting_until, unit.proven),
            None => {
                // Steps 0, 3, 2, 1: the last of a cycle are not the first of the next one.
                let step = (self.joined * 7) % STEPS;
                self.joined = self.joined.wrapping_add(1);
                ((f64::from(step) + self.phase) / f64::from(STEPS), 0, None, false)
            }
        };
        let reads = cycles.iter().map(|every| Read { every: *every, due: now, anchor: None });
        self.units
            .insert(seat, Unit { reads: reads.collect(), phase, silences, resting_until, proven });
        match resting_until {
            Some(until) => self.postpone(seat, until.max(now)),
            None => self.spread(seat, now),
        }
    }

    pub(crate) fn leave(&mut self, seat: Seat) {
        self.take_out(seat);
        self.writes.retain(|(other, _), _| *other != seat);
    }

    /// Everybody is probed at once: the wire is new.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.allowance = Allowance::new();
        let seats: Vec<_> = self.units.keys().copied().collect();
        for seat in seats {
            if let Some(unit) = self.units.get_mut(&seat) {
                unit.silences = 0;
                unit.resting_until = None;
                unit.proven = false;
            }
            self.spread(seat, now);
        }
        let waiting: BTreeSet<Seat> = self.writes.keys().map(|(seat, _)| *seat).collect();
        for seat in waiting {
            self.probe(seat, now);
        }
    }

    /// Queues a write, not to be done before `not_before`. One that waits already keeps its place.
    pub(crate) fn write(&mut self, seat: Seat, point: usize, not_before: Instant) {
        let order = self.order;
        self.order += 1;
        self.writes
            .entry((seat, point))
            .and_modify(|write| write.not_before = not_before)
            .or_insert(Write { order, not_before });
        self.probe(seat, not_before);
    }

    /// Takes all writes of a unit out of the queue: points, and when each may be done, in the queue's order.
    pub(crate) fn take_writes(&mut self, seat: Seat) -> Vec<(usize, Instant)> {
        let of_unit = self.writes.range((seat, 0)..=(seat, usize::MAX));
        let mut writes: Vec<_> =
            of_unit.map(|((_, point), write)| (write.order, *point, write.not_before)).collect();
        writes.sort_unstable();
        self.writes.retain(|(other, _), _| *other != seat);
        writes.into_iter().map(|(_, point, not_before)| (point, not_before)).collect()
    }

    /// When [`Schedule::take`] will next have something.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let read = self.reads.first().map(|(due, ..)| *due);
        let write =
            self.writes.iter().filter_map(|((seat, _), write)| self.ready_at(*seat, write)).min();
        read.into_iter().chain(self.next_probe()).chain(write).min()
    }

    /// The next transaction, if one is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Job> {
        let read_waits = self.reads.first().is_some_and(|(due, ..)| *due <= now);
        let probe = self.next_probe().filter(|from| *from <= now);
        let waits = read_waits || probe.is_some();
        if !(waits && self.in_a_row >= WRITES_IN_A_ROW)
            && let Some((seat, point)) = self.next_write(now)
        {
            self.writes.remove(&(seat, point));
            self.in_a_row += 1;
            self.taken = Some(now);
            return Some(Job::Write { seat, point });
        }
        if !waits {
            return None;
        }
        self.in_a_row = 0;
        self.taken = Some(now);
        let queue = match probe {
            Some(from) if !read_waits || from + YIELDS <= now => &mut self.probes,
            _ => &mut self.reads,
        };
        let (due, seat, group) = queue.pop_first()?;
        let read = self.units.get_mut(&seat)?.reads.get_mut(group)?;
        let base = read.anchor.take().unwrap_or(due);
        let (next, missed) = next_after(base, read.every, now);
        // The first read after a start or a rest is on no grid yet, so it misses nothing.
        self.overruns += if base == due { missed } else { 0 };
        read.due = next;
        queue.insert((next, seat, group));
        Some(Job::Read { seat, group })
    }

    /// The unit answered. Says whether it had been silent.
    pub(crate) fn answered(&mut self, seat: Seat) -> bool {
        let Some(unit) = self.units.get_mut(&seat) else { return false };
        if unit.resting_until.take().is_some() {
            for (group, read) in unit.reads.iter().enumerate() {
                self.probes.remove(&(read.due, seat, group));
                self.reads.insert((read.due, seat, group));
            }
        }
        unit.proven = true;
        std::mem::take(&mut unit.silences) > 0
    }

    /// The unit did not answer the job that was taken last; it rests.
    pub(crate) fn silent(&mut self, seat: Seat, now: Instant) {
        let Some(unit) = self.units.get_mut(&seat) else { return };
        if unit.is_limited() {
            self.allowance.spend(self.taken.unwrap_or(now), now);
        }
        unit.silences = unit.silences.saturating_add(1);
        unit.proven = false;
        let until = now + self.rest.delay(unit.silences);
        unit.resting_until = Some(until);
        self.postpone(seat, until);
    }

    /// Whether nobody on this wire answers: each unit was silent at least once, and there were `least` silences.
    pub(crate) fn all_silent(&self, least: u32) -> bool {
        !self.units.is_empty()
            && self.units.values().all(|unit| unit.silences > 0 || unit.reads.is_empty())
            && self.units.values().map(|unit| unit.silences).sum::<u32>() >= least
    }

    /// Cycles that were skipped because the wire was busy, since the start.
    pub(crate) const fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Writes that wait.
    pub(crate) fn writes(&self) -> usize {
        self.writes.len()
    }

    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.writes.len() + self.reads.len() + self.probes.len()
    }

    fn next_write(&self, now: Instant) -> Option<(Seat, usize)> {
        self.writes
            .iter()
            .filter(|((seat, _), write)| self.ready_at(*seat, write).is_some_and(|at| at <= now))
            .min_by_key(|(_, write)| write.order)
            .map(|(key, _)| *key)
    }

    /// From when on `write` may go to the wire; none while a read must probe the unit first.
    fn ready_at(&self, seat: Seat, write: &Write) -> Option<Instant> {
        let unit = self.units.get(&seat)?;
        if unit.proven {
            return Some(write.not_before);
        }
        // Nothing to probe it with but the write itself.
        unit.reads.is_empty().then(|| {
            let limited = unit.is_limited();
            let rested =
                unit.resting_until.map(|until| if limited { self.allowed(until) } else { until });
            rested.map_or(write.not_before, |until| write.not_before.max(until))
        })
    }

    /// From when on the next probe may go.
    fn next_probe(&self) -> Option<Instant> {
        self.probes.first().map(|(due, ..)| self.allowed(*due))
    }

    /// `due`, or when the allowance is there. Where nobody answers, there is nobody to protect.
    fn allowed(&self, due: Instant) -> Instant {
        let answers = |unit: &Unit| unit.silences == 0 && !unit.reads.is_empty();
        match self.allowance.back_at() {
            Some(back) if back > due && self.units.values().any(answers) => back,
            _ => due,
        }
    }

    /// Brings the first read of an unproven unit forward, because a write waits for it.
    fn probe(&mut self, seat: Seat, at: Instant) {
        let Some(unit) = self.units.get_mut(&seat) else { return };
        if unit.proven || unit.resting_until.is_some() {
            return;
        }
        if let Some(read) = unit.reads.first_mut()
            && read.due > at
        {
            self.reads.remove(&(read.due, seat, 0));
            read.anchor.get_or_insert(read.due);
            read.due = at;
            self.reads.insert((at, seat, 0));
        }
    }

    fn take_out(&mut self, seat: Seat) -> Option<Unit> {
        let unit = self.units.remove(&seat)?;
        for (group, read) in unit.reads.iter().enumerate() {
            self.reads.remove(&(read.due, seat, group));
            self.probes.remove(&(read.due, seat, group));
        }
        Some(unit)
    }

    fn postpone(&mut self, seat: Seat, until: Instant) {
        let Some(unit) = self.units.get_mut(&seat) else { return };
        let limited = unit.is_limited();
        for (group, read) in unit.reads.iter_mut().enumerate() {
            self.reads.remove(&(read.due, seat, group));
            self.probes.remove(&(read.due, seat, group));
            read.due = until;
            // A probe is on no grid.
            read.anchor = Some(until + read.every);
            let queue = if limited { &mut self.probes } else { &mut self.reads };
            queue.insert((until, seat, group));
        }
    }

    fn spread(&mut self, seat: Seat, now: Instant) {
        let Some(unit) = self.units.get_mut(&seat) else { return };
        for (group, read) in unit.reads.iter_mut().enumerate() {
            self.reads.remove(&(read.due, seat, group));
            self.probes.remove(&(read.due, seat, group));
            read.due = now + read.every.min(FIRST_WITHIN).mul_f64(unit.phase);
            read.anchor = Some(now + read.every.mul_f64(unit.phase));
            self.reads.insert((read.due, seat, group));
        }
    }
}

/// The first point of the grid `base + n × every` (n ≥ 0) after `now`, with n ≥ 1 unless `base` is still to come,
/// and how many points were jumped over.
fn next_after(base: Instant, every: Duration, now: Instant) -> (Instant, u64) {
    if base > now {
        return (base, 0);
    }
    let every = every.max(Duration::from_millis(1));
    let missed = now.duration_since(base).as_nanos() / every.as_nanos();
    let missed = u32::try_from(missed).unwrap_or(u32::MAX - 1);
    (base + every * (missed + 1), u64::from(missed))
}
