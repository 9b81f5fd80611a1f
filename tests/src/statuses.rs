//! The DeviceStatuses of a cluster as they change, over one watch: when a value became visible is known to the
//! millisecond.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cloud::reported_in;

/// What a watch has seen; it ends when this is dropped.
#[derive(Debug)]
pub struct Statuses {
    /// The newest of each device of the namespace `default`, by name.
    seen: watch::Receiver<HashMap<String, Value>>,
    _watching: JoinSet<()>,
}

impl Statuses {
    /// Watches those of the namespace `default`.
    pub fn watch(client: Client) -> Self {
        let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", "DeviceStatus");
        let resource = ApiResource::from_gvk_with_plural(&kind, "devicestatuses");
        let api: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
        let (newest, seen) = watch::channel(HashMap::new());
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            let objects = watcher(api, watcher::Config::default()).default_backoff();
            let mut objects = std::pin::pin!(objects.applied_objects());
            loop {
                // What goes wrong is tried again by the stream itself.
                let Ok(Some(object)) = objects.try_next().await else { continue };
                let name = object.metadata.name.unwrap_or_default();
                newest.send_modify(|all| drop(all.insert(name, object.data)));
            }
        });
        Self { seen, _watching: watching }
    }

    /// Waits until the reported `property` of `device` is `value`.
    ///
    /// # Errors
    /// It is not within `patience`; the error says what it is.
    pub async fn until(
        &mut self,
        device: &str,
        property: &str,
        value: &str,
        patience: Duration,
    ) -> Result<()> {
        let reported = |all: &HashMap<String, Value>| {
            all.get(device).and_then(|status| reported_in(status, property).ok())
        };
        let shown = self.seen.wait_for(|all| reported(all).as_deref() == Some(value));
        let Ok(shown) = timeout(patience, shown).await else {
            let has = reported(&self.seen.borrow()).unwrap_or_default();
            anyhow::bail!("{device}/{property} is \"{has}\", not \"{value}\", after {patience:?}");
        };
        shown.map(drop).context("the watch ended")
    }
}
