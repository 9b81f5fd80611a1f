//! An app on the event bus.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::within;

pub(crate) struct Bus {
    client: AsyncClient,
    messages: mpsc::Receiver<(String, Value)>,
    _tasks: JoinSet<()>,
}

impl Bus {
    /// Connected, and subscribed to everything below `$hw/events`.
    pub(crate) async fn join(address: SocketAddr, name: &str) -> Self {
        Self::listen(address, name, "$hw/events/#").await
    }

    /// Connected, and subscribed to this.
    pub(crate) async fn listen(address: SocketAddr, name: &str, filter: &str) -> Self {
        let mut options = MqttOptions::new(name, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(32 << 20, 32 << 20);
        let (client, mut events) = AsyncClient::new(options, 64);
        client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        let (tell, messages) = mpsc::channel(16 * 1024);
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        ready.take().map(|ready| ready.send(()));
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        let payload = serde_json::from_slice(&publish.payload);
                        let message = (publish.topic, payload.unwrap_or(Value::Null));
                        if tell.send(message).await.is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        within("the subscription", is_ready).await.unwrap();
        Self { client, messages, _tasks: tasks }
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        self.publish_at(QoS::AtLeastOnce, topic, payload).await;
    }

    pub(crate) async fn publish_at(&self, quality: QoS, topic: &str, payload: &str) {
        self.client.publish(topic, quality, false, payload).await.unwrap();
    }

    pub(crate) async fn publish_octets(&self, topic: &str, payload: Vec<u8>) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    pub(crate) async fn publish_retained(&self, topic: &str, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
    }

    /// The next message on a topic that ends so.
    pub(crate) async fn next(&mut self, end: &str) -> Value {
        let waiting = async {
            loop {
                let (topic, payload) = self.messages.recv().await.unwrap();
                if topic.ends_with(end) {
                    return payload;
                }
            }
        };
        within(end, waiting).await
    }

    /// The next message, ours among them.
    pub(crate) async fn next_any(&mut self) -> (String, Value) {
        within("a message", self.messages.recv()).await.unwrap()
    }

    /// The next message of the agent.
    pub(crate) async fn next_answer(&mut self) -> (String, Value) {
        loop {
            let (topic, message) = self.next_any().await;
            if !["twin/update", "twin/get", "state/update"].iter().any(|ours| topic.ends_with(ours))
            {
                return (topic, message);
            }
        }
    }
}
