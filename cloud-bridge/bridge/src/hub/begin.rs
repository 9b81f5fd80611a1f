//! What is found out before a link's objects go: whose the node is, what there is, and what the node has.

use std::sync::Arc;
use std::time::Duration;

use edge_link::content::Holding;
use kube::api::{Api, DynamicObject};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Shared;
use super::session::Job;
use crate::syncs::Held;
use crate::watch::of_devices;

/// The first rest after the API server did not take a claim; it doubles.
const REST: Duration = Duration::from_millis(500);
/// The longest of these rests.
const LONGEST_REST: Duration = Duration::from_secs(15);

/// Claims `node` for this replica, however long that takes, and waits until all is known.
pub(super) async fn claim(shared: Arc<Shared>, node: Arc<str>, end: CancellationToken) -> Job {
    let mut rest = REST;
    while let Err(error) = shared.claims.claim(&node, end.clone()).await {
        info!(%node, error, "the API server does not take the claim to the node; it is tried again");
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
    // The sender lives as long as the bridge.
    let _ = shared.synced.clone().wait_for(|synced| *synced).await;
    Job::Claimed
}

/// What the node has: by its own word, or by its records. A device that is not known here is looked for at the API server,
/// so that a cache that lags behind another replica's takes nothing from the node.
pub(super) async fn prepare(
    shared: Arc<Shared>,
    node: Arc<str>,
    said: Option<Vec<Holding>>,
) -> Job {
    let mut rest = REST;
    let held = loop {
        let found = match &said {
            Some(said) => {
                let held = |one: &Holding| Held { holding: one.clone(), protocol: None };
                Ok(said.iter().map(held).collect())
            }
            None => shared.syncs.held(&node).await,
        };
        let checked = match found {
            Ok(held) => check(&shared, &node, &held).await.map(|()| held),
            Err(error) => Err(error),
        };
        match checked {
            Ok(held) => break held,
            Err(error) => {
                info!(%node, %error, "cannot find out what the node should have; it is tried again");
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    };
    Job::Prepared(held)
}

async fn check(shared: &Shared, node: &str, held: &[Held]) -> kube::Result<()> {
    let resource = of_devices("Device", "devices");
    for Holding { key, uid, .. } in held.iter().map(|one| &one.holding) {
        let Some(id) = key.device() else { continue };
        let known = shared.objects.device(&id);
        if known.is_some_and(|one| one.uid == *uid && one.node.as_deref() == Some(node)) {
            continue;
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(shared.client.clone(), id.namespace(), &resource);
        if let Some(device) = api.get_opt(id.name()).await? {
            shared.devices.take(device);
        }
    }
    Ok(())
}

pub(super) async fn own_node(shared: &Shared, node: &str) -> Option<Box<DynamicObject>> {
    let resource = kube::api::ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&());
    let api: Api<DynamicObject> = Api::all_with(shared.client.clone(), &resource);
    match api.get_opt(node).await {
        Ok(node) => node.map(Box::new),
        Err(error) => {
            debug!(node, %error, "cannot read the Node");
            None
        }
    }
}
