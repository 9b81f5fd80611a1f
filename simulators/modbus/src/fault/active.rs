//! The faults that are set right now.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Fault, FaultKind};

/// Every fault that is set, with how often it was met.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Mutex<Vec<Active>>,
    /// How many there are, so that a request without faults takes no lock.
    armed: AtomicUsize,
}

#[derive(Debug)]
struct Active {
    id: u64,
    fault: Fault,
    /// Requests that unit and function let through.
    met: u64,
    /// Requests that were hit.
    hit: u64,
}

/// What becomes of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) delay: Option<Duration>,
    pub(crate) late: Option<Duration>,
    pub(crate) exception: Option<u8>,
    pub(crate) silence: bool,
    pub(crate) damaged: bool,
    pub(crate) truncated: bool,
    /// Another transaction id, or another unit.
    pub(crate) misaddressed: bool,
    /// Noise, and how long before the answer.
    pub(crate) garbage: Option<Duration>,
    pub(crate) echo: bool,
    pub(crate) merge: Option<Duration>,
    pub(crate) reset: bool,
    pub(crate) reboot: Option<Duration>,
}

impl Effects {
    /// Whether the answer goes out as usual.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Faults {
    pub(crate) fn set(&self, id: u64, fault: Fault) {
        let mut active = self.lock();
        active.push(Active { id, fault, met: 0, hit: 0 });
        self.armed.store(active.len(), Ordering::Release);
    }

    /// Takes away those that `keep` does not hold on to.
    pub(crate) fn retain(&self, keep: impl Fn(u64, &Fault) -> bool) {
        let mut active = self.lock();
        active.retain(|active| keep(active.id, &active.fault));
        self.armed.store(active.len(), Ordering::Release);
    }

    /// What the faults do to a request; counts it.
    pub(crate) fn effects(&self, unit: u8, function: u8) -> Effects {
        let mut effects = Effects::default();
        if self.armed.load(Ordering::Acquire) == 0 {
            return effects;
        }
        for active in self.lock().iter_mut() {
            if active.hits(unit, function) {
                match active.fault.kind {
                    FaultKind::Delay(time) => effects.delay = Some(time),
                    FaultKind::Late(time) => effects.late = Some(time),
                    FaultKind::Silence => effects.silence = true,
                    FaultKind::Exception(code) => effects.exception = Some(code),
                    FaultKind::WrongCrc => effects.damaged = true,
                    FaultKind::Truncate => effects.truncated = true,
                    FaultKind::WrongTransaction => effects.misaddressed = true,
                    FaultKind::Garbage(lead) => effects.garbage = Some(lead),
                    FaultKind::Echo => effects.echo = true,
                    FaultKind::Merge(time) => effects.merge = Some(time),
                    FaultKind::Reset => effects.reset = true,
                    FaultKind::Reboot(time) => effects.reboot = Some(time),
                    FaultKind::OneConnection => {}
                }
            }
        }
        effects
    }

    /// Whether a second connection is refused.
    pub(crate) fn one_connection(&self) -> bool {
        self.armed.load(Ordering::Acquire) > 0
            && self.lock().iter().any(|active| active.fault.kind == FaultKind::OneConnection)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Active {
    fn hits(&mut self, unit: u8, function: u8) -> bool {
        let Fault { kind, unit: only_unit, function: only_function, count, every } = self.fault;
        if kind == FaultKind::OneConnection
            || only_unit.is_some_and(|only| only != unit)
            || only_function.is_some_and(|only| only != function)
            || count.is_some_and(|count| self.hit >= count)
        {
            return false;
        }
        self.met += 1;
        let hit = every.is_none_or(|every| self.met.is_multiple_of(every.max(1)));
        self.hit += u64::from(hit);
        hit
    }
}
