//! Makes the mapper known to the agent, and again whenever the agent is another process, or forgot it.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dmi::convert::Peer;
use dmi::proto::MapperInfo;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::{Agent, Link, Registration, Trouble};
use crate::backoff::{Backoff, Pace};
use crate::fleet::Order;
use crate::metrics::Metrics;

/// The agent's socket is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// An agent that is away is called this often.
const PACE: Pace = Pace { min: Duration::from_millis(100), max: Duration::from_secs(5) };
/// EdgeCore does not repair calls that it missed; registering anew does.
const EDGECORE_REPAIR: Duration = Duration::from_secs(300);

pub(crate) struct Registrar {
    agent: Agent,
    info: MapperInfo,
    socket: PathBuf,
    link: watch::Sender<Link>,
    /// Number of a registration that is no good any more.
    again: watch::Receiver<u64>,
    /// The agent sent a device of a model that never came: registering brings both.
    wanting: Arc<Notify>,
    orders: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
}

impl Registrar {
    pub(crate) fn new(
        agent: Agent,
        info: MapperInfo,
        socket: PathBuf,
        (link, again): (watch::Sender<Link>, watch::Receiver<u64>),
        (orders, wanting): (mpsc::Sender<Order>, Arc<Notify>),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { agent, info, socket, link, again, wanting, orders, metrics }
    }

    /// Registers, for ever, until the mapper stops.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        // Whatever is under way may be dropped.
        cancel.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&mut self) {
        let mut backoff = Backoff::new(PACE);
        let mut number = 0;
        let mut away = false;
        let mut process = None;
        loop {
            let seen = Process::of(&self.socket);
            let (answer, metadata) = match self.agent.register(self.info.clone()).await {
                Ok(answer) => answer,
                Err(status) => {
                    if !std::mem::replace(&mut away, true) {
                        warn!(
                            socket = %self.socket.display(), code = ?status.code(),
                            message = status.message(), "agent not reached; it is tried for ever"
                        );
                    }
                    sleep(backoff.next()).await;
                    continue;
                }
            };
            away = false;
            backoff.reset();
            number += 1;
            let new_process = process.is_none() || process != seen;
            let registration = Registration::read(number, &metadata, new_process);
            info!(
                devices = answer.len(), peer = ?registration.peer,
                lease = registration.lease.is_some(), "registered"
            );
            self.metrics.registrations.increment();
            process = seen;
            let order = Order::Registered { answer, fresh: registration.fresh };
            if self.orders.send(order).await.is_err() {
                return;
            }
            self.link.send_replace(Link::Up(registration.clone()));
            self.mind(&registration, process).await;
            self.link.send_replace(Link::Away);
        }
    }

    /// Comes back when it is time to register again.
    async fn mind(&mut self, registration: &Registration, process: Option<Process>) {
        let since = Instant::now();
        let mut failures = 0;
        loop {
            if *self.again.borrow_and_update() == registration.number {
                return;
            }
            tokio::select! {
                changed = self.again.changed() => match changed {
                    Ok(()) => continue,
                    // The reporter is gone: the mapper stops.
                    Err(_) => std::future::pending().await,
                },
                () = self.wanting.notified() => {
                    info!("a model changed, or is missing; registering again brings it");
                    return;
                }
                () = sleep(LOOK) => {}
            }
            let seen = Process::of(&self.socket);
            // While it is away there is nobody to register with; its next socket is another one.
            if seen.is_some() && seen != process {
                info!(socket = %self.socket.display(), "the agent started anew");
                return;
            }
            if registration.peer == Peer::KubeEdge && since.elapsed() >= EDGECORE_REPAIR {
                return;
            }
            let Some(ttl) = registration.ttl else { continue };
            if registration.lease.is_some() && self.agent.heard().elapsed() >= ttl / 3 {
                match self.agent.renew(self.info.clone(), registration).await {
                    Ok(()) | Err(Trouble::Busy) => failures = 0,
                    Err(Trouble::Refused(status)) => {
                        warn!(code = ?status.code(), message = status.message(), "lease not renewed");
                        return;
                    }
                    Err(Trouble::Away(status)) => {
                        failures += 1;
                        if failures > 1 {
                            warn!(
                                code = ?status.code(), message = status.message(),
                                "lease not renewed; registering again"
                            );
                            return;
                        }
                    }
                }
            }
        }
    }
}

/// Which process serves a socket, as far as the file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    inode: (u64, u64),
    made: (i64, i64),
}

impl Process {
    fn of(socket: &std::path::Path) -> Option<Self> {
        let file = std::fs::metadata(socket).ok()?;
        Some(Self { inode: (file.dev(), file.ino()), made: (file.mtime(), file.mtime_nsec()) })
    }
}
