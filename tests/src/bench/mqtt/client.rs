//! A client of a broker: one connection, messages with QoS 1.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS};
use tokio::time::{Instant, interval};

/// Messages on the way at a time.
const ON_THE_WAY: u16 = 100;
/// Largest packet, in octets.
const PACKET: usize = 262_144;
/// A subscriber that hears nothing for so long has heard all.
const SILENCE: Duration = Duration::from_secs(1);

/// One that listens.
pub(super) struct Subscriber(EventLoop);

impl Subscriber {
    /// Connects as `name`, and waits until the broker has taken all of `filters`.
    pub(super) async fn connect(broker: SocketAddr, name: &str, filters: &[&str]) -> Result<Self> {
        let (client, mut events) = connection(broker, name);
        for filter in filters {
            client.subscribe(*filter, QoS::AtLeastOnce).await?;
        }
        let mut taken = 0;
        while taken < filters.len() {
            if let Event::Incoming(Packet::SubAck(_)) = events.poll().await? {
                taken += 1;
            }
        }
        Ok(Self(events))
    }

    /// The next message; none where none came for `patience`.
    async fn message(&mut self, patience: Duration) -> Result<Option<Publish>> {
        let end = Instant::now() + patience;
        while let Ok(event) = tokio::time::timeout_at(end, self.0.poll()).await {
            if let Event::Incoming(Packet::Publish(publish)) = event? {
                return Ok(Some(publish));
            }
        }
        Ok(None)
    }
}

/// What `read` makes of all messages that come, until none comes for a while, and when the last one came.
pub(super) async fn listen<T>(
    mut subscriber: Subscriber,
    read: impl Fn(&[u8]) -> Result<T>,
) -> Result<(Vec<T>, Instant)> {
    // Until the first one the publisher gets ready.
    let mut patience = SILENCE * 10;
    let (mut all, mut last) = (Vec::new(), Instant::now());
    while let Some(message) = subscriber.message(patience).await? {
        last = Instant::now();
        all.push(read(&message.payload)?);
        patience = SILENCE;
    }
    Ok((all, last))
}

/// When each message was sent, by its number. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Stamps(Arc<Mutex<Vec<Instant>>>);

impl Stamps {
    /// Gives what `message` gives, and keeps when.
    pub(super) fn stamp<M>(&self, message: impl Fn(u64) -> M) -> impl FnMut(u64) -> M {
        let stamps = self.clone();
        move |number| {
            let message = message(number);
            stamps.all().push(Instant::now());
            message
        }
    }

    /// How long ago the message of this number was sent.
    pub(super) fn since(&self, number: u64) -> Duration {
        let sent = usize::try_from(number).ok().and_then(|number| self.all().get(number).copied());
        sent.map_or(Duration::ZERO, |sent| sent.elapsed())
    }

    fn all(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How fast a publisher goes.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    /// So many messages a second.
    PerSecond(u64),
    /// As fast as the broker acknowledges.
    Flood,
}

/// Publishes what `next` gives for 0, 1, 2, …, for `time`; tells how many the broker acknowledged, and how long it took
/// to the last of it.
pub(super) async fn publish(
    broker: SocketAddr,
    pace: Pace,
    time: Duration,
    mut next: impl FnMut(u64) -> (String, Bytes),
) -> Result<(u64, Duration)> {
    let (client, mut events) = connection(broker, "publisher");
    let begin = Instant::now();
    let sending = async {
        let mut turn = match pace {
            Pace::PerSecond(rate) => Some(interval(Duration::from_secs(1) / u32::try_from(rate)?)),
            Pace::Flood => None,
        };
        let mut sent = 0;
        while begin.elapsed() < time {
            if let Some(turn) = &mut turn {
                turn.tick().await;
            }
            let (topic, payload) = next(sent);
            client.publish_bytes(topic, QoS::AtLeastOnce, false, payload).await?;
            sent += 1;
        }
        client.disconnect().await?;
        anyhow::Ok(sent)
    };
    let acknowledging = async {
        let mut taken = 0;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => taken += 1,
                Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return anyhow::Ok(taken),
                Ok(_) => {}
                Err(error) => bail!("the publisher lost its broker: {error}"),
            }
        }
    };
    let (sent, taken): (u64, u64) = tokio::try_join!(sending, acknowledging)?;
    // What was on the way when it said goodbye.
    ensure!(sent - taken <= u64::from(ON_THE_WAY), "{} of {sent} not acknowledged", sent - taken);
    Ok((taken, begin.elapsed()))
}

fn connection(broker: SocketAddr, name: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    options.set_max_packet_size(PACKET, PACKET);
    options.set_inflight(ON_THE_WAY);
    AsyncClient::new(options, usize::from(ON_THE_WAY))
}
