//! Demand 12: a broker that was away and is reached over a narrow link is told what counts now, and not what was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmi::connect;
use e2e::crash::report;
use e2e::gate::{Gate, Outage};
use e2e::gateway::{Gateway, free_port, plain_devices};
use e2e::http;
use e2e::mosquitto::{Broker, Subscriber};
use e2e::wait::{PATIENCE, eventually};
use futures::future::try_join_all;
use serde_json::Value as Json;

const DEVICES: usize = 20;
const PROPERTIES: usize = 5;
/// 256 kbit/s, in octets.
const WIDTH: u32 = 32 * 1024;
/// How long the newest values may take over it.
const SOON: Duration = Duration::from_secs(5);
/// Reports of each device in an outage: hours of them, as far as anybody can tell afterwards.
const ROUNDS: i64 = 150;
/// What the agent's memory may grow by in a second outage as long as the first, in octets.
const GROWTH: u64 = 4_000_000;

struct Line {
    gateway: Gateway,
    gate: Gate,
    app: App,
    /// The number that every device reported last, and the agent acknowledged.
    newest: i64,
    _broker: Broker,
    _folder: tempfile::TempDir,
}

/// Behind the broker; what it heard of each property.
struct App {
    messages: Subscriber,
    heard: BTreeMap<(String, String), i64>,
}

impl App {
    /// Listens until every property has the value `newest`; none ever has an older one after a newer one.
    async fn until(&mut self, newest: i64) -> Result<()> {
        let Self { messages, heard } = self;
        let wrong = RefCell::new(None);
        let state = RefCell::new(heard);
        let all = |topic: &str, message: &Json| {
            let mut heard = state.borrow_mut();
            if let Err(error) = hear(topic, message, &mut heard) {
                wrong.borrow_mut().get_or_insert(error);
                return true;
            }
            heard.len() == DEVICES * PROPERTIES && heard.values().all(|value| *value == newest)
        };
        let told = messages.message(all).await;
        if let Some(error) = wrong.into_inner() {
            return Err(error);
        }
        told.map(drop)
    }
}

/// Notes the values of a document.
fn hear(topic: &str, message: &Json, heard: &mut BTreeMap<(String, String), i64>) -> Result<()> {
    let Some(device) = topic.strip_suffix("/twin/update/document") else { return Ok(()) };
    for (name, words) in message["twin"].as_object().context("a twin")? {
        let Some(value) = words["current"]["actual"]["value"].as_str() else { continue };
        let value: i64 = value.parse()?;
        let known = heard.entry((device.to_owned(), name.clone())).or_insert(value);
        ensure!(value >= *known, "{device} {name}: {value} after {known}");
        *known = value;
    }
    Ok(())
}

impl Line {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start(free_port()?, folder.path()).await?;
        let gate = Gate::open()?;
        gate.lead_to(broker.address()).await?;
        let messages = Subscriber::start(broker.address(), &["$hw/events/#"]).await?;
        let app = App { messages, heard: BTreeMap::new() };
        let mut gateway = Gateway::beside(gate.address())?;
        gateway.manifest("devices.yaml", &plain_devices(DEVICES, PROPERTIES))?;
        gateway.start(None).await?;
        gateway.loaded(DEVICES).await?;
        Ok(Self { gateway, gate, app, newest: 0, _broker: broker, _folder: folder })
    }

    /// Every device reports so many numbers, one after the other; each is acknowledged.
    async fn report(&mut self, rounds: i64) -> Result<()> {
        let agent = connect::manager(self.gateway.dmi(), PATIENCE);
        for _ in 0..rounds {
            self.newest += 1;
            let newest = self.newest;
            let one = |device| {
                let mut agent = agent.clone();
                async move { agent.report_device_status(report(device, PROPERTIES, newest)).await }
            };
            try_join_all((0..DEVICES).map(one)).await?;
        }
        Ok(())
    }

    async fn metric(&self, name: &str) -> Result<u64> {
        let (_, page) = http::get(&self.gateway.api(), "/metrics").await?;
        let page = String::from_utf8(page.to_vec())?;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// The link ends, and the agent knows.
    async fn goes_down(&self) -> Result<()> {
        self.gate.interrupt(Outage::Reset).await?;
        self.mqtt_is("degraded").await
    }

    async fn mqtt_is(&self, status: &str) -> Result<()> {
        eventually(PATIENCE, status, async || {
            let (_, body) = http::get(&self.gateway.api(), "/readyz").await?;
            let ready: Json = serde_json::from_slice(&body)?;
            let parts = ready["parts"].as_array().context("no parts")?;
            ensure!(
                parts.iter().any(|one| one["name"] == "mqtt" && one["status"] == status),
                "{ready}"
            );
            Ok(())
        })
        .await
    }

    /// The link is back, and narrow; returns when the agent is connected.
    async fn is_back(&self) -> Result<Instant> {
        let connections = self.gate.accepted();
        self.gate.mend().await?;
        eventually(PATIENCE, "a connection", async || {
            ensure!(self.gate.accepted() > connections, "none");
            Ok(())
        })
        .await?;
        Ok(Instant::now())
    }
}

