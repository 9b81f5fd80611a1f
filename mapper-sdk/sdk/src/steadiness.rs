//! Keeps a device's state from flapping. Pure.

use std::time::{Duration, Instant};

use crate::report::Health;

/// Changes that may be told within the window.
const CHANGES: usize = 2;

/// What a device's state is, and what was told of it.
///
/// A change is told at once, unless two were told within the window: then the state that holds when the window
/// has passed is told. A device that goes down and comes back is thus shown at once, one that flaps is not. Another
/// reason of the same state is no change; it is told a window after what was told last.
#[derive(Debug, Default)]
pub(crate) struct Steadiness {
    health: Option<Health>,
    told: Option<Health>,
    /// When the last changes were told, oldest first. The first state of all is no change.
    changes: [Option<Instant>; CHANGES],
    told_at: Option<Instant>,
}

impl Steadiness {
    pub(crate) fn set(&mut self, health: Health) {
        self.health = Some(health);
    }

    /// Whether there is anything to tell.
    pub(crate) fn is_known(&self) -> bool {
        self.health.is_some()
    }

    /// When the state is to be told next: because it changed, or because `cycle` wants it repeated.
    pub(crate) fn due(
        &self,
        now: Instant,
        window: Duration,
        cycle: Option<Duration>,
    ) -> Option<Instant> {
        let health = self.health.as_ref()?;
        let Some(told) = &self.told else { return Some(now) };
        let repeat = cycle.and_then(|cycle| Some(self.told_at? + cycle));
        if health == told {
            return repeat;
        }
        let wait_from = if health.state == told.state { self.told_at } else { self.changes[0] };
        let free = wait_from.map_or(now, |since| (since + window).max(now));
        Some(repeat.map_or(free, |repeat| free.min(repeat)))
    }

    /// The state to tell now. The caller asks when [`Steadiness::due`] says so.
    pub(crate) fn tell(&mut self, now: Instant, window: Duration) -> Option<Health> {
        let busy = self.changes[0].is_some_and(|oldest| oldest + window > now);
        let health = self.health.clone()?;
        let changed = self.told.as_ref().is_some_and(|told| told.state != health.state);
        let health = match &self.told {
            // Its cycle is due while a change has to wait.
            Some(told) if busy && changed => told.clone(),
            _ => health,
        };
        if changed && !busy {
            self.changes.rotate_left(1);
            self.changes[CHANGES - 1] = Some(now);
        }
        self.told = Some(health.clone());
        self.told_at = Some(now);
        Some(health)
    }

    /// What was told did not arrive.
    pub(crate) fn untold(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use device_model::DeviceState;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn of(state: DeviceState) -> Health {
        Health { state, reason: None }
    }

    fn offline(reason: &str) -> Health {
        Health { state: DeviceState::Offline, reason: Some(reason.into()) }
    }

    #[test]
    fn another_reason_is_told_in_time_and_costs_no_change() {
        let now = Instant::now();
        let mut steadiness = Steadiness::default();
        steadiness.set(offline("refused"));
        steadiness.tell(now, WINDOW);
        let later = now + WINDOW / 2;
        steadiness.set(offline("no answer"));
        assert_eq!(steadiness.due(later, WINDOW, None), Some(now + WINDOW));
        assert_eq!(steadiness.tell(now + WINDOW, WINDOW), Some(offline("no answer")));
        let later = now + WINDOW;
        for state in [DeviceState::Online, DeviceState::Offline] {
            steadiness.set(of(state));
            assert_eq!(steadiness.due(later, WINDOW, None), Some(later));
            assert_eq!(steadiness.tell(later, WINDOW), Some(of(state)));
        }
    }

    #[test]
    fn without_a_window_each_change_is_told() {
        let now = Instant::now();
        let mut steadiness = Steadiness::default();
        for second in 0..10 {
            let state = if second % 2 == 0 { DeviceState::Online } else { DeviceState::Offline };
            steadiness.set(of(state));
            assert_eq!(steadiness.due(now, Duration::ZERO, None), Some(now));
            assert_eq!(steadiness.tell(now, Duration::ZERO), Some(of(state)));
        }
    }

    #[test]
    fn a_device_that_flaps_every_second_is_told_twice_a_minute_at_most() {
        let start = Instant::now();
        let mut steadiness = Steadiness::default();
        let mut told = Vec::new();
        for second in 0..600u64 {
            let now = start + Duration::from_secs(second);
            let up = second % 2 == 0;
            steadiness.set(of(if up { DeviceState::Online } else { DeviceState::Offline }));
            if steadiness.due(now, WINDOW, None).is_some_and(|due| due <= now) {
                steadiness.tell(now, WINDOW);
                told.push(second);
            }
        }
        let first = told.remove(0);
        assert_eq!(first, 0);
        assert!(told.len() >= 10, "{told:?}");
        for window in told.windows(3) {
            assert!(window[2] - window[0] >= 60, "{told:?}");
        }
    }

    #[test]
    fn an_outage_and_its_end_are_told_at_once() {
        let now = Instant::now();
        let mut steadiness = Steadiness::default();
        for state in [DeviceState::Online, DeviceState::Offline, DeviceState::Online] {
            steadiness.set(of(state));
            assert_eq!(steadiness.due(now, WINDOW, None), Some(now));
            assert_eq!(steadiness.tell(now, WINDOW), Some(of(state)));
        }
        assert_eq!(steadiness.due(now, WINDOW, None), None);
        steadiness.set(of(DeviceState::Offline));
        assert_eq!(steadiness.due(now, WINDOW, None), Some(now + WINDOW));
        steadiness.set(of(DeviceState::Online));
        assert_eq!(steadiness.due(now, WINDOW, None), None, "it held");
    }

    #[test]
    fn a_report_cycle_repeats_the_state() {
        let now = Instant::now();
        let mut steadiness = Steadiness::default();
        steadiness.set(of(DeviceState::Online));
        steadiness.tell(now, WINDOW);
        let cycle = Duration::from_secs(10);
        assert_eq!(steadiness.due(now, WINDOW, Some(cycle)), Some(now + cycle));
        steadiness.untold();
        assert_eq!(steadiness.due(now, WINDOW, None), Some(now));
    }
}
