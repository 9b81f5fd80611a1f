//! A broker outside of the agent: one connection, made again for ever, in a task of its own.
//!
//! Nobody waits for it but those who publish to it. The session there is a lasting one, and a request is acknowledged
//! when it is committed: what apps send with QoS 1 while the agent, or the connection, is away comes later.

mod credentials;
mod subscriber;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use rumqttc_next::mqttbytes::v4::{Publish, SubAck, SubscribeReasonCode};
use rumqttc_next::{
    AckMode, AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet,
    PublishOptions, QoS, SessionMode, StateError, mqttbytes,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::rustls;
use tokio_util::sync::CancellationToken;

pub(crate) use self::credentials::Credentials;
use self::subscriber::{FILTERS, Subscriber};
use super::{BindError, Broker, Connection, Delivered, Inbox};
use crate::api::view::{BrokerName, Part, PartStatus};
use crate::clock::now;
use crate::config::{BrokerAddress, Mqtt};
use crate::eventbus::Owed;
use crate::feed::Feed;
use crate::health::Health;
use crate::messages::Heard;
use crate::metrics::Metrics;
use crate::subscriptions::Subscriptions;

/// First wait before the next try, and the longest one; up to as much again is added by chance.
const PACE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// Messages that wait to be written, and as many that wait to be acknowledged.
const OUTGOING: u16 = 100;
/// Requests that wait for the twins.
const INCOMING: usize = 64;
/// Largest packet in either direction. Far above what the twins take, so that a message that is too large is answered
/// instead of ending the connection.
const PACKET: usize = 16 * 1024 * 1024;
/// What the agent calls its peer where clients have names.
const PEER: &str = "external broker";

/// The broker outside, as it is configured.
pub(crate) struct External {
    options: MqttOptions,
    credentials: watch::Receiver<Credentials>,
    url: String,
    silence: Duration,
    link: Link,
    feed: Arc<Feed>,
    health: Arc<Health>,
    subscriptions: Arc<Subscriptions>,
    quality: QoS,
}

/// What is read from files before anything is bound.
pub(crate) struct Prepared {
    options: MqttOptions,
    credentials: watch::Sender<Credentials>,
    url: String,
    keep_alive: Duration,
    quality: QoS,
    retain: bool,
}

/// Publishes to the broker outside. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link {
    present: Arc<watch::Sender<Option<Present>>>,
    delivered: Arc<Counts>,
    publish: PublishOptions,
    metrics: Arc<Metrics>,
}

/// The connection that there is.
#[derive(Clone)]
struct Present {
    connection: Connection,
    client: AsyncClient,
}

/// Of the present connection.
#[derive(Default)]
struct Counts {
    published: AtomicU64,
    taken: AtomicU64,
}

/// A message, and whether somebody who subscribed to it has it already.
struct Taken {
    publish: Publish,
    heard: bool,
}

/// Why a connection ended, or did not come about.
struct Lost {
    reason: String,
    /// Whether there was one.
    was_up: bool,
    /// Whether the session there holds a message that cannot be read.
    poisoned: bool,
    /// Whether the broker's certificate is not valid at this time.
    untimely: bool,
}

impl Prepared {
    /// Reads passwords and certificates.
    pub(crate) fn read(config: &Mqtt, node: &str) -> Result<Self, BindError> {
        let external = &config.external;
        let address = external.address().map_err(BindError)?;
        let id = external.client_id.clone().unwrap_or_else(|| format!("edgetwin-{node}"));
        let BrokerAddress { host, port, .. } = address;
        let mut options = MqttOptions::new(id, (host, port));
        let seconds = u16::try_from(external.keep_alive.as_secs()).unwrap_or(u16::MAX);
        options.set_keep_alive(seconds);
        options.set_max_packet_size(PACKET, PACKET);
        options.set_inflight(OUTGOING);
        options.set_ack_mode(AckMode::Manual);
        let credentials = Credentials::read(external).map_err(BindError)?;
        let credentials = watch::Sender::new(credentials);
        let (quality, retain) = (quality(config.qos), config.retain);
        let keep_alive = *external.keep_alive;
        Ok(Self { options, credentials, url: external.url.clone(), keep_alive, quality, retain })
    }

    /// Where its credentials are in force, from the next connection on.
    pub(crate) fn credentials(&self) -> watch::Sender<Credentials> {
        self.credentials.clone()
    }

    /// Ready to run; `feed` tells up to where is known what is told at the beginning of a connection.
    pub(crate) fn with(
        self,
        feed: Arc<Feed>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        subscriptions: Arc<Subscriptions>,
    ) -> External {
        let Self { options, credentials, url, keep_alive, quality, retain } = self;
        let credentials = credentials.subscribe();
        let publish = PublishOptions::new(quality).retain(retain);
        let present = Arc::new(watch::Sender::new(None));
        let link = Link { present, delivered: Arc::default(), publish, metrics };
        // The client itself gives up at the second ping without an answer; this is for one that cannot even write.
        let silence = keep_alive * 2 + Duration::from_secs(5);
        External { options, credentials, url, silence, link, feed, health, subscriptions, quality }
    }
}

