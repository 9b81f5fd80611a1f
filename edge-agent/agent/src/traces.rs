//! One span for each desired change, from its acceptance to its final acknowledgement.
//!
//! The change's number (W3C Trace Context) goes along to the mapper, whose own spans bear it, too: so the log lines of
//! both processes can be laid side by side. It is the caller's, where one was given with the request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use device_model::{DeviceId, Generation, PropertyName};
use device_twin::{Change, ChangeKind, PropertyChange, TwinProperty};
use dmi::trace::TraceId;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, info_span};

use crate::feed::{Entry, Feed, Origin};
use crate::metrics::Metrics;

/// Entries that are taken from the feed at a time.
const CHUNK: usize = 128;

/// The changes that have no final acknowledgement yet. There are at most as many as properties.
#[derive(Debug)]
pub(crate) struct Traces {
    feed: Arc<Feed>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cursor: u64,
    open: HashMap<(DeviceId, PropertyName), Open>,
}

#[derive(Debug)]
struct Open {
    generation: Generation,
    trace: TraceId,
    span: Span,
    since: Instant,
}

impl Traces {
    /// Follows what happens in `feed` after the event `from`.
    pub(crate) fn new(feed: Arc<Feed>, from: u64, metrics: Arc<Metrics>) -> Self {
        let state = State { cursor: from, open: HashMap::new() };
        Self { feed, metrics, state: Mutex::new(state) }
    }

    /// The number of a change that is under way.
    pub(crate) fn of(
        &self,
        device: &DeviceId,
        property: &PropertyName,
        generation: Generation,
    ) -> Option<TraceId> {
        let state = self.caught_up();
        let open = state.open.get(&(device.clone(), property.clone()))?;
        (open.generation == generation).then_some(open.trace)
    }

    /// Keeps up, until `stop`.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) -> Result<(), String> {
        let mut newest = self.feed.subscribe();
        loop {
            drop(self.caught_up());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = newest.changed() => if changed.is_err() {
                    stop.cancelled().await;
                    return Ok(());
                },
            }
        }
    }

    /// Whoever asks may be ahead of the task.
    fn caught_up(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match self.feed.after(state.cursor, CHUNK) {
                Ok(entries) if entries.is_empty() => return state,
                Ok(entries) => {
                    for entry in entries {
                        state.cursor = entry.last();
                        state.take(&entry, &self.metrics);
                    }
                }
                Err(_) => {
                    // How these ended is overwritten.
                    state.open.clear();
                    state.cursor = self.feed.newest();
                }
            }
        }
    }
}

impl State {
    fn take(&mut self, entry: &Entry, metrics: &Metrics) {
        let given = match &entry.origin {
            Origin::Wish { trace } => *trace,
            _ => None,
        };
        for change in &entry.changes {
            if change.kind == ChangeKind::Removed {
                self.open.retain(|(device, _), _| *device != change.device.id);
                continue;
            }
            for property in &change.properties {
                self.property(change, property, given, metrics);
            }
        }
    }

    fn property(
        &mut self,
        change: &Change,
        property: &PropertyChange,
        given: Option<TraceId>,
        metrics: &Metrics,
    ) {
        let id = &change.device.id;
        let key = (id.clone(), property.name.clone());
        let desired = property.new.as_ref().and_then(|state| state.desired.as_ref());
        if property.desired_changed() {
            self.open.remove(&key);
            let Some(desired) = desired else { return };
            let (generation, trace) = (desired.generation, given.unwrap_or_else(TraceId::random));
            let span = info_span!("desired", %trace, device = %id, property = %property.name, version = %generation);
            span.in_scope(|| debug!(value = %desired.value, writer = %desired.writer, "accepted"));
            self.open.insert(key.clone(), Open { generation, trace, span, since: Instant::now() });
        }
        let ack = property.new.as_ref().and_then(|state: &TwinProperty| state.ack.as_deref());
        let (Some(ack), Some(open)) = (ack.filter(|_| property.ack_changed()), self.open.get(&key))
        else {
            return;
        };
        if ack.generation != open.generation {
            return;
        }
        let took = open.since.elapsed();
        open.span.in_scope(|| {
            debug!(code = %ack.code, detail = &*ack.detail, took_ms = took.as_millis(), "acknowledged");
        });
        if ack.code.is_final() {
            metrics.settled.observe(took);
            self.open.remove(&key);
        }
    }
}
