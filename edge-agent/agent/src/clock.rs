//! The clock of this machine. It may jump, and on a machine without a battery it begins in 1970: versions decide
//! conflicts, never the time, and what lasts a while is measured by a clock that nobody can set.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use device_model::Timestamp;
use device_twin::Now;

/// When both clocks showed the same.
static START: LazyLock<(Instant, Timestamp)> = LazyLock::new(|| (Instant::now(), now()));

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// The same, beside the clock that goes on from where that stood when this process asked first.
pub(crate) fn clocks() -> Now {
    let (start, shown) = *START;
    Now { wall: now(), steady: shown.plus(start.elapsed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steady_clock_begins_with_the_other_and_goes_forward() {
        let first = clocks();
        let second = clocks();
        assert!(first.steady <= second.steady);
        assert!(first.wall.since(first.steady).as_secs() < 60);
    }
}
