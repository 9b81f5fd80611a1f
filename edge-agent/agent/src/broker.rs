//! The embedded MQTT broker, behind one small trait: what the event bus needs of any broker.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
            cleanup_interval: Duration::from_secs(60),
            ..StorageConfig::default()
        };
        let settings = BrokerConfig {
            bind_addresses: vec![config.listen],
            max_clients: config.max_clients,
            max_packet_size: config.max_packet,
            session_expiry_interval: Duration::from_secs(24 * 3600),
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
        tokio::select! {
            ended = &mut running => {
                return ended.map_err(|error| error.to_string());
            }
            () = stop.cancelled() => handle.shutdown(),
        }
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
        let filters = self.hook.filters.lock().unwrap_or_else(PoisonError::into_inner);
        known > 0
            && (known != filters.counts.len()
                || filters.counts.keys().any(|filter| topic_matches_filter(topic, filter)))
    }

    async fn anybody(&self) -> bool {
        self.router.topic_count().await > 0
    }
}

/// What mqtt5 tells while it serves.
#[derive(Default)]
struct Hook {
    inbox: OnceLock<Arc<dyn Inbox>>,
    filters: Mutex<Filters>,
}

/// Who subscribed to what. A session that outlives its connection keeps its subscriptions.
#[derive(Default)]
struct Filters {
    clients: HashMap<Arc<str>, Session>,
    counts: HashMap<Arc<str>, usize>,
}

#[derive(Default)]
struct Session {
    lasting: bool,
    filters: BTreeSet<Arc<str>>,
}

impl Filters {
    fn connect(&mut self, client: &Arc<str>, lasting: bool, clean: bool) {
        if clean {
            self.forget(client);
        }
        self.clients.entry(client.clone()).or_default().lasting = lasting;
    }

    fn add(&mut self, client: &Arc<str>, filter: &str) {
        let filter: Arc<str> = mqtt5::strip_shared_subscription_prefix(filter).into();
        let session = self.clients.entry(client.clone()).or_default();
        if session.filters.insert(filter.clone()) {
            *self.counts.entry(filter).or_default() += 1;
        }
    }

    fn remove(&mut self, client: &Arc<str>, filter: &str) {
        let filter = mqtt5::strip_shared_subscription_prefix(filter);
        let held = self.clients.get_mut(client).and_then(|session| session.filters.take(filter));
        self.uncount(held);
    }

    fn disconnect(&mut self, client: &Arc<str>) {
        if self.clients.get(client).is_some_and(|session| !session.lasting) {
            self.forget(client);
        }
    }

    fn forget(&mut self, client: &Arc<str>) {
        if let Some(session) = self.clients.remove(client) {
            self.uncount(session.filters);
        }
    }

    fn uncount(&mut self, filters: impl IntoIterator<Item = Arc<str>>) {
        for filter in filters {
            if let Some(count) = self.counts.get_mut(&filter) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&filter);
                }
            }
        }
    }
}

impl Hook {
    fn note(&self, change: impl FnOnce(&mut Filters)) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        change(&mut self.filters.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(std::future::ready(()))
    }
}

impl BrokerEventHandler for Hook {
    fn on_client_connect<'a>(
        &'a self,
        event: ClientConnectEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let lasting = event.session_expiry_interval > 0;
        self.note(|filters| filters.connect(&event.client_id, lasting, event.clean_start))
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
        self.note(|filters| filters.disconnect(&event.client_id))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_session_keeps_its_filters_and_a_clean_one_does_not() {
        let mut filters = Filters::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        filters.connect(&a, false, true);
        filters.connect(&b, true, false);
        filters.add(&a, "$hw/#");
        filters.add(&b, "$share/g/$hw/#");
        filters.disconnect(&a);
        assert_eq!(filters.counts.len(), 1);
        filters.disconnect(&b);
        assert_eq!(filters.counts.len(), 1, "b comes back for its messages");
        filters.connect(&b, false, true);
        assert!(filters.counts.is_empty());
    }
}
