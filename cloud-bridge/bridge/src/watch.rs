//! Watches one kind of object at the API server, for whoever keeps something of it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt;
use kube::api::{Api, ApiResource, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Somebody who is told what the API server has of one kind.
pub(crate) trait Watched<K> {
    /// What an object of this kind is known by.
    type Id: Ord;

    /// An object as it is now; what it is known by, unless it cannot be understood.
    fn put(&self, object: K) -> Option<Self::Id>;

    /// An object is gone.
    fn remove(&self, object: K);

    /// All that there are were put just now; what is not among `listed` is gone.
    fn keep_only(&self, listed: BTreeSet<Self::Id>);
}

/// Tells `watched` what the API server has, until `stop`; `synced` becomes true once all of it is known.
pub(crate) async fn follow<K, W>(
    api: Api<K>,
    watched: &W,
    synced: &signal::Sender<bool>,
    stop: &CancellationToken,
) where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    W: Watched<K>,
{
    let kind = api.resource_url().to_owned();
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = pin!(events);
    let mut listed = BTreeSet::new();
    let mut failing = false;
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if failing {
                    debug!(kind, %error, "the watch fails still");
                } else {
                    warn!(kind, %error, "the watch failed; what is known stays, and it is tried until it works");
                }
                failing = true;
                continue;
            }
        };
        if std::mem::take(&mut failing) {
            info!(kind, "the watch works again");
        }
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => listed.extend(watched.put(object)),
            Event::InitDone => {
                watched.keep_only(std::mem::take(&mut listed));
                synced.send_replace(true);
            }
            Event::Apply(object) => drop(watched.put(object)),
            Event::Delete(object) => watched.remove(object),
        }
    }
}

/// A resource in KubeEdge's group of devices.
pub(crate) fn of_devices(kind: &str, plural: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
    ApiResource::from_gvk_with_plural(&kind, plural)
}
