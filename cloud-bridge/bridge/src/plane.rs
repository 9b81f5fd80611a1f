//! Devices, nodes and statuses: what is watched, who is let in, what is written.

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::claims::Claims;
use crate::events::Notices;
use crate::hub::{self, HubSettings, Shared};
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::objects::{Devices, Models, Objects};
use crate::records::Records;
use crate::requests::Requests;
use crate::status::{DeskSettings, Turns, Writer};
use crate::syncs::Syncs;

/// What the data part of a bridge is made of.
pub(crate) struct Plane {
    pub(crate) client: kube::Client,
    /// Where claims to nodes are kept.
    pub(crate) namespace: String,
    /// This replica's own name.
    pub(crate) replica: String,
    pub(crate) hub: HubSettings,
    pub(crate) desk: DeskSettings,
}

/// What others see of it.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) objects: Arc<Objects>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether everything that was there at the start is known.
    pub(crate) synced: watch::Receiver<bool>,
}

impl Plane {
    /// Starts everything in `parts`: nodes that come to `listener` with a certificate that `tls` takes are served until
    /// `stop`.
    pub(crate) fn start(
        self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        parts: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> View {
        let Self { client, namespace, replica, hub, desk } = self;
        let objects = Arc::new(Objects::default());
        let records = Arc::new(Records::new());
        let nodes = Arc::new(Nodes::default());
        let metrics = Arc::new(Metrics::default());
        let (turns, turning) = Turns::new(desk, stop.clone());
        let (notices, publishing) = Notices::new(client.clone(), &replica, stop.clone());
        let claims = Arc::new(Claims::new(client.clone(), &namespace, &replica));
        let devices = || Devices { objects: objects.clone(), records: records.clone() };
        let (devices_synced, devices_known) = watch::channel(false);
        let (models_synced, models_known) = watch::channel(false);
        let (all_synced, synced) = watch::channel(false);
        let mut spawn = |part: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            parts.spawn(part);
        };
        spawn(Box::pin(turning));
        spawn(Box::pin(publishing));
        spawn({
            let (records, client, stop) = (records.clone(), client.clone(), stop.clone());
            Box::pin(async move { records.run(client, stop).await })
        });
        spawn({
            let (nodes, client, stop) = (nodes.clone(), client.clone(), stop.clone());
            Box::pin(async move { nodes.run(client, stop).await })
        });
        spawn(Box::pin(devices().run(client.clone(), devices_synced, stop.clone())));
        spawn(Box::pin(Models(objects.clone()).run(client.clone(), models_synced, stop.clone())));
        spawn({
            let (claims, stop) = (claims.clone(), stop.clone());
            Box::pin(async move { claims.run(stop).await })
        });
        spawn({
            let stop = stop.clone();
            let mut known = [devices_known, models_known];
            Box::pin(async move {
                let all = async {
                    for one in &mut known {
                        // A watch that ended is one that was stopped.
                        let _ = one.wait_for(|synced| *synced).await;
                    }
                };
                if stop.run_until_cancelled(all).await.is_some() {
                    all_synced.send_replace(true);
                }
                stop.cancelled().await;
            })
        });
        let shared = Arc::new(Shared {
            objects: objects.clone(),
            devices: devices(),
            records,
            nodes,
            claims,
            requests: Requests::new(client.clone()),
            writer: Writer::new(client.clone()),
            syncs: Syncs::new(client.clone()),
            turns,
            notices,
            metrics: metrics.clone(),
            settings: hub,
            synced: synced.clone(),
            client,
        });
        parts.spawn(hub::serve(listener, tls, shared, stop.clone()));
        View { objects, metrics, synced }
    }
}
