//! The border to the cloud: one link, made again for ever, and what goes over it.
//!
//! [`objects`] is the way down: what the cloud wants this node to have, kept and told to the twins. [`uploads`] is the way
//! up: what the cloud does not have of the twins. Both go on without a link. The rules of both are `edge-link`'s.

mod body;
mod dial;
mod link;
mod machine;
mod node;
mod objects;
mod report;
mod status;
mod token;
mod uploads;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use device_model::DeviceId;
use device_twin::store::{Confirmed, Object};
use edge_link::content::Holding;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::catalogue::Catalogue;
use crate::clock::now;
use crate::config::{AgentConfig, Cloud};
use crate::health::Health;
use crate::identity::{JoinServers, Papers, Places, join, renew};
use crate::manifests::Faults;
use crate::twins::{Twins, Unavailable};
use link::{End, Parts};
use node::Node;
pub(crate) use objects::KINDS;
use objects::Objects;
pub(crate) use status::Status;
use uploads::Uploads;
pub(crate) use uploads::Waiting;

/// First wait before the next try, and the longest one; up to as much again is added by chance.
const PACE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A link that was there for so long was a good one: the next wait is a short one.
const STEADY: Duration = Duration::from_secs(60);
/// How often what the store did not take is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether the certificate is to be renewed: the clock may be set.
const LOOK: Duration = Duration::from_secs(60);
/// After a renewal that failed.
const RENEWAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Questions of the API that wait.
const ASKED: usize = 16;

/// What the API asks the uplink.
pub(crate) enum Asking {
    /// What the cloud does not have.
    Outbox(oneshot::Sender<Vec<Waiting>>),
    /// What the cloud gave this node.
    Objects(oneshot::Sender<Vec<Holding>>),
}

/// The uplink for whoever wants to know of it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    asking: mpsc::Sender<Asking>,
    pub(crate) status: Arc<Status>,
}

impl Handle {
    /// Devices that the cloud does not have as they are; none while the agent stops.
    pub(crate) async fn outbox(&self) -> Option<Vec<Waiting>> {
        self.ask(Asking::Outbox).await
    }

    /// Objects that the cloud gave this node; none while the agent stops.
    pub(crate) async fn objects(&self) -> Option<Vec<Holding>> {
        self.ask(Asking::Objects).await
    }

