//! What the silent units of a wire may cost the others.

use std::time::{Duration, Instant};

/// A silence may cost one part of so many of the wire's time. A lost second costs a unit more than a second's
/// readings, since the others' are late too and go first: at 70 % load 4 % of the time are 5 % of the readings.
const PARTS: u32 = 25;
/// What a silence costs beyond its time-out: a serial line must be quiet after it before anybody is asked.
const SETTLE: Duration = Duration::from_millis(100);

/// A twenty-fifth of a wire's time: so much may go into probes of silent units, however many they are.
///
/// A unit that comes back is found within its longest rest and 25 times what one silence of each silent unit costs;
/// and those that came back with it right after it, since a probe that is answered costs nothing. Silences of units
/// that answer at most other times do not count: they would keep the dead ones from being found again.
#[derive(Debug)]
pub(super) struct Allowance {
    back_at: Option<Instant>,
}

impl Allowance {
    pub(super) const fn new() -> Self {
        Self { back_at: None }
    }

    /// A probe went out at `asked` and was in vain until `now`.
    pub(super) fn spend(&mut self, asked: Instant, now: Instant) {
        let cost = now.saturating_duration_since(asked) + SETTLE;
        self.back_at = self.back_at.max(Some(asked + cost.saturating_mul(PARTS)));
    }

    /// When the next probe may go.
    pub(super) const fn back_at(&self) -> Option<Instant> {
        self.back_at
    }
}
