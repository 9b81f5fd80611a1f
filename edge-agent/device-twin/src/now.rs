//! The time by two clocks: the one that people read, which may be set at any moment, and one that only goes forward.

use std::time::Duration;

use device_model::Timestamp;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// What the machine's clock shows.
    pub wall: Timestamp,
    /// What it would show if nobody had set it since the program started: spans are measured by this.
    pub steady: Timestamp,
}

impl From<Timestamp> for Now {
    /// On a clock that nobody sets.
    fn from(time: Timestamp) -> Self {
        Self { wall: time, steady: time }
    }
}

impl Now {
    /// Whether `time`, a time of the machine's clock, is over.
    pub(crate) fn is_over(self, time: Timestamp) -> bool {
        let by = if self.was_unset(time) { self.steady } else { self.wall };
        time <= by
    }

    /// What the steady clock shows when `time` is over, unless the machine's clock is set before that.
    pub(crate) fn when(self, time: Timestamp) -> Timestamp {
        if self.was_unset(time) {
            return time;
        }
        let left = time.as_millis().saturating_sub(self.wall.as_millis());
        Timestamp::from_millis(self.steady.as_millis().saturating_add(left))
    }

    /// Whether the machine's clock was set by so much between `earlier` and this moment.
    pub(crate) fn was_set_by(self, least: Duration, earlier: Self) -> bool {
        let ahead = |now: Self| now.wall.as_millis().saturating_sub(now.steady.as_millis());
        let by = ahead(self).saturating_sub(ahead(earlier)).unsigned_abs();
        u128::from(by) >= least.as_millis()
    }

    /// Whether `time` was counted from a clock that was not set yet, in this run: how much of it is left is known by
    /// the steady clock alone.
    fn was_unset(self, time: Timestamp) -> bool {
        !time.is_of_a_set_clock() && !self.steady.is_of_a_set_clock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: i64 = 1_800_000_000_000;

    fn now(wall: i64, steady: i64) -> Now {
        Now { wall: Timestamp::from_millis(wall), steady: Timestamp::from_millis(steady) }
    }

    #[test]
    fn a_time_of_an_unset_clock_is_over_when_its_span_is_whatever_the_clock_is_set_to() {
        let hour = Timestamp::from_millis(3_600_000);
        for wall in [60_000, TODAY] {
            assert!(!now(wall, 60_000).is_over(hour));
            assert_eq!(now(wall, 60_000).when(hour), hour);
            assert!(now(wall, 3_600_000).is_over(hour));
        }
        // Of an earlier run: nobody knows how long ago that was.
        assert!(now(TODAY, TODAY).is_over(hour));
    }

    #[test]
    fn a_time_of_a_set_clock_waits_for_that_clock() {
        let time = Timestamp::from_millis(TODAY);
        assert!(!now(60_000, 60_000).is_over(time));
        assert!(now(TODAY, 60_000).is_over(time));
        assert!(!now(TODAY - 5000, 60_000).is_over(time));
        assert_eq!(now(TODAY - 5000, 60_000).when(time), Timestamp::from_millis(65_000));
        // Set back while the program runs: it waits again.
        assert!(!now(TODAY - 1, TODAY + 5000).is_over(time));
    }

    #[test]
    fn that_the_clock_was_set_shows_whichever_way() {
        let (second, before) = (Duration::from_secs(1), now(1000, 1000));
        assert!(!now(9000, 9000).was_set_by(second, before));
        assert!(!now(9999, 9000).was_set_by(second, before));
        assert!(now(10_000, 9000).was_set_by(second, before));
        assert!(now(8000, 9000).was_set_by(second, before));
        assert!(now(i64::MIN, 9000).was_set_by(second, before));
    }
}
