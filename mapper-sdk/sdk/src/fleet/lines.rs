//! The wires' tasks: started for the first device, ended after the last, started again when one ends by itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dmi::frames::Frame;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::driver::Driver;
use crate::endpoint::{Command, Endpoint, Limits};
use crate::frames::{Crowded, FrameTap};
use crate::metrics::Metrics;
use crate::report::Report;
use crate::schedule::Seat;

use super::Unwatched;

/// Commands that may wait for a wire's task.
const COMMANDS: usize = 64;

struct Line<D: Driver> {
    commands: mpsc::Sender<Command<D>>,
    seats: BTreeSet<Seat>,
    tap: FrameTap,
    /// Cancelled when the task has ended.
    ended: CancellationToken,
}

pub(super) struct Lines<D: Driver> {
    driver: Arc<D>,
    reports: mpsc::Sender<Report>,
    limits: Limits,
    metrics: Arc<Metrics>,
    cancel: CancellationToken,
    lines: HashMap<D::Endpoint, Line<D>>,
    tasks: JoinSet<()>,
    owners: HashMap<Id, D::Endpoint>,
    /// Wires that were given up, and whose tasks may still finish a transaction.
    ending: HashMap<D::Endpoint, CancellationToken>,
    started: u32,
    /// How often each wire's task ended by itself.
    falls: HashMap<D::Endpoint, u32>,
}

impl<D: Driver> Lines<D> {
    pub(super) fn new(
        driver: Arc<D>,
        reports: mpsc::Sender<Report>,
        limits: Limits,
        metrics: Arc<Metrics>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            driver,
            reports,
            limits,
            metrics,
            cancel,
            lines: HashMap::new(),
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            ending: HashMap::new(),
            started: 0,
            falls: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Tells the task of `endpoint` of a device, starting it for the first one.
    pub(super) async fn join(&mut self, endpoint: &D::Endpoint, command: Command<D>, seat: Seat) {
        if !self.lines.contains_key(endpoint) {
            self.start(endpoint.clone());
        }
        if let Some(line) = self.lines.get_mut(endpoint) {
            line.seats.insert(seat);
        }
        self.tell(endpoint, command).await;
    }

    pub(super) async fn leave(&mut self, endpoint: &D::Endpoint, seat: Seat) {
        self.tell(endpoint, Command::Leave(seat)).await;
        let Some(line) = self.lines.get_mut(endpoint) else { return };
        line.seats.remove(&seat);
        if line.seats.is_empty() {
            // Without commands to come, the task ends.
            if let Some((first, line)) = self.lines.remove_entry(endpoint) {
                // The same wire may be described otherwise by now; it is counted as it was begun.
                self.metrics.forget_wire(&first.to_string());
                self.ending.insert(first, line.ended);
            }
        }
    }

    /// The frames of a device from now on, until it leaves the wire.
    pub(super) fn watch(
        &self,
        endpoint: &D::Endpoint,
        seat: Seat,
    ) -> Result<mpsc::Receiver<Frame>, Unwatched> {
        let line = self.lines.get(endpoint).ok_or(Unwatched::Unplaced)?;
        line.tap.watch(seat).map_err(|Crowded| Unwatched::Crowded)
    }

    pub(super) async fn tell(&self, endpoint: &D::Endpoint, command: Command<D>) {
        if let Some(line) = self.lines.get(endpoint) {
            // A task that ended meanwhile is found by `fallen`, and gets everything anew.
            let _ = line.commands.send(command).await;
        }
    }

    pub(super) async fn tell_all(&self, command: impl Fn() -> Command<D>) {
        for line in self.lines.values() {
            // As above.
            let _ = line.commands.send(command()).await;
        }
    }

    /// Waits until a task ended that should not have. Drivers' panics do not come so far (see `wire`), so this is a
    /// fault of ours; the new task starts under back-off. Cancel safe.
    pub(super) async fn fallen(&mut self) -> D::Endpoint {
        loop {
            let (id, panicked) = match self.tasks.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, ()))) => (id, false),
                Some(Err(error)) => (error.id(), error.is_panic()),
            };
            let Some(endpoint) = self.owners.remove(&id) else { continue };
            if self.ending.get(&endpoint).is_some_and(CancellationToken::is_cancelled) {
                self.ending.remove(&endpoint);
            }
            // A line that was given up, or given up and begun again: its task ended as it should.
            if self.lines.get(&endpoint).is_none_or(|line| !line.commands.is_closed()) {
                continue;
            }
            self.lines.remove(&endpoint);
            let falls = self.falls.entry(endpoint.clone()).or_default();
            *falls = falls.saturating_add(1);
            error!(%endpoint, panicked, "a wire's task ended by itself; it starts again");
            return endpoint;
        }
    }

    /// Waits for the tasks, which were told to stop.
    pub(super) async fn stop(&mut self) {
        self.lines.clear();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let grace = self.limits.stop * 2 + Duration::from_millis(100);
        if tokio::time::timeout(grace, ended).await.is_err() {
            error!("a driver did not let go of its wire in time; it is cut");
            self.tasks.shutdown().await;
        }
    }

    fn start(&mut self, endpoint: D::Endpoint) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        // The golden ratio spreads any number of wires over the cycle.
        let phase = (f64::from(self.started) * 0.618_033_988_75).fract();
        self.started = self.started.wrapping_add(1);
        let task = Endpoint::new(
            self.driver.clone(),
            endpoint.clone(),
            phase,
            (commands, self.reports.clone()),
            self.limits,
            self.metrics.clone(),
        );
        let tap = task.tap();
        let wait = self.falls.get(&endpoint).map(|falls| self.limits.reconnect.delay(*falls));
        let cancel = self.cancel.child_token();
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let before = self.ending.remove(&endpoint);
        let handle = self.tasks.spawn(async move {
            // Also when the task panics.
            let _guard = guard;
            // Two tasks on one wire would talk at once; a serial line would be refused to the second one.
            if let Some(before) = before {
                before.cancelled().await;
            }
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
            }
            task.run(cancel).await;
        });
        self.owners.insert(handle.id(), endpoint.clone());
        self.lines.insert(endpoint, Line { commands: sender, seats: BTreeSet::new(), tap, ended });
    }
}
