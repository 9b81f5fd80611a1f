//! The cloud's end of all links: accepts nodes' connections and runs a session for each.

mod accept;
mod begin;
mod deliveries;
mod reports;
mod session;
mod socket;
mod upward;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::claims::Claims;
use crate::events::Notices;
use crate::metrics::Metrics;
use crate::nodes::Nodes;
use crate::objects::{Devices, Objects};
use crate::records::Records;
use crate::requests::Requests;
use crate::status::{Turns, Writer};
use crate::syncs::Syncs;

/// Connections that may be in their handshakes; further ones wait in the kernel.
const HANDSHAKES: usize = 256;

/// How the hub treats links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HubSettings {
    /// Nodes that may be connected at once.
    pub(crate) nodes: usize,
    /// The most octets of one message.
    pub(crate) most: usize,
    /// How long a node may be silent before its link is over.
    pub(crate) keepalive: Duration,
    /// How long a node may take to read one message.
    pub(crate) write_timeout: Duration,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self {
            nodes: 5000,
            most: edge_link::frame::FRAME_LIMIT,
            keepalive: Duration::from_secs(30),
            write_timeout: Duration::from_secs(15),
        }
    }
}

/// What every session needs.
pub(crate) struct Shared {
    pub(crate) client: kube::Client,
    pub(crate) objects: Arc<Objects>,
    pub(crate) devices: Devices,
    pub(crate) records: Arc<Records>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) requests: Requests,
    pub(crate) writer: Writer,
    pub(crate) syncs: Syncs,
    pub(crate) turns: Turns,
    pub(crate) notices: Notices,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: HubSettings,
    /// Becomes true when all that was there at the start is known.
    pub(crate) synced: tokio::sync::watch::Receiver<bool>,
}

/// Nodes that are connected: what ends each one's link.
#[derive(Debug, Default)]
struct Linked(Mutex<HashMap<Arc<str>, CancellationToken>>);

impl Linked {
    /// Notes a link that `end` ends; the former one of that node is ended. `None`: there are `most` already.
    fn enter(&self, node: &Arc<str>, end: &CancellationToken, most: usize) -> Option<usize> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if links.len() >= most && !links.contains_key(node) {
            return None;
        }
        if let Some(former) = links.insert(node.clone(), end.clone()) {
            former.cancel();
        }
        Some(links.len())
    }

    /// The link that `end` ends is over; how many there are.
    fn leave(&self, node: &Arc<str>, end: &CancellationToken) -> usize {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end.cancel();
        // The node may be here again.
        links.retain(|of, token| of != node || !token.is_cancelled());
        links.len()
    }

    fn is_full(&self, node: &str, most: usize) -> bool {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.len() >= most && !links.contains_key(node)
    }
}

/// Accepts connections at `listener` until `stop`, and waits for the links to end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let linked = Arc::new(Linked::default());
    let handshakes = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
    let mut links = JoinSet::new();
    loop {
        let permit = handshakes.clone().acquire_owned();
        let accepted = async {
            let permit = permit.await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = links.join_next() => {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    warn!(%error, "a link ended by a fault of this program; the node comes again");
                }
            }
            (permit, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let connection = accept::Connection { stream, peer, acceptor: acceptor.clone() };
                    links.spawn(connection.run(shared.clone(), linked.clone(), permit.ok(), stop.clone()));
                }
                Err(error) => {
                    // No more files, for example: others may end meanwhile.
                    debug!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    while links.join_next().await.is_some() {}
}
