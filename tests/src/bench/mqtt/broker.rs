//! Messages of applications among themselves: what the broker part costs by itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{Pace, Stamps, Subscriber, listen, publish};
use super::{Broker, FanOut, SUBSCRIBERS, Spread};
use crate::bench::{megabytes, per};
use crate::gateway::free_port;
use crate::mosquitto;
use crate::process::Process;

/// Octets of a message: about those of a document.
const OCTETS: usize = 400;

/// The same loads on a Mosquitto of its own.
pub(super) async fn mosquitto(seconds: u64, rate: u64) -> Result<Broker> {
    let folder = tempfile::tempdir()?;
    let broker = mosquitto::Broker::start(free_port()?, folder.path()).await?;
    measure("mosquitto", broker.address(), broker.process(), seconds, rate).await
}

/// Both loads on the broker at `address`, which `process` is.
pub(super) async fn measure(
    name: &'static str,
    address: SocketAddr,
    process: &Process,
    seconds: u64,
    rate: u64,
) -> Result<Broker> {
    let time = Duration::from_secs(seconds);
    let busy = process.busy()?;
    let subscriber = Subscriber::connect(address, "subscriber", &["bench/#"]).await?;
    let mut listening = JoinSet::new();
    listening.spawn(listen(subscriber, |_| Ok(())));
    let begin = Instant::now();
    let (sent, _) = publish(address, Pace::Flood, time, numbered).await?;
    let (came, last) = listening.join_next().await.context("a subscriber")???;
    let took = last - begin;
    let flood = process.busy()? - busy;
    let fan_out = fan_out((address, process), (time, rate), "bench/+", numbered, number).await?;
    Ok(Broker {
        name,
        messages_per_second: per(u64::try_from(came.len())?, took.as_secs_f64()),
        cpu_ms_per_10000: flood.as_secs_f64() * 1e7 / per(sent, 1.0),
        fan_out,
        resident_mb: megabytes(process.usage()?.resident),
    })
}

/// The message of that number.
fn numbered(number: u64) -> (String, Bytes) {
    (format!("bench/{}", number % 200), format!("{number:0>OCTETS$}").into())
}

/// The number of such a message.
fn number(payload: &[u8]) -> Result<u64> {
    Ok(std::str::from_utf8(payload)?.parse()?)
}

/// Publishes what `message` gives to subscribers of `filter`, `rate` a second; `number` reads from what they get which
/// message it comes from.
pub(super) async fn fan_out(
    (address, process): (SocketAddr, &Process),
    (time, rate): (Duration, u64),
    filter: &str,
    message: impl Fn(u64) -> (String, Bytes),
    number: fn(&[u8]) -> Result<u64>,
) -> Result<FanOut> {
    let sent_at = Stamps::default();
    let mut listening = JoinSet::new();
    for name in 0..SUBSCRIBERS {
        let name = format!("subscriber-{name}");
        let subscriber = Subscriber::connect(address, &name, &[filter]).await?;
        let sent_at = sent_at.clone();
        listening.spawn(listen(subscriber, move |payload| Ok(sent_at.since(number(payload)?))));
    }
    let busy = process.busy()?;
    let publishing = publish(address, Pace::PerSecond(rate), time, sent_at.stamp(message));
    let (sent, _) = publishing.await?;
    let mut times = Vec::new();
    while let Some(heard) = listening.join_next().await {
        times.extend(heard??.0);
    }
    let used = process.busy()? - busy;
    let deliveries = u64::try_from(times.len())?;
    let wanted = sent * u64::try_from(SUBSCRIBERS)?;
    Ok(FanOut {
        subscribers: SUBSCRIBERS,
        paced_per_second: rate,
        delivery_ms: Spread::of_millis(&times),
        missing: wanted.saturating_sub(deliveries),
        cpu_ms_per_10000: used.as_secs_f64() * 1e7 / per(deliveries, 1.0),
    })
}
