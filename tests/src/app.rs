//! An application, or a mapper, that knows KubeEdge's topics alone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::gateway::Gateway;
use crate::wait::{PATIENCE, eventually};
use anyhow::{Context, Result, ensure};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

/// Of the one device of [`plain_devices`](crate::gateway::plain_devices).
pub const TOPIC: &str = "$hw/events/device/bench/d0";

/// What is connected to the agent's broker; it goes without a word.
pub struct App {
    client: AsyncClient,
    events: EventLoop,
    /// What came while something else was awaited.
    heard: VecDeque<(String, Json)>,
    requests: u64,
}

impl App {
    /// Connected and subscribed, as soon as the agent's broker is there.
    ///
    /// # Errors
    /// It is not there in time.
    pub async fn join(gateway: &Gateway) -> Result<Self> {
        let broker = gateway.mqtt().context("no broker")?;
        eventually(PATIENCE, "the agent's broker", async || {
            let mut options = MqttOptions::new("app", broker.ip().to_string(), broker.port());
            options.set_keep_alive(Duration::from_secs(60));
            let (client, mut events) = AsyncClient::new(options, 16);
            for topic in ["twin/update/result", "twin/update/delta", "twin/get/result"] {
                client.subscribe(format!("{TOPIC}/{topic}"), QoS::AtLeastOnce).await?;
            }
            let mut subscribed = 0;
            while subscribed < 3 {
                let event = events.poll().await?;
                subscribed += usize::from(matches!(event, Event::Incoming(Packet::SubAck(_))));
            }
            Ok(Self { client, events, heard: VecDeque::new(), requests: 0 })
        })
        .await
    }

    /// Publishes `twin` as an update; the answer to it, a refusal or not.
    ///
    /// # Errors
    /// None comes.
    pub async fn update(&mut self, twin: &Json) -> Result<Json> {
        self.ask("twin/update", &json!({ "twin": twin })).await
    }

    /// What is told as the delta now; empty where none is told.
    ///
    /// # Errors
    /// The agent refuses to say it, or says nothing.
    pub async fn delta(&mut self) -> Result<BTreeMap<String, String>> {
        let result = self.update(&json!({})).await?;
        ensure!(result["code"].is_null(), "{result}");
        // Each accepted update repeats the delta, behind its result and before the answer to the next request.
        self.heard.clear();
        self.ask("twin/get", &json!({})).await?;
        let told = self.heard.iter().rev().find(|(topic, _)| topic.ends_with("/delta"));
        let Some((_, message)) = told else { return Ok(BTreeMap::new()) };
        Ok(serde_json::from_value(message["delta"].clone())?)
    }

    /// The next message on `topic`.
    ///
    /// # Errors
    /// None comes.
    pub async fn hear(&mut self, topic: &str) -> Result<Json> {
        self.until(|at, _| at == topic).await.with_context(|| topic.to_owned())
    }

    /// Publishes a request and waits for its answer; what comes before that is kept.
    async fn ask(&mut self, topic: &str, request: &Json) -> Result<Json> {
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        let mut request = request.clone();
        request["event_id"] = json!(id);
        let to = format!("{TOPIC}/{topic}");
        self.client.publish(&*to, QoS::AtLeastOnce, false, request.to_string()).await?;
        let to = format!("{to}/result");
        let answer = self.until(|at, message| at == to && message["event_id"] == *id).await;
        answer.with_context(|| request.to_string())
    }

    async fn until(&mut self, wanted: impl Fn(&str, &Json) -> bool) -> Result<Json> {
        if let Some(at) = self.heard.iter().position(|(topic, message)| wanted(topic, message)) {
            return self.heard.remove(at).map(|(_, message)| message).context("it is there");
        }
        let waiting = async {
            loop {
                let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await? else {
                    continue;
                };
                let message: Json = serde_json::from_slice(&publish.payload)?;
                if wanted(&publish.topic, &message) {
                    return anyhow::Ok(message);
                }
                self.heard.push_back((publish.topic, message));
            }
        };
        timeout(PATIENCE, waiting).await.context("no such message")?
    }
}
