//! Whether the simulated devices have power, and who is told when they lose it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// When the last reboot is over; none before the first.
#[derive(Debug)]
pub(crate) struct Power(watch::Sender<Option<Instant>>);

impl Default for Power {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Power {
    /// No power for `time` from now on.
    pub(crate) fn cycle(&self, time: Duration) {
        self.0.send_replace(Some(Instant::now() + time));
    }

    pub(crate) fn is_off(&self) -> bool {
        self.0.borrow().is_some_and(|back| Instant::now() < back)
    }

    /// Tells of reboots from now on, and of one that is under way.
    pub(crate) fn reboots(&self) -> Reboots {
        let mut reboots = self.0.subscribe();
        if self.is_off() {
            reboots.mark_changed();
        }
        Reboots(reboots)
    }
}

/// The ear of a server for reboots.
#[derive(Debug)]
pub(crate) struct Reboots(watch::Receiver<Option<Instant>>);

impl Reboots {
    /// Waits for the next reboot; says when it will be over. Cancel safe.
    pub(crate) async fn next(&mut self) -> Instant {
        loop {
            if self.0.changed().await.is_err() {
                // Nobody is left who could reboot.
                std::future::pending::<()>().await;
            }
            if let Some(back) = *self.0.borrow_and_update() {
                return back;
            }
        }
    }
}