    async fn ask<T>(&self, asking: impl FnOnce(oneshot::Sender<T>) -> Asking) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asking.send(asking(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// The uplink of one node.
pub(crate) struct Uplink {
    name: String,
    cloud: Cloud,
    objects: Objects,
    uploads: Uploads,
    node: Node,
    status: Arc<Status>,
    asked: mpsc::Receiver<Asking>,
    pace: ExponentialBackoff,
}

/// What an earlier run left.
#[derive(Default)]
pub(crate) struct Left {
    /// Objects of the cloud.
    pub(crate) objects: Vec<Object>,
    /// Up to where the cloud has the twins.
    pub(crate) confirmed: BTreeMap<DeviceId, Confirmed>,
}

impl Uplink {
    /// Tells the twins of the devices that the last run had of the cloud. Connects nowhere.
    ///
    /// # Errors
    /// The twins stopped.
    pub(crate) async fn begin(
        config: &AgentConfig,
        left: Left,
        twins: Twins,
        catalogue: Arc<Catalogue>,
        faults: Arc<Faults>,
        health: Arc<Health>,
    ) -> Result<(Self, Handle), Unavailable> {
        let mut objects = Objects::new(&left.objects, twins.clone(), catalogue, faults);
        objects.begin().await?;
        let uploads = Uploads::new(twins, left.confirmed).await?;
        let status = Arc::new(Status::new(health));
        let (asking, asked) = mpsc::channel(ASKED);
        let handle = Handle { asking, status: status.clone() };
        let name = config.node.name.clone();
        let node = Node::new(&name, &config.node.labels);
        let (cloud, pace) = (config.cloud.clone(), pace(PACE));
        Ok((Self { name, cloud, objects, uploads, node, status, asked, pace }, handle))
    }

    /// Keeps a link until `stop`.
    ///
    /// # Errors
    /// None: what goes wrong is told and tried again.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        let mut addresses = self.cloud.addresses.clone().into_iter().cycle();
        let mut tried = 0;
        while !stop.is_cancelled() {
            let finding = papers(self.cloud.clone(), self.name.clone(), self.status.clone());
            let Some(papers) = self.meanwhile(finding, &stop).await else { break };
            let Some(address) = addresses.next() else { break };
            let begun = Instant::now();
            match self.link(&papers, &address, &stop).await {
                End::Stopped => break,
                End::Renewed => {
                    info!("the link is made anew, with the new certificate");
                    continue;
                }
                End::Behind(epoch) => match self.uploads.begin_epoch(epoch).await {
                    Ok(()) => {}
                    Err(error) => {
                        warn!(%error, "the store cannot begin another life; it is tried again")
                    }
                },
                End::Broken(reason) => {
                    self.status.broken(&format!("{address}: {reason}"));
                }
            }
            tried += 1;
            if begun.elapsed() >= STEADY {
                self.pace = pace(PACE);
            } else if tried % self.cloud.addresses.len() != 0 {
                // Each address in its turn, before there is a rest.
                continue;
            }
            let rest = self.pace.next().unwrap_or(PACE.1);
            if self.meanwhile(sleep(rest), &stop).await.is_none() {
                break;
            }
        }
        // What was confirmed need not be told again after the next start.
        let _ = self.uploads.keep().await;
        Ok(())
    }

    async fn link(&mut self, papers: &Papers, address: &str, stop: &CancellationToken) -> End {
        let (cloud, name) = (self.cloud.clone(), self.name.clone());
        let dialling = {
            let (papers, address) = (papers.clone(), address.to_owned());
            async move { dial::dial(&cloud, &name, &papers, &address).await }
        };
        let dialled = match self.meanwhile(dialling, stop).await {
            None => return End::Stopped,
            Some(Ok(dialled)) => dialled,
            Some(Err(reason)) => return End::Broken(reason),
        };
        self.status.linked(address, dialled.peer);
        let parts = Parts {
            objects: &mut self.objects,
            uploads: &mut self.uploads,
            node: &mut self.node,
            status: &self.status,
            asked: &mut self.asked,
            heartbeat: *self.cloud.heartbeat,
        };
        let renewed = renewal(self.cloud.clone(), self.name.clone(), papers.clone());
        link::run(dialled, parts, renewed, stop).await
    }

    /// Waits for `work`, and does meanwhile what needs no link; none: the agent stops.
    async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
        stop: &CancellationToken,
    ) -> Option<T> {
        tokio::pin!(work);
        let mut again = tokio::time::interval(AGAIN);
        loop {
            let (behind, since) = self.uploads.behind_with();
            self.status.progress(behind, since, self.uploads.confirmed());
            let done = tokio::select! {
                () = stop.cancelled() => return None,
                done = &mut work => return Some(done),
                () = self.uploads.changed() => self.uploads.follow().await,
                Some(asking) = self.asked.recv() => {
                    answer(asking, &self.objects, &self.uploads);
                    Ok(())
                }
                _ = again.tick(), if self.objects.is_owing() => self.objects.pay(false).await,
            };
            if done == Err(Unavailable::Stopped) {
                return None;
            }
        }
    }
}

fn answer(asking: Asking, objects: &Objects, uploads: &Uploads) {
    // Whoever asked may have left.
    match asking {
        Asking::Outbox(reply) => drop(reply.send(uploads.waiting())),
        Asking::Objects(reply) => drop(reply.send(objects.held().collect())),
    }
}

fn pace((first, longest): (Duration, Duration)) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

/// The node's papers: those that are there, or new ones for the token.
async fn papers(cloud: Cloud, node: String, status: Arc<Status>) -> Papers {
    let (places, servers) = (Places::from(&cloud), JoinServers::from(&cloud));
    let mut pace = pace(PACE);
    loop {
        let reason = match Papers::read(&places, &node) {
            Ok(Some(papers)) if !papers.is_expired(now()) => return papers,
            Ok(found) => match token::read(&cloud) {
                Ok(token) => match join(&servers, token.expose(), &node, &places).await {
                    Ok(papers) => {
                        info!(node, until = %papers.expires_at(), "joined: the cloud gave this node a certificate");
                        return papers;
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) if found.is_some() => {
                    format!("the certificate has ended, and {error}")
                }
                Err(error) => error,
            },
            Err(error) => error.to_string(),
        };
        status.broken(&reason);
        sleep(pace.next().unwrap_or(PACE.1)).await;
    }
}

/// Comes back when the certificate was renewed.
async fn renewal(cloud: Cloud, node: String, papers: Papers) {
    if !cloud.rotate {
        return std::future::pending().await;
    }
    let due = papers.renew_at(random());
    // By the machine's clock, which may be set meanwhile.
    while now() < due {
        sleep_until(Instant::now() + due.since(now()).min(LOOK)).await;
    }
    let mut pace = pace(RENEWAL);
    loop {
        match renew(&JoinServers::from(&cloud), &papers, &node, &Places::from(&cloud)).await {
            Ok(papers) => {
                info!(node, until = %papers.expires_at(), "the certificate was renewed");
                return;
            }
            Err(error) => {
                warn!(%error, until = %papers.expires_at(), "the certificate was not renewed; it is tried again");
            }
        }
        sleep(pace.next().unwrap_or(RENEWAL.1)).await;
    }
}

/// Some number from 0 to 1.
fn random() -> f64 {
    let octets = uuid::Uuid::new_v4().into_bytes();
    f64::from(u32::from_le_bytes([octets[0], octets[1], octets[2], octets[3]]))
        / f64::from(u32::MAX)
}