impl External {
    /// For whoever publishes.
    pub(crate) fn link(&self) -> Link {
        self.link.clone()
    }

    /// Serves requests until `stop`; each goes to `inbox` and is acknowledged afterwards.
    pub(crate) async fn run(
        self,
        inbox: Arc<dyn Inbox>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let mut waits = waits();
        let mut number = 0;
        let mut poisoned = false;
        let (subscriptions, metrics) = (self.subscriptions.clone(), self.link.metrics.clone());
        let mut subscriber = Subscriber::new(subscriptions, metrics, self.quality, self.silence);
        loop {
            let lost = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                lost = self.turn(poisoned, &mut number, &*inbox, &mut subscriber) => lost,
            };
            subscriber.ended();
            self.link.present.send_replace(None);
            let remedy = if lost.untimely {
                format!(
                    "is the clock of this machine right? It says {}. If it is, give the broker a certificate that is \
                     valid now. It is tried again and gets the newest values then",
                    now()
                )
            } else {
                "is the broker at mqtt.external.url running, and does it let this client in? \
                 It is tried again and gets the newest values then"
                    .to_owned()
            };
            let reason = format!("no connection to {}: {}", self.url, lost.reason);
            self.health.set(Part::Mqtt, PartStatus::Degraded, &reason, remedy);
            if lost.was_up {
                waits = self::waits();
            }
            poisoned = lost.poisoned;
            let wait = waits.next().unwrap_or(PACE.1);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.link.present.send_replace(None);
        Ok(())
    }

    /// One try: why it ended. What cannot be read goes with its session first.
    async fn turn(
        &self,
        poisoned: bool,
        number: &mut u64,
        inbox: &dyn Inbox,
        subscriber: &mut Subscriber,
    ) -> Lost {
        if poisoned && let Err(lost) = self.end_session().await {
            return Lost { poisoned, ..lost };
        }
        match self.connect(SessionMode::Persistent).await {
            Ok((client, events)) => {
                self.connection(&client, events, number, inbox, subscriber).await
            }
            Err(lost) => lost,
        }
    }

    /// Has the broker forget the session. A connection of its own: the one that is used has a session that lasts.
    async fn end_session(&self) -> Result<(), Lost> {
        let (client, mut events) = self.connect(SessionMode::Clean).await?;
        if client.disconnect().await.is_ok() {
            while self.next(&mut events).await.is_ok() {}
        }
        Ok(())
    }

    /// A connection that the broker has accepted.
    async fn connect(&self, mode: SessionMode) -> Result<(AsyncClient, EventLoop), Lost> {
        let mut options = self.options.clone();
        options.set_session_mode(mode);
        self.credentials.borrow().apply(&mut options);
        let (client, mut events) =
            AsyncClient::builder(options).capacity(usize::from(OUTGOING)).build();
        match self.next(&mut events).await? {
            Event::Incoming(Packet::ConnAck(_)) => Ok((client, events)),
            other => Err(Lost::before(format!("it said {other:?} first"))),
        }
    }

    /// One connection from its beginning to its end.
    async fn connection(
        &self,
        client: &AsyncClient,
        mut events: EventLoop,
        number: &mut u64,
        inbox: &dyn Inbox,
        subscriber: &mut Subscriber,
    ) -> Lost {
        *number += 1;
        if *number > 1 {
            self.link.metrics.bus_reconnects.fetch_add(1, Ordering::Relaxed);
        }
        self.link.delivered.published.store(0, Ordering::Relaxed);
        self.link.delivered.taken.store(0, Ordering::Relaxed);
        let connection = Connection { number: *number, from: self.feed.newest() };
        let present = Present { connection, client: client.clone() };
        self.link.present.send_replace(Some(present));
        let (queue, requests) = mpsc::channel(INCOMING);
        let mut lost = tokio::select! {
            lost = self.read(&mut events, queue, inbox) => lost,
            never = work(client, requests, inbox) => match never {},
            reason = subscriber.run(client, |answer| self.subscribed(answer)) => Lost::before(reason),
        };
        lost.was_up = true;
        lost
    }

