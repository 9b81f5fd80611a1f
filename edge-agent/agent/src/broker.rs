//! The embedded MQTT broker, behind one small trait: what the event bus needs of any broker.

mod filters;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{
    BrokerConfig, BrokerEventHandler, ClientConnectEvent, ClientDisconnectEvent,
    ClientPublishEvent, ClientSubscribeEvent, ClientUnsubscribeEvent, MqttBroker, PublishAction,
};
use mqtt5::packet::publish::PublishPacket;
use mqtt5::{QoS, topic_matches_filter};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Mqtt;
use filters::Filters;

/// How often the broker and its hook forget sessions whose time is over.
const SWEEP: Duration = Duration::from_secs(60);

/// What the event bus needs of a broker.
pub(crate) trait Broker: Send + Sync + 'static {
    /// Hands a message to whoever subscribed, without waiting for slow ones.
    fn publish(&self, topic: &str, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// Whether somebody subscribed to `topic`. May say yes a little too long, never no too early.
    fn wanted(&self, topic: &str) -> impl Future<Output = bool> + Send;

    /// Whether anybody subscribed to anything.
    fn anybody(&self) -> impl Future<Output = bool> + Send;
}

/// Gets each message that a client publishes, in the client's order, before the broker acknowledges it.
pub(crate) trait Inbox: Send + Sync + 'static {
    /// Takes one message. Its publisher waits until the future is done.
    fn receive<'a>(
        &'a self,
        client: &'a str,
        topic: &'a str,
        payload: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The broker could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "MQTT broker on {address}: {reason}; choose another address in mqtt.listen, or mqtt.mode: off"
)]
pub(crate) struct BindError {
    address: SocketAddr,
    reason: String,
}

/// mqtt5 in this process: publishing is a call of its router, incoming messages come through its hook.
pub(crate) struct Embedded {
    broker: MqttBroker,
    address: SocketAddr,
    hook: Arc<Hook>,
}

/// Publishes into the embedded broker. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher {
    router: Arc<MessageRouter>,
    hook: Arc<Hook>,
}

impl Embedded {
    /// Binds the address; nothing is served yet.
    pub(crate) async fn bind(config: &Mqtt) -> Result<Self, BindError> {
        let failed = |reason: String| BindError { address: config.listen, reason };
        let hook = Arc::new(Hook::default());
        let storage = StorageConfig {
            backend: StorageBackend::Memory,
            max_queued_messages_per_client: 1000,
            max_queued_bytes_per_client: 4 * 1024 * 1024,
            // Until then the broker keeps an empty queue for each client name that ever connected.
            cleanup_interval: SWEEP,
            ..StorageConfig::default()
        };
        let settings = BrokerConfig {
            bind_addresses: vec![config.listen],
            max_clients: config.max_clients,
            max_packet_size: config.max_packet,
            session_expiry_interval: LONGEST_SESSION,
            max_subscriptions_per_client: 1000,
            max_retained_messages: 10_000,
            max_retained_message_size: config.max_packet,
            client_channel_capacity: 1000,
            storage_config: storage,
            sys_topics_enabled: false,
            event_handler: Some(hook.clone()),
            ..BrokerConfig::default()
        };
        let broker = MqttBroker::with_config(settings).await.map_err(|e| failed(e.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| failed("no listener".into()))?;
        Ok(Self { broker, address, hook })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For whoever publishes.
    pub(crate) fn publisher(&self) -> Publisher {
        Publisher { router: self.broker.router(), hook: self.hook.clone() }
    }

    /// Serves clients until `stop`; each message that they publish goes to `inbox` first.
    pub(crate) async fn run(
        mut self,
        inbox: Arc<dyn Inbox>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        // A second call cannot happen: `run` takes the broker.
        let _ = self.hook.inbox.set(inbox);
        let handle = self.broker.shutdown_handle();
        let running = self.broker.run();
        tokio::pin!(running);
        let mut sweeps = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                ended = &mut running => {
                    return ended.map_err(|error| error.to_string());
                }
                _ = sweeps.tick() => self.hook.filters().sweep(Instant::now()),
                () = stop.cancelled() => break,
            }
        }
        handle.shutdown();
        // Clients that do not say goodbye are left: their connections close with this process.
        match tokio::time::timeout(Duration::from_millis(500), running).await {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Ok(()),
        }
    }
}

impl Broker for Publisher {
    async fn publish(&self, topic: &str, payload: Bytes) {
        let packet = PublishPacket::new(topic, payload, QoS::AtLeastOnce);
        // A slow subscriber's messages wait in its session, which drops the oldest; nobody else waits for it.
        self.router.route_message_with_deadline(&packet, None, Instant::now()).await;
    }

    async fn wanted(&self, topic: &str) -> bool {
        // The router knows a subscription before its client does, the hook hears of it a moment after. While the
        // two differ in number, somebody may wait for anything.
        let known = self.router.topic_count().await;
        let filters = self.hook.filters();
        known > 0
            && (filters.incomplete
                || known != filters.counts.len()
                || filters.counts.keys().any(|filter| topic_matches_filter(topic, filter)))
    }

    async fn anybody(&self) -> bool {
        self.router.topic_count().await > 0
    }
}

/// How long a session may outlive its connection.
const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);

/// What mqtt5 tells while it serves.
#[derive(Default)]
struct Hook {
    inbox: OnceLock<Arc<dyn Inbox>>,
    filters: Mutex<Filters>,
}

impl Hook {
    fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Filters)) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        change(&mut self.filters());
        Box::pin(std::future::ready(()))
    }
}

impl BrokerEventHandler for Hook {
    fn on_client_connect<'a>(
        &'a self,
        event: ClientConnectEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        // A DISCONNECT may ask for another time, which is not told: so too much is known of some, and of none too little.
        let lasts = event.session_expiry_interval > 0;
        let life = if lasts { LONGEST_SESSION } else { Duration::ZERO };
        self.note(|filters| filters.connect(&event.client_id, life, event.clean_start))
    }

    fn on_client_subscribe<'a>(
        &'a self,
        event: ClientSubscribeEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.note(|filters| {
            for subscription in &event.subscriptions {
                filters.add(&event.client_id, &subscription.topic_filter);
            }
        })
    }

    fn on_client_unsubscribe<'a>(
        &'a self,
        event: ClientUnsubscribeEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.note(|filters| {
            for filter in &event.topic_filters {
                filters.remove(&event.client_id, filter);
            }
        })
    }

    fn on_client_disconnect<'a>(
        &'a self,
        event: ClientDisconnectEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.note(|filters| filters.disconnect(&event.client_id, Instant::now()))
    }

    fn on_client_publish<'a>(
        &'a self,
        event: ClientPublishEvent,
    ) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        Box::pin(async move {
            if let Some(inbox) = self.inbox.get() {
                inbox.receive(&event.client_id, &event.topic, &event.payload).await;
            }
            PublishAction::Continue
        })
    }
}