#[tokio::test]
async fn row_12_after_an_outage_the_newest_values_come_first_over_a_narrow_link() -> Result<()> {
    let mut line = Line::start().await?;
    line.mqtt_is("ok").await?;
    line.report(1).await?;
    line.app.until(1).await?;

    line.gate.narrow(Some(WIDTH)).await?;
    line.goes_down().await?;
    line.report(ROUNDS).await?;
    let before = line.gateway.agent()?.usage()?.resident;
    line.report(ROUNDS).await?;
    let after = line.gateway.agent()?.usage()?.resident;
    ensure!(after <= before + GROWTH, "{before} octets grew to {after}");
    let coalesced = line.metric("edgetwin_bus_coalesced_total").await?;
    let back = line.is_back().await?;
    line.app.until(line.newest).await?;
    let took = back.elapsed();
    ensure!(took < SOON, "what was missed took {took:?}");
    let changes = 2 * u64::try_from(ROUNDS)? * (DEVICES * PROPERTIES) as u64;
    let counted = line.metric("edgetwin_bus_coalesced_total").await? - coalesced;
    ensure!(counted >= changes * 9 / 10 && counted <= changes, "{counted} of {changes} changes");

    // What is new is told beside what was missed, and never the older after the newer.
    line.goes_down().await?;
    line.report(ROUNDS).await?;
    line.is_back().await?;
    line.report(1).await?;
    let reported = Instant::now();
    line.app.until(line.newest).await?;
    let took = reported.elapsed();
    ensure!(took < SOON, "what is new took {took:?}");
    line.gateway.stop(PATIENCE).await?;
    Ok(())
}

#[tokio::test]
async fn row_12_an_agent_that_is_killed_while_it_tells_what_was_missed_loses_none_of_it()
-> Result<()> {
    let mut line = Line::start().await?;
    line.mqtt_is("ok").await?;
    line.report(1).await?;
    line.app.until(1).await?;

    line.gate.narrow(Some(WIDTH)).await?;
    line.goes_down().await?;
    line.report(ROUNDS).await?;
    line.is_back().await?;
    // In the middle: a part of them has come through.
    let newest = line.newest.to_string();
    let one =
        |_: &str, message: &Json| message["twin"]["p0"]["current"]["actual"]["value"] == *newest;
    line.app.messages.message(one).await?;
    // What is still on its way is lost with it.
    line.gateway.crash()?;
    line.gate.interrupt(Outage::Reset).await?;
    line.gateway.start(None).await?;
    line.gateway.loaded(DEVICES).await?;
    let back = line.is_back().await?;
    // Nobody reports anything: what was acknowledged before is told all the same, from the store, and long before it
    // would be told as stale.
    line.app.until(line.newest).await?;
    let took = back.elapsed();
    ensure!(took < SOON, "what was missed took {took:?}");
    line.gateway.stop(PATIENCE).await?;
    Ok(())
}
