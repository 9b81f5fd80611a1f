//! Sessions that outlive their connections: what waits in them is held in memory, so there are only so many.

use std::sync::{Arc, OnceLock};

use mqtt5::broker::storage::{ClientSession, DynamicStorage, StorageBackend};
use mqtt5::packet::connect::ConnectPacket;

/// Counts the sessions that mqtt5 keeps.
#[derive(Default)]
pub(super) struct Sessions {
    most: usize,
    storage: OnceLock<Arc<DynamicStorage>>,
}

impl Sessions {
    /// At most `most` outlive their connections.
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Where they are kept; before, nobody is served.
    pub(super) fn watch(&self, storage: Arc<DynamicStorage>) {
        // A second call cannot happen: there is one broker.
        let _ = self.storage.set(storage);
    }

    /// Whether there is room for the session that a client asks for. Clients that come at the same moment may pass
    /// together.
    pub(super) async fn room(&self, connect: &ConnectPacket) -> bool {
        // Of an MQTT 3 client it is none that ends when the agent wants.
        if ClientSession::expiry_from_connect(connect) == Some(0) {
            return true;
        }
        self.lasts(&connect.client_id).await || self.count().await < self.most
    }

    async fn count(&self) -> usize {
        let Some(storage) = self.storage.get() else { return 0 };
        // They are in memory, which does not fail.
        let known = storage.session_client_ids().await.unwrap_or_default();
        if known.len() < self.most {
            return known.len();
        }
        let mut lasting = 0;
        for client in known {
            lasting += usize::from(self.lasts(&client).await);
        }
        lasting
    }

    /// Whether a client has a session that outlives its connection.
    async fn lasts(&self, client: &str) -> bool {
        let Some(storage) = self.storage.get() else { return false };
        let session = storage.get_session(client).await.ok().flatten();
        session.is_some_and(|session| session.expiry_interval != Some(0))
    }
}
