//! Whether the store takes what it is given.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use device_twin::StoreError;

use super::Core;
use crate::api::view::{Part, PartStatus};
use crate::health::Health;

/// After so long without a failure the store is asked whether it is well again.
const REST: Duration = Duration::from_secs(1);

/// How the store is. The owner of the twins writes it, everybody reads it.
#[derive(Debug)]
pub(crate) struct StoreHealth {
    parts: Arc<Health>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u64,
    /// Why it takes nothing, and when it failed the last time.
    fault: Option<(Arc<StoreError>, Instant)>,
}

impl StoreHealth {
    /// It is well; what changes is told to `parts`.
    pub(super) fn new(parts: Arc<Health>) -> Self {
        parts.ok(Part::Store);
        Self { parts, state: Mutex::default() }
    }

    /// Why the store takes nothing at present; `None`: it is well.
    pub(crate) fn fault(&self) -> Option<Arc<StoreError>> {
        self.state().fault.as_ref().map(|(error, _)| error.clone())
    }

    /// Requests that the store did not take, since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Notes how a call of the store went.
    pub(super) fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, Arc<StoreError>> {
        result.map_err(|error| {
            self.state().failures += 1;
            self.fail(error)
        })
    }

    /// Looks, some time after the last failure, whether the store works again: a quiet node must not call it broken for
    /// ever, and what fails now and then is not well.
    pub(super) fn look(&self, core: &mut Core) {
        let rested = |(_, last): &(_, Instant)| last.elapsed() >= REST;
        if !self.state().fault.as_ref().is_some_and(rested) {
            return;
        }
        match core.probe() {
            Ok(()) => {
                self.state().fault = None;
                self.parts.ok(Part::Store);
            }
            Err(error) => drop(self.fail(error)),
        }
    }

    fn fail(&self, error: StoreError) -> Arc<StoreError> {
        let error = Arc::new(error);
        let remedy =
            "what is sent is refused until the store takes it; it is tried again by itself";
        self.parts.set(Part::Store, PartStatus::Degraded, error.to_string(), remedy);
        self.state().fault = Some((error.clone(), Instant::now()));
        error
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
