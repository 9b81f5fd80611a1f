//! Whether the store takes what it is given.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use device_twin::StoreError;
use exposition::Histogram;

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
    /// How long its transactions took.
    pub(crate) commits: Histogram,
}

#[derive(Debug, Default)]
struct State {
    failures: u64,
    /// Why it takes nothing, and when it failed the last time.
    fault: Option<(Arc<StoreError>, Instant)>,
    /// Where the damaged store is that this one took the place of, until somebody removes it.
    aside: Option<PathBuf>,
}

impl StoreHealth {
    /// It is well; what changes is told to `parts`.
    pub(super) fn new(parts: Arc<Health>) -> Self {
        parts.ok(Part::Store);
        Self { parts, state: Mutex::default(), commits: Histogram::default() }
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

    /// This store took the place of a damaged one.
    pub(crate) fn set_aside(&self, aside: PathBuf) {
        self.state().aside = Some(aside);
        self.tell();
    }

    /// Looks, some time after the last failure, whether the store works again: a quiet node must not call it broken for
    /// ever, and what fails now and then is not well.
    pub(super) fn look(&self, core: &mut Core) {
        let gone = |aside: &mut PathBuf| !aside.exists();
        if self.state().aside.take_if(gone).is_some() {
            self.tell();
        }
        let rested = |(_, last): &(_, Instant)| last.elapsed() >= REST;
        if !self.state().fault.as_ref().is_some_and(rested) {
            return;
        }
        match core.probe() {
            Ok(()) => {
                self.state().fault = None;
                self.tell();
            }
            Err(error) => drop(self.fail(error)),
        }
    }

    fn fail(&self, error: StoreError) -> Arc<StoreError> {
        let error = Arc::new(error);
        self.state().fault = Some((error.clone(), Instant::now()));
        self.tell();
        error
    }

    fn tell(&self) {
        let state = self.state();
        let (reason, remedy) = match (&state.fault, &state.aside) {
            (Some((error, _)), _) => {
                let remedy =
                    "what is sent is refused until the store takes it; it is tried again by itself";
                (error.to_string(), remedy)
            }
            (None, Some(aside)) => {
                let aside = aside.display();
                let remedy =
                    "write again what was desired; remove the damaged file when nobody needs it";
                (
                    format!("the store was damaged and began empty; the damaged one is {aside}"),
                    remedy,
                )
            }
            (None, None) => return self.parts.ok(Part::Store),
        };
        self.parts.set(Part::Store, PartStatus::Degraded, reason, remedy);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
