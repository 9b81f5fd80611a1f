//! How the link to the cloud is: said by the uplink, read by the API and by metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::uploads::Peer;
use crate::api::view::{Part, PartStatus};
use crate::health::Health;

/// What to do about a link that does not come about.
const REMEDY: &str =
    "devices go on, and what changes is sent when the cloud is there again; see `edgetwin check`";

/// How the link is.
#[derive(Debug)]
pub(crate) struct Status {
    health: Arc<Health>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    linked: bool,
    ready: bool,
    /// Why there was no link the last time.
    reason: String,
    figures: Figures,
    oldest: Option<Instant>,
}

/// What there is to count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Whether there is a link.
    pub(crate) linked: bool,
    /// Links since the start.
    pub(crate) links: u64,
    /// Reports that the cloud confirmed.
    pub(crate) confirmed: u64,
    /// Devices that the cloud does not have as they are.
    pub(crate) behind: usize,
    /// For how long the oldest of them.
    pub(crate) oldest: Duration,
}

impl Status {
    /// No link so far.
    pub(crate) fn new(health: Arc<Health>) -> Self {
        let status = Self { health, state: Mutex::default() };
        status.say("there was no link since the agent started".into());
        status
    }

    /// A link begins.
    pub(super) fn linked(&self, address: &str, peer: Peer) {
        let mut state = self.state();
        (state.linked, state.ready) = (true, false);
        state.figures.links += 1;
        drop(state);
        info!(address, cloud = ?peer, "linked to the cloud");
    }

    /// The cloud knows the node, and it is known what the cloud has.
    pub(super) fn ready(&self) {
        if !std::mem::replace(&mut self.state().ready, true) {
            self.health.ok(Part::Cloud);
        }
    }

    /// There is no link, for that reason. The log has each reason once in a row.
    pub(super) fn broken(&self, reason: &str) {
        let mut state = self.state();
        let was = std::mem::take(&mut state.linked);
        state.ready = false;
        if was || state.reason != reason {
            reason.clone_into(&mut state.reason);
            warn!(reason, "no link to the cloud; it is tried again");
        }
        drop(state);
        self.say(reason.to_owned());
    }

    fn say(&self, reason: String) {
        self.health.set(Part::Cloud, PartStatus::Degraded, reason, REMEDY);
    }

    /// How far reports are.
    pub(super) fn progress(&self, behind: usize, oldest: Option<Instant>, confirmed: u64) {
        let mut state = self.state();
        (state.figures.behind, state.figures.confirmed) = (behind, confirmed);
        state.oldest = oldest;
    }

    /// What there is to count.
    pub(crate) fn figures(&self) -> Figures {
        let state = self.state();
        let oldest = state.oldest.map(|since| since.elapsed()).unwrap_or_default();
        Figures { linked: state.linked, oldest, ..state.figures }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
