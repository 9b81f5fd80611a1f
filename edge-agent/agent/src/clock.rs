//! The clock of this machine. It may jump, and on a machine without a battery it begins in 1970: versions decide
//! conflicts, never the time, and what lasts a while is measured by a clock that nobody can set.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use device_model::Timestamp;
use device_twin::Now;

use crate::api::view::{Part, PartStatus};
use crate::health::Health;

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

/// Says how the clock is that shows `now`.
pub(crate) fn tell(now: Timestamp, health: &Health) {
    if now.is_of_a_set_clock() {
        return health.ok(Part::Clock);
    }
    let reason = "unsynced: the clock of this machine has not been set since its start, so times are wrong and are \
                  marked so; order, ages and ends do not depend on it";
    let remedy = "let it be set over the network (systemd-timesyncd, chrony), or give the machine a clock with a battery";
    health.set(Part::Clock, PartStatus::Degraded, reason, remedy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_nobody_has_set_is_said_and_well_again_when_it_is() {
        let health = Health::default();
        let mut seen = Vec::new();
        for millis in [0, Timestamp::CLOCK_SET.as_millis() - 1, Timestamp::CLOCK_SET.as_millis()] {
            tell(Timestamp::from_millis(millis), &health);
            let clock = health.all().into_iter().find(|part| part.name == Part::Clock).unwrap();
            seen.push((clock.status, clock.reason.starts_with("unsynced")));
        }
        let (bad, good) = ((PartStatus::Degraded, true), (PartStatus::Ok, false));
        assert_eq!(seen, [bad, bad, good]);
    }

    #[test]
    fn the_steady_clock_begins_with_the_other_and_goes_forward() {
        let first = clocks();
        let second = clocks();
        assert!(first.steady <= second.steady);
        assert!(first.wall.since(first.steady).as_secs() < 60);
    }
}
