//! How the clock of this machine is.

use device_model::Timestamp;

use super::Health;
use crate::api::view::{Part, PartStatus};

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
}
