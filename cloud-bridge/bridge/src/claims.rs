//! Which replica of the bridge speaks with which node.
//!
//! A node has one link. The replica that it comes to claims it: a Lease of the bridge's namespace, named after the node,
//! bears the replica's name. The newest link is the true one, so a claim is taken from another replica without asking; that
//! one hears of it by its watch and ends what it took for a link. Nothing is renewed: a claim costs one write for each link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::watch::{Watched, follow};

/// What a claim's name begins with.
const PREFIX: &str = "node-";
/// How long the API server may take for one try.
const PATIENCE: Duration = Duration::from_secs(10);

/// The claims of this replica.
pub(crate) struct Claims {
    api: Api<Lease>,
    /// This replica.
    replica: Arc<str>,
    /// Links of this replica, by node.
    held: Mutex<BTreeMap<Arc<str>, Held>>,
}

/// One claim of this replica.
#[derive(Debug)]
struct Held {
    /// Ends the link.
    lost: CancellationToken,
    /// The lease's transitions with this claim: a later claim of another replica has more.
    transitions: i32,
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims").field("replica", &self.replica).finish_non_exhaustive()
    }
}

impl Claims {
    /// Those of `replica`, in `namespace`.
    pub(crate) fn new(client: kube::Client, namespace: &str, replica: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, replica: replica.into(), held: Mutex::default() }
    }

    /// Claims `node` for this replica; `lost` is cancelled when another one claims it later.
    ///
    /// # Errors
    /// The API server did not take it; try again.
    pub(crate) async fn claim(
        &self,
        node: &Arc<str>,
        lost: CancellationToken,
    ) -> Result<(), String> {
        let claiming = self.write(node);
        let late = || Err(format!("the API server took longer than {PATIENCE:?}"));
        let transitions =
            tokio::time::timeout(PATIENCE, claiming).await.unwrap_or_else(|_| late())?;
        self.held().insert(node.clone(), Held { lost, transitions });
        Ok(())
    }

    /// This replica's link to `node`, which `lost` ends, is over.
    pub(crate) fn release(&self, node: &Arc<str>, lost: &CancellationToken) {
        lost.cancel();
        self.held().retain(|of, held| of != node || !held.lost.is_cancelled());
    }

    /// Hears of other replicas' claims until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        follow(self.api.clone(), self, &signal::Sender::new(false), &stop).await;
    }

    async fn write(&self, node: &str) -> Result<i32, String> {
        let name = format!("{PREFIX}{node}");
        let told = |error: kube::Error| error.to_string();
        let mut lease = match self.api.get_opt(&name).await.map_err(told)? {
            Some(lease) => lease,
            None => Lease {
                metadata: kube::core::ObjectMeta {
                    name: Some(name.clone()),
                    ..kube::core::ObjectMeta::default()
                },
                spec: None,
            },
        };
        let before = lease.spec.take().unwrap_or_default();
        let moved = before.holder_identity.as_deref() != Some(&*self.replica);
        let transitions = before.lease_transitions.unwrap_or(0) + i32::from(moved);
        let now = MicroTime(jiff::Timestamp::now());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.replica.to_string()),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        });
        let post = PostParams::default();
        let sent = match lease.resource_version() {
            Some(_) => self.api.replace(&name, &post, &lease).await,
            None => self.api.create(&post, &lease).await,
        };
        sent.map(|_| transitions).map_err(told)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched<Lease> for Claims {
    type Id = ();

    fn put(&self, lease: Lease) -> Option<()> {
        let name = lease.name_any();
        let node = name.strip_prefix(PREFIX)?;
        let spec = lease.spec.as_ref()?;
        let transitions = spec.lease_transitions.unwrap_or(0);
        if spec.holder_identity.as_deref() != Some(&*self.replica)
            && let Some(held) = self.held().get(node)
            && held.transitions < transitions
        {
            held.lost.cancel();
        }
        None
    }

    fn remove(&self, _: Lease) {}

    fn keep_only(&self, _: BTreeSet<()>) {}
}
