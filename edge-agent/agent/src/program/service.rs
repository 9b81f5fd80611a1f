//! What a service manager hears of the agent: that it is ready, lives, stops. Without one, nobody is told.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::warn;

/// Who waits for the agent may go on.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// The runtime still comes round. A disk that hangs is no reason for another start: `/readyz` tells of it.
pub(super) fn alive() {
    tell(NotifyState::Watchdog);
}

/// It was asked to.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = notify(&[state]) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// When the service manager wants to hear of this process, if it does.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As `WATCHDOG_USEC` says.
    pub(super) fn new() -> Self {
        Self(watchdog_enabled().map(|within| {
            // Once late is not dead.
            let mut ticks = interval((within / 3).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Comes back whenever it is time; never, where nobody wants to hear.
    pub(super) async fn is_due(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }
}
