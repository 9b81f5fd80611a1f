//! How fast the agent may be called. Pure.

use std::time::{Duration, Instant};

use dmi::convert::Peer;

use crate::backoff::{Backoff, Pace};

/// EdgeCore gives one call per second to all mappers of the node, after a burst of 100; this is our part of it.
const BURST: u32 = 20;
const EVERY: Duration = Duration::from_secs(1);
/// When the agent is busy.
const BUSY: Pace = Pace { min: Duration::from_millis(20), max: Duration::from_secs(1) };

#[derive(Debug)]
pub(crate) struct Budget {
    peer: Peer,
    /// Calls that may be made at once, and since when that holds; of no matter for our agent.
    left: u32,
    since: Option<Instant>,
    backoff: Backoff,
    closed_until: Option<Instant>,
}

impl Budget {
    pub(crate) const fn new(peer: Peer) -> Self {
        let backoff = Backoff::new(BUSY);
        Self { peer, left: BURST, since: None, backoff, closed_until: None }
    }

    /// Calls that may be under way at once.
    pub(crate) const fn at_once(&self) -> usize {
        match self.peer {
            Peer::Edgetwin => 16,
            Peer::KubeEdge => 1,
        }
    }

    /// From when on a call may be made.
    pub(crate) fn free_from(&self, now: Instant) -> Instant {
        let bucket = match (self.peer, self.since) {
            (Peer::KubeEdge, Some(since)) if self.left == 0 => since + EVERY,
            _ => now,
        };
        bucket.max(self.closed_until.unwrap_or(now))
    }

    /// A call is made.
    pub(crate) fn spend(&mut self, now: Instant) {
        if self.peer == Peer::Edgetwin {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let earned = now.duration_since(since).as_secs();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(BURST);
        self.since = Some(since + EVERY * earned);
        if self.left == BURST {
            self.since = Some(now);
        }
        self.left = self.left.saturating_sub(1);
    }

    /// The agent took a call.
    pub(crate) const fn taken(&mut self) {
        self.backoff.reset();
    }

    /// The agent is busy.
    pub(crate) fn busy(&mut self, now: Instant) {
        let wait = match self.peer {
            Peer::Edgetwin => self.backoff.next(),
            // Somebody else used what is left of the burst.
            Peer::KubeEdge => {
                (self.left, self.since) = (0, Some(now));
                EVERY
            }
        };
        self.closed_until = Some(now + wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edgecore_is_called_once_a_second_after_the_burst() {
        let start = Instant::now();
        let mut budget = Budget::new(Peer::KubeEdge);
        let mut now = start;
        let mut calls = 0;
        loop {
            now = budget.free_from(now).max(now);
            if now > start + Duration::from_secs(100) {
                break;
            }
            budget.spend(now);
            calls += 1;
        }
        assert!((100..=121).contains(&calls), "{calls}");
        budget.busy(now);
        assert_eq!(budget.free_from(now), now + EVERY);
    }

    #[test]
    fn our_agent_is_called_as_often_as_it_likes() {
        let now = Instant::now();
        let mut budget = Budget::new(Peer::Edgetwin);
        for _ in 0..1_000 {
            budget.spend(now);
            assert_eq!(budget.free_from(now), now);
        }
        budget.busy(now);
        assert!(budget.free_from(now) > now && budget.free_from(now) <= now + BUSY.min);
    }
}