    /// Drives the connection; requests go to `queue`. What somebody subscribed to is heard at once, so that no payload of
    /// it waits there; it is acknowledged in its order.
    async fn read(
        &self,
        events: &mut EventLoop,
        queue: mpsc::Sender<Taken>,
        inbox: &dyn Inbox,
    ) -> Lost {
        loop {
            match self.next(events).await {
                Ok(Event::Incoming(Packet::Publish(mut publish))) => {
                    let heard = heard(&publish).is_some_and(|heard| inbox.hear(heard));
                    if heard {
                        publish.payload = Bytes::new();
                    }
                    if queue.send(Taken { publish, heard }).await.is_err() {
                        return Lost::before("nobody takes its requests".into());
                    }
                }
                Ok(
                    Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))
                    | Event::Outgoing(Outgoing::Publish(0)),
                ) => {
                    self.link.delivered.taken.fetch_add(1, Ordering::Relaxed);
                    self.link.note_waiting();
                }
                Ok(_) => {}
                Err(lost) => return lost,
            }
        }
    }

    async fn next(&self, events: &mut EventLoop) -> Result<Event, Lost> {
        match timeout(self.silence, events.poll()).await {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(error)) => Err(Lost::by(&error)),
            Err(_) => Err(Lost::before(format!("it said nothing for {:?}", self.silence))),
        }
    }

    fn subscribed(&self, answer: &SubAck) {
        let codes = FILTERS.iter().zip(&answer.return_codes);
        let refused = codes.filter(|(_, code)| **code == SubscribeReasonCode::Failure);
        let refused: Vec<_> = refused.map(|(filter, _)| *filter).collect();
        if refused.is_empty() {
            self.health.ok(Part::Mqtt);
            return;
        }
        let reason = format!("{} does not let us subscribe to {}", self.url, refused.join(", "));
        let remedy = "allow it in the broker's access rules; requests of apps are not heard";
        self.health.set(Part::Mqtt, PartStatus::Degraded, &reason, remedy);
    }
}

fn heard(publish: &Publish) -> Option<Heard<'_>> {
    let topic = std::str::from_utf8(&publish.topic).ok()?;
    let (payload, retained) = (&*publish.payload, publish.retain);
    Some(Heard { broker: BrokerName::External, topic, payload, retained })
}

impl Lost {
    fn before(reason: String) -> Self {
        Self { reason, was_up: false, poisoned: false, untimely: false }
    }

    fn by(error: &ConnectionError) -> Self {
        let poisoned = matches!(
            error,
            ConnectionError::MqttState(StateError::Deserialization(
                mqttbytes::Error::PayloadSizeLimitExceeded(_)
            ))
        );
        Self { reason: error.to_string(), was_up: false, poisoned, untimely: untimely(error) }
    }
}

/// Whether a certificate was refused for nothing but the time.
fn untimely(error: &ConnectionError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            use rustls::CertificateError::{
                Expired, ExpiredContext, NotValidYet, NotValidYetContext,
            };
            return matches!(
                why,
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }
            );
        }
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = within.map(|within| within as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

/// Hands requests over one after the other, and acknowledges each when it is done.
async fn work(
    client: &AsyncClient,
    mut requests: mpsc::Receiver<Taken>,
    inbox: &dyn Inbox,
) -> std::convert::Infallible {
    while let Some(Taken { publish: request, heard }) = requests.recv().await {
        if let Ok(topic) = std::str::from_utf8(&request.topic)
            && !heard
        {
            if request.retain {
                inbox.kept(PEER, topic);
            } else {
                inbox.receive(PEER, topic, &request.payload).await;
            }
        }
        if request.qos != QoS::AtMostOnce {
            // The connection is gone; the broker sends the request again.
            let _ = client.ack(&request).await;
        }
    }
    std::future::pending().await
}

impl Link {
    fn note_waiting(&self) {
        let Delivered { published, taken } = self.counts();
        let waiting = published.saturating_sub(taken);
        self.metrics.bus_waiting.store(waiting, Ordering::Relaxed);
        self.metrics.bus_owed.taken(taken);
    }

    fn counts(&self) -> Delivered {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { published, taken } = &*self.delivered;
        Delivered { published: of(published), taken: of(taken) }
    }
}

impl Broker for Link {
    async fn connected(&self) -> Connection {
        let mut present = self.present.subscribe();
        match present.wait_for(Option::is_some).await.map(|present| present.clone()) {
            Ok(Some(present)) => present.connection,
            // `self` holds the sender.
            _ => std::future::pending().await,
        }
    }

    fn connection(&self) -> Option<u64> {
        self.present.borrow().as_ref().map(|present| present.connection.number)
    }

    async fn gone(&self) {
        // `self` holds the sender, so it ends with the connection alone.
        let _ = self.present.subscribe().wait_for(Option::is_none).await;
    }

    async fn publish(&self, topic: &str, payload: Bytes) {
        let client = self.present.borrow().as_ref().map(|present| present.client.clone());
        self.delivered.published.fetch_add(1, Ordering::Relaxed);
        self.note_waiting();
        let sent = match client {
            Some(client) => client.publish(topic, payload, self.publish).await.is_ok(),
            None => false,
        };
        if !sent {
            self.metrics.bus_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn delivered(&self) -> Delivered {
        self.counts()
    }

    fn owed(&self) -> Option<&Owed> {
        Some(&self.metrics.bus_owed)
    }

    async fn wanted(&self, _: &str) -> bool {
        true
    }

    async fn anybody(&self) -> bool {
        true
    }
}

fn waits() -> ExponentialBackoff {
    let (min, max) = PACE;
    let builder = ExponentialBuilder::default().with_min_delay(min).with_max_delay(max);
    builder.with_jitter().without_max_times().build()
}

/// `mqtt.qos`; it was checked to be 0, 1 or 2.
fn quality(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
