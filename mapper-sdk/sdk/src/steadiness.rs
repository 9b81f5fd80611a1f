//! Keeps a device's state from flapping. Pure.

use std::time::{Duration, Instant};

use device_model::DeviceState;

/// Changes that may be told within the window.
const CHANGES: usize = 2;

/// What a device's state is, and what was told of it.
///
/// A change is told at once, unless two were told within the window: then the state that holds when the window
/// has passed is told. A device that goes down and comes back is thus shown at once, one that flaps is not.
#[derive(Debug, Default)]
pub(crate) struct Steadiness {
    state: Option<DeviceState>,
    told: Option<DeviceState>,
    /// When the last changes were told, oldest first. The first state of all is no change.
    changes: [Option<Instant>; CHANGES],
    told_at: Option<Instant>,
}

impl Steadiness {
    pub(crate) fn set(&mut self, state: DeviceState) {
        self.state = Some(state);
    }

    /// When the state is to be told next: because it changed, or because `cycle` wants it repeated.
    pub(crate) fn due(
        &self,
        now: Instant,
        window: Duration,
        cycle: Option<Duration>,
    ) -> Option<Instant> {
        self.state?;
        if self.told.is_none() {
            return Some(now);
        }
        let repeat = cycle.and_then(|cycle| Some(self.told_at? + cycle));
        if self.state == self.told {
            return repeat;
        }
        let free = self.changes[0].map_or(now, |oldest| (oldest + window).max(now));
        Some(repeat.map_or(free, |repeat| free.min(repeat)))
    }

    /// The state to tell now. The caller asks when [`Steadiness::due`] says so.
    pub(crate) fn tell(&mut self, now: Instant, window: Duration) -> Option<DeviceState> {
        let busy = self.changes[0].is_some_and(|oldest| oldest + window > now);
        let state = match self.told {
            // Its cycle is due while a change has to wait.
            Some(told) if busy => told,
            _ => self.state?,
        };
        if self.told.is_some() && self.told != Some(state) {
            self.changes.rotate_left(1);
            self.changes[CHANGES - 1] = Some(now);
        }
        self.told = Some(state);
        self.told_at = Some(now);
        Some(state)
    }

    /// What was told did not arrive.
    pub(crate) fn untold(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn a_device_that_flaps_every_second_is_told_twice_a_minute_at_most() {
        let start = Instant::now();
        let mut steadiness = Steadiness::default();
        let mut told = Vec::new();
        for second in 0..600u64 {
            let now = start + Duration::from_secs(second);
            let up = second % 2 == 0;
            steadiness.set(if up { DeviceState::Online } else { DeviceState::Offline });
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
            steadiness.set(state);
            assert_eq!(steadiness.due(now, WINDOW, None), Some(now));
            assert_eq!(steadiness.tell(now, WINDOW), Some(state));
        }
        assert_eq!(steadiness.due(now, WINDOW, None), None);
        steadiness.set(DeviceState::Offline);
        assert_eq!(steadiness.due(now, WINDOW, None), Some(now + WINDOW));
        steadiness.set(DeviceState::Online);
        assert_eq!(steadiness.due(now, WINDOW, None), None, "it held");
    }

    #[test]
    fn a_report_cycle_repeats_the_state() {
        let now = Instant::now();
        let mut steadiness = Steadiness::default();
        steadiness.set(DeviceState::Online);
        steadiness.tell(now, WINDOW);
        let cycle = Duration::from_secs(10);
        assert_eq!(steadiness.due(now, WINDOW, Some(cycle)), Some(now + cycle));
        steadiness.untold();
        assert_eq!(steadiness.due(now, WINDOW, None), Some(now));
    }
}
