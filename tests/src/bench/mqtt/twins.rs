//! Updates of twins that an application sends, and what the agent publishes of them.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::Value as Json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::broker::{fan_out, measure};
use super::client::{Pace, Stamps, Subscriber, listen, publish};
use super::{Broker, Spread, Twins};
use crate::bench::{megabytes, per};
use crate::gateway::{Gateway, plain_devices};

/// Devices, of one property each.
const DEVICES: usize = 200;

const DOCUMENTS: &str = "$hw/events/device/+/+/twin/update/document";
const DELTAS: &str = "$hw/events/device/+/+/twin/update/delta";

/// All loads on one agent; the second of the two figures is that of its broker alone.
pub(super) async fn run(seconds: u64, rate: u64) -> Result<(Twins, Broker)> {
    let time = Duration::from_secs(seconds);
    let mut gateway = Gateway::new(true)?;
    gateway.manifest("devices.yaml", &plain_devices(DEVICES, 1))?;
    gateway.start(None).await?;
    gateway.loaded(DEVICES).await?;
    let address = gateway.mqtt().context("no broker")?;
    // What is never reported is desired of each, so that each update has a delta, too.
    let wishes = publish(address, Pace::Flood, Duration::from_secs(1), |number| {
        (topic(number), message("expected", "-1"))
    });
    wishes.await?;
    let agent = gateway.agent()?;

    let sent_at = Stamps::default();
    let mut documents = JoinSet::new();
    let mut deltas = JoinSet::new();
    for (all, name, filter) in
        [(&mut documents, "documents", DOCUMENTS), (&mut deltas, "deltas", DELTAS)]
    {
        let subscriber = Subscriber::connect(address, name, &[filter]).await?;
        let sent_at = sent_at.clone();
        let read = if filter == DELTAS { reported_in_delta } else { reported };
        all.spawn(listen(subscriber, move |payload| Ok(sent_at.since(read(payload)?))));
    }
    publish(address, Pace::PerSecond(rate), time, sent_at.stamp(update)).await?;
    let document_ms = Spread::of_millis(&documents.join_next().await.context("documents")???.0);
    let delta_ms = Spread::of_millis(&deltas.join_next().await.context("deltas")???.0);

    let busy = agent.busy()?;
    let both = Subscriber::connect(address, "both", &[DOCUMENTS, DELTAS]).await?;
    let mut listening = JoinSet::new();
    listening.spawn(listen(both, |_| Ok(())));
    let begin = Instant::now();
    let (updates, took) = publish(address, Pace::Flood, time, update).await?;
    let flood = agent.busy()? - busy;
    let (came, last) = listening.join_next().await.context("both")???;
    let came = u64::try_from(came.len())?;

    let fan_out = fan_out((address, agent), (time, rate / 10), DOCUMENTS, update, reported).await?;
    let usage = agent.usage()?;
    let twins = Twins {
        devices: DEVICES,
        paced_per_second: rate,
        document_ms,
        delta_ms,
        updates_per_second: per(updates, took.as_secs_f64()),
        messages_per_second: per(came, (last - begin).as_secs_f64()),
        skipped: (2 * updates).saturating_sub(came),
        cpu_ms_per_10000: flood.as_secs_f64() * 1e7 / per(updates, 1.0),
        fan_out,
        resident_mb: megabytes(usage.resident),
        peak_mb: megabytes(usage.peak),
    };
    let broker = measure("embedded", address, agent, seconds, rate / 10).await?;
    Ok((twins, broker))
}

/// Update `number`: the devices take turns, and the number is what they report.
fn update(number: u64) -> (String, Bytes) {
    (topic(number), message("actual", &number.to_string()))
}

fn topic(number: u64) -> String {
    format!("$hw/events/device/bench/d{}/twin/update", number % DEVICES as u64)
}

fn message(side: &str, value: &str) -> Bytes {
    format!(r#"{{"event_id":"","twin":{{"p0":{{"{side}":{{"value":"{value}"}}}}}}}}"#).into()
}

/// The number that a document says is reported now.
fn reported(document: &[u8]) -> Result<u64> {
    let document: Json = serde_json::from_slice(document)?;
    number(&document["twin"]["p0"]["current"]["actual"]["value"])
}

/// The number that is reported beside a delta.
fn reported_in_delta(delta: &[u8]) -> Result<u64> {
    let delta: Json = serde_json::from_slice(delta)?;
    number(&delta["twin"]["p0"]["actual"]["value"])
}

fn number(value: &Json) -> Result<u64> {
    let text = value.as_str().with_context(|| format!("no number is reported: {value}"))?;
    Ok(text.parse()?)
}
