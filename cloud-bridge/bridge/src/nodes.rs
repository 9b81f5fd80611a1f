//! Nodes, as far as their EdgeCores want to know of changes: not of their own heartbeats.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::Api;
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;

use crate::watch::{Watched, follow};

/// The number of a Node that is not there.
pub(crate) const GONE: u64 = 0;

/// What a Node is apart from its status, in a number, by name.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Mutex<HashMap<Arc<str>, signal::Sender<u64>>>);

impl Nodes {
    /// Tells whenever the Node of that name is another but for its status; [`GONE`] while there is none.
    pub(crate) fn follow(&self, name: &Arc<str>) -> signal::Receiver<u64> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.entry(name.clone()).or_insert_with(|| signal::Sender::new(GONE)).subscribe()
    }

    /// Keeps them true until `stop`.
    pub(crate) async fn run(&self, client: kube::Client, stop: CancellationToken) {
        follow(Api::<Node>::all(client), self, &signal::Sender::new(false), &stop).await;
    }

    fn set(&self, name: &str, look: u64) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = nodes.entry(name.into()).or_insert_with(|| signal::Sender::new(GONE));
        sender.send_if_modified(|known| std::mem::replace(known, look) != look);
    }
}

impl Watched<Node> for Nodes {
    type Id = String;

    fn put(&self, node: Node) -> Option<String> {
        let name = node.name_any();
        self.set(&name, look(&node));
        Some(name)
    }

    fn remove(&self, node: Node) {
        self.set(&node.name_any(), GONE);
    }

    fn keep_only(&self, listed: BTreeSet<String>) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.retain(|name, sender| listed.contains(&**name) || !sender.is_closed());
        for (_, sender) in nodes.iter().filter(|(name, _)| !listed.contains(&***name)) {
            sender.send_if_modified(|known| std::mem::replace(known, GONE) != GONE);
        }
    }
}

fn look(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = &node.metadata;
    (&metadata.uid, &metadata.labels, &metadata.annotations).hash(&mut hasher);
    // Taints, addresses of pods and whether it is cordoned: small, and without an order of their own.
    serde_json::to_string(&node.spec).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
