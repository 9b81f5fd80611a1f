//! The counters while they run: atomics, so that connections do not wait for each other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{ConnectionCounters, Counters, UnitCounters, Write};

/// Function codes that are counted on their own: 1 to 23.
const FUNCTIONS: usize = 24;

/// What one unit was asked.
#[derive(Debug, Default)]
pub(crate) struct UnitTally {
    functions: [AtomicU64; FUNCTIONS],
    addresses: AtomicU64,
    exceptions: AtomicU64,
}

impl UnitTally {
    pub(crate) fn request(&self, function: u8, addresses: u64) {
        let index = usize::from(function);
        let known = matches!(function, 1..=6 | 15 | 16 | 22 | 23);
        if let Some(counter) = self.functions.get(if known { index } else { 0 }) {
            counter.fetch_add(1, Relaxed);
        }
        self.addresses.fetch_add(addresses, Relaxed);
    }

    pub(crate) fn exception(&self) {
        self.exceptions.fetch_add(1, Relaxed);
    }

    pub(crate) fn counters(&self) -> UnitCounters {
        let functions: Vec<_> = (0..=u8::MAX)
            .zip(&self.functions)
            .map(|(function, count)| (function, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect();
        UnitCounters {
            requests: functions.iter().map(|(_, count)| count).sum(),
            functions: functions.into_iter().collect(),
            addresses: self.addresses.load(Relaxed),
            exceptions: self.exceptions.load(Relaxed),
        }
    }
}

/// What the simulation as a whole was asked.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) strangers: AtomicU64,
    pub(crate) answers: AtomicU64,
    pub(crate) faults: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    current: AtomicU64,
    max: AtomicU64,
    bad_frames: AtomicU64,
    overlapping_frames: AtomicU64,
    /// Nanoseconds; `u64::MAX` while there was none.
    smallest_gap: AtomicU64,
    write_requests: AtomicU64,
    writes: Mutex<VecDeque<Write>>,
    changed: Notify,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            strangers: AtomicU64::default(),
            answers: AtomicU64::default(),
            faults: AtomicU64::default(),
            accepted: AtomicU64::default(),
            refused: AtomicU64::default(),
            current: AtomicU64::default(),
            max: AtomicU64::default(),
            bad_frames: AtomicU64::default(),
            overlapping_frames: AtomicU64::default(),
            smallest_gap: AtomicU64::new(u64::MAX),
            write_requests: AtomicU64::default(),
            writes: Mutex::default(),
            changed: Notify::default(),
        }
    }
}

impl Tally {
    /// Wakes whoever waits for a counter. Called after a batch, not for each count.
    pub(crate) fn notify(&self) {
        self.changed.notify_waiters();
    }

    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
        let current = self.current.fetch_add(1, Relaxed) + 1;
        self.max.fetch_max(current, Relaxed);
        self.notify();
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
        self.notify();
    }

    pub(crate) fn closed(&self) {
        self.current.fetch_sub(1, Relaxed);
        self.notify();
    }

    pub(crate) fn current(&self) -> u64 {
        self.current.load(Relaxed)
    }

    pub(crate) fn bad_frame(&self) {
        self.bad_frames.fetch_add(1, Relaxed);
        self.notify();
    }

    pub(crate) fn overlapping_frame(&self) {
        self.overlapping_frames.fetch_add(1, Relaxed);
        self.notify();
    }

    pub(crate) fn gap(&self, gap: Duration) {
        let nanos = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
        self.smallest_gap.fetch_min(nanos, Relaxed);
    }

    pub(crate) fn write(&self, write: Write) {
        self.write_requests.fetch_add(1, Relaxed);
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if writes.len() == Counters::WRITES_KEPT {
            writes.pop_front();
        }
        writes.push_back(write);
    }

    /// All but what the units count.
    pub(crate) fn counters(&self) -> Counters {
        let gap = self.smallest_gap.load(Relaxed);
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        Counters {
            answers: self.answers.load(Relaxed),
            faults: self.faults.load(Relaxed),
            strangers: self.strangers.load(Relaxed),
            connections: ConnectionCounters {
                accepted: self.accepted.load(Relaxed),
                refused: self.refused.load(Relaxed),
                current: self.current.load(Relaxed),
                max: self.max.load(Relaxed),
            },
            write_requests: self.write_requests.load(Relaxed),
            writes: writes.iter().cloned().collect(),
            bad_frames: self.bad_frames.load(Relaxed),
            overlapping_frames: self.overlapping_frames.load(Relaxed),
            smallest_gap: (gap != u64::MAX).then(|| Duration::from_nanos(gap)),
            ..Counters::default()
        }
    }
}
