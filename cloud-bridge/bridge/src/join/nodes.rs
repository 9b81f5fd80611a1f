//! Which nodes there are.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;

use crate::identity::NodeName;

/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says whether a node exists.
pub trait NodeLookup: std::fmt::Debug + Send + Sync {
    /// Whether there is a Node of that name; an error says why it is not known.
    fn exists<'a>(&'a self, node: &'a NodeName) -> BoxFuture<'a, Result<bool, String>>;
}

/// The Nodes of a cluster, asked one by one.
#[derive(Clone)]
pub struct KnownNodes(Api<Node>);

impl std::fmt::Debug for KnownNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownNodes").finish_non_exhaustive()
    }
}

impl KnownNodes {
    /// Those of the cluster that `client` speaks with.
    pub fn new(client: kube::Client) -> Self {
        Self(Api::all(client))
    }
}

impl NodeLookup for KnownNodes {
    fn exists<'a>(&'a self, node: &'a NodeName) -> BoxFuture<'a, Result<bool, String>> {
        async move {
            let asked =
                tokio::time::timeout(PATIENCE, self.0.get_metadata_opt(node.as_str())).await;
            let asked =
                asked.map_err(|_| format!("the API server took longer than {PATIENCE:?}"))?;
            asked.map(|node| node.is_some()).map_err(|error| error.to_string())
        }
        .boxed()
    }
}
