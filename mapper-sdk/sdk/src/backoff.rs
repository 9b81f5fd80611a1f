//! How long to wait before the next try.
//!
//! Own lines instead of a crate: the retry crates wrap a closure, while here the wait is one arm of a `select!`
//! beside commands that must be heard meanwhile.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// Shortest and longest wait; each failure doubles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After the first failure.
    pub min: Duration,
    /// Ceiling.
    pub max: Duration,
}

impl Pace {
    /// The wait after `failures` failures in a row (1 or more), without jitter.
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.min.saturating_mul(1 << doublings).min(self.max)
    }
}

/// Counts failures in a row and says how long to wait, with jitter, for ever.
#[derive(Debug)]
pub(crate) struct Backoff {
    pace: Pace,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self { pace, failures: 0 }
    }

    /// The wait before the next try: between half of the paced delay and all of it, so that many clients of one
    /// server do not come back at once.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let full = self.pace.delay(self.failures);
        // The seed of a fresh hasher is the standard library's only source of randomness.
        let dice = u32::try_from(RandomState::new().hash_one(self.failures) >> 32).unwrap_or(0);
        full.mul_f64(0.5 + 0.5 * f64::from(dice) / f64::from(u32::MAX))
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling_and_never_exceed_it() {
        let pace = Pace { min: Duration::from_millis(500), max: Duration::from_secs(60) };
        let mut backoff = Backoff::new(pace);
        for failures in 1..200 {
            let wait = backoff.next();
            assert!(wait <= pace.delay(failures) && wait >= pace.delay(failures) / 2);
        }
        assert_eq!(pace.delay(2), Duration::from_secs(1));
        assert_eq!(pace.delay(200), pace.max);
        backoff.reset();
        assert!(backoff.next() <= pace.min);
    }
}
