//! mqtt5 in this process: publishing is a call of its router, incoming messages come through its hook.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt5::broker::config::{StorageBackend, StorageConfig, TlsConfig};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{BrokerConfig, MqttBroker};
use mqtt5::packet::publish::PublishPacket;
use mqtt5::{QoS, topic_matches_filter};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::hook::{Hook, LONGEST_SESSION};
use super::passwords::Passwords;
use super::secret_file::read;
use super::sessions::Sessions;
use super::{BindError, Broker, Connection, Delivered, Inbox};
use crate::config::{Mqtt, ServerTls};

/// How often the broker and its hook forget sessions whose time is over.
const SWEEP: Duration = Duration::from_secs(60);

/// The broker inside the agent.
pub(crate) struct Embedded {
    broker: MqttBroker,
    address: SocketAddr,
    hook: Arc<Hook>,
    passwords: watch::Sender<Option<Passwords>>,
    qos: QoS,
    retain: bool,
}

/// Publishes into the embedded broker. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher {
    router: Arc<MessageRouter>,
    hook: Arc<Hook>,
    qos: QoS,
    retain: bool,
}

impl Embedded {
    /// Binds the address; nothing is served yet.
    pub(crate) async fn bind(config: &Mqtt) -> Result<Self, BindError> {
        let failed = |reason: String| {
            BindError(format!(
                "MQTT broker on {}: {reason}; choose another address in mqtt.listen, or mqtt.mode: off",
                config.listen
            ))
        };
        let passwords = config.password_file.as_deref().map(Passwords::read).transpose();
        let passwords = watch::Sender::new(passwords.map_err(BindError)?);
        if let Some(tls) = &config.tls {
            readable(tls).map_err(BindError)?;
        }
        let hook = Arc::new(Hook::default());
        let sessions = Arc::new(Sessions::new(config.limits.sessions));
        let access = Access::new(passwords.subscribe(), hook.clone(), sessions.clone());
        let broker = MqttBroker::with_config(settings(config, hook.clone()))
            .await
            .map_err(|error| failed(error.to_string()))?
            .with_auth_provider(Arc::new(access));
        if let Some(storage) = broker.storage() {
            sessions.watch(storage);
        }
        let address = broker.local_addr().or_else(|| broker.tls_local_addr());
        let address = address.ok_or_else(|| failed("the address is taken".into()))?;
        let (qos, retain) = (quality(config.qos), config.retain);
        Ok(Self { broker, address, hook, passwords, qos, retain })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its passwords are in force, for who connects from then on.
    pub(crate) fn passwords(&self) -> watch::Sender<Option<Passwords>> {
        self.passwords.clone()
    }

    /// For whoever publishes.
    pub(crate) fn publisher(&self) -> Publisher {
        let Self { hook, qos, retain, .. } = self;
        Publisher { router: self.broker.router(), hook: hook.clone(), qos: *qos, retain: *retain }
    }

    /// Serves clients until `stop`; each message that they publish goes to `inbox` first.
    pub(crate) async fn run(
        mut self,
        inbox: Arc<dyn Inbox>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        self.hook.serve(inbox);
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
    async fn connected(&self) -> Connection {
        Connection::default()
    }

    fn connection(&self) -> Option<u64> {
        Some(0)
    }

    async fn gone(&self) {
        std::future::pending().await
    }

    async fn publish(&self, topic: &str, payload: Bytes) {
        let mut packet = PublishPacket::new(topic, payload, self.qos);
        packet.retain = self.retain;
        // A slow subscriber's messages wait in its session, which drops the oldest; nobody else waits for it.
        self.router.route_message_with_deadline(&packet, None, Instant::now()).await;
    }

    fn delivered(&self) -> Delivered {
        Delivered::default()
    }

    async fn wanted(&self, topic: &str) -> bool {
        // The router knows a subscription before its client does, the hook hears of it a moment after. While the
        // two differ in number, somebody may wait for anything.
        let known = self.router.topic_count().await;
        let filters = self.hook.filters();
        self.retain
            || known > 0
                && (filters.incomplete
                    || known != filters.counts.len()
                    || filters.counts.keys().any(|filter| topic_matches_filter(topic, filter)))
    }

    async fn anybody(&self) -> bool {
        self.retain || self.router.topic_count().await > 0
    }
}

/// What mqtt5 is told of `config`.
fn settings(config: &Mqtt, hook: Arc<Hook>) -> BrokerConfig {
    let limits = &config.limits;
    let storage_config = StorageConfig {
        backend: StorageBackend::Memory,
        max_queued_messages_per_client: limits.session_messages,
        max_queued_bytes_per_client: limits.session_octets,
        // Until then the broker keeps an empty queue for each client name that ever connected.
        cleanup_interval: SWEEP,
        ..StorageConfig::default()
    };
    let tls_config = config.tls.as_ref().map(|tls| TlsConfig {
        cert_file: tls.cert.clone(),
        key_file: tls.key.clone(),
        ca_file: tls.client_ca.clone(),
        require_client_cert: tls.client_ca.is_some(),
        bind_addresses: vec![config.listen],
    });
    BrokerConfig {
        bind_addresses: if tls_config.is_some() { Vec::new() } else { vec![config.listen] },
        max_clients: limits.clients,
        max_packet_size: limits.packet,
        session_expiry_interval: LONGEST_SESSION,
        max_subscriptions_per_client: limits.subscriptions,
        max_retained_messages: limits.retained,
        // Of quality 2: begun and not yet released, each held twice.
        server_receive_maximum: Some(u16::try_from(limits.session_messages).unwrap_or(u16::MAX)),
        max_retained_message_size: limits.packet,
        client_channel_capacity: limits.session_messages,
        tls_config,
        storage_config,
        sys_topics_enabled: false,
        event_handler: Some(hook),
        ..BrokerConfig::default()
    }
}

/// Whether the files are there: mqtt5 does not say which one is not.
fn readable(tls: &ServerTls) -> Result<(), String> {
    let files =
        [("cert", Some(&tls.cert)), ("key", Some(&tls.key)), ("clientCa", tls.client_ca.as_ref())];
    for (key, file) in files {
        file.map(|file| read(&format!("mqtt.tls.{key}"), file)).transpose()?;
    }
    Ok(())
}

/// `mqtt.qos`; it was checked to be 0, 1 or 2.
fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
