//! The laboratory of the golden vectors: their device, and an app that hears every byte.

use std::time::Duration;

use dmi::proto::{DeviceStatus, ReportDeviceStatusRequest, Twin, TwinProperty};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{World, within};

const MODEL: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: m, namespace: factory}
spec:
  properties:
    - {name: temp, type: INT, accessMode: ReadWrite}
    - {name: num, type: INT, accessMode: ReadWrite}
    - {name: ratio, type: FLOAT, accessMode: ReadWrite}
    - {name: msg, type: STRING, accessMode: ReadWrite}
    - {name: blank, type: STRING, accessMode: ReadWrite}
    - {name: bare, type: STRING, accessMode: ReadWrite}
    - {name: cs, type: STRING, accessMode: ReadWrite}
";

fn manifests(namespace: &str) -> String {
    format!(
        "{}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: d1, namespace: {namespace}}}
spec:
  deviceModelRef: {{name: m}}
  protocol: {{protocolName: test, configData: {{port: 1}}}}
  properties:
    - {{name: temp}}
    - {{name: num}}
    - {{name: ratio}}
    - {{name: msg}}
    - {{name: blank}}
    - {{name: bare}}
    - {{name: cs}}
",
        MODEL.replace("namespace: factory", &format!("namespace: {namespace}"))
    )
}

/// The laboratory: node `labnode`, device `factory/d1`, and an app that hears every byte.
pub(crate) struct Lab {
    pub(crate) world: World,
    client: AsyncClient,
    heard: mpsc::Receiver<(String, String)>,
    _tasks: JoinSet<()>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let world = World::start(&[], |config| {
            config.node.name = "labnode".into();
            std::fs::create_dir_all(&config.manifests.dir).unwrap();
            for namespace in ["factory", "dev", "events"] {
                let file = config.manifests.dir.join(format!("{namespace}.yaml"));
                std::fs::write(file, manifests(namespace)).unwrap();
            }
        })
        .await;
        let address = world.mqtt();
        let mut options = MqttOptions::new("app", address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = AsyncClient::new(options, 64);
        client.subscribe("$hw/events/#", QoS::AtLeastOnce).await.unwrap();
        let (tell, heard) = mpsc::channel(4096);
        let (ready, is_ready) = oneshot::channel();
        let mut ready = Some(ready);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        ready.take().map(|ready| ready.send(()));
                    }
                    Event::Incoming(Packet::Publish(message)) => {
                        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
                        if tell.send((message.topic, payload)).await.is_err() {
                            return;
                        }
                    }
                    _ => {}
                }
            }
        });
        within("the subscription", is_ready).await.unwrap();
        Self { world, client, heard, _tasks: tasks }
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        let topic = format!("$hw/events/{topic}");
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    /// The next message of the agent: what stands behind `$hw/events/`, and its bytes as said above.
    pub(crate) async fn next(&mut self) -> (String, String) {
        loop {
            let (topic, payload) = within("an answer", self.heard.recv()).await.unwrap();
            let topic = topic.strip_prefix("$hw/events/").unwrap().to_owned();
            let leaf = topic.rsplit('/').next().unwrap();
            if matches!(leaf, "result" | "document" | "delta" | "updated") {
                return (topic, plain(&payload));
            }
        }
    }

    /// Publishes an update of the device and compares all answers to it, in their order.
    pub(crate) async fn update(&mut self, vector: u8, payload: &str, answers: &[(&str, &str)]) {
        self.publish("device/factory/d1/twin/update", payload).await;
        self.answers(vector, answers).await;
    }

    /// Nothing else came before the answer to a question that is asked now.
    pub(crate) async fn answers(&mut self, vector: u8, answers: &[(&str, &str)]) {
        for (leaf, bytes) in answers {
            let (topic, payload) = self.next().await;
            assert_eq!(topic, format!("device/factory/d1/{leaf}"), "vector {vector}: {payload}");
            // The reason of a refusal is free text.
            let payload = payload.split(",\"reason\":").next().unwrap();
            assert_eq!(payload, *bytes, "vector {vector}, {leaf}");
        }
        self.silence(vector).await;
    }

    pub(crate) async fn silence(&mut self, vector: u8) {
        self.publish("node/labnode/membership/get", r#"{"event_id":"end"}"#).await;
        let (topic, payload) = self.next().await;
        assert_eq!(topic, "node/labnode/membership/get/result", "vector {vector}: {payload}");
    }

    pub(crate) async fn report(
        &self,
        device: &str,
        twins: &[(&str, &str, &str)],
    ) -> Result<(), tonic::Status> {
        let mut mapper = dmi::connect::manager(&self.world.addresses.dmi, Duration::from_secs(10));
        let side =
            |value: &str| Some(TwinProperty { value: value.into(), ..TwinProperty::default() });
        let twins = twins.iter().map(|(property, reported, desired)| Twin {
            property_name: (*property).into(),
            observed_desired: side(desired),
            reported: side(reported),
        });
        let request = ReportDeviceStatusRequest {
            device_name: device.into(),
            device_namespace: "factory".into(),
            reported_device: Some(DeviceStatus {
                twins: twins.collect(),
                ..DeviceStatus::default()
            }),
            ..ReportDeviceStatusRequest::default()
        };
        mapper.report_device_status(request).await.map(drop)
    }
}

/// Members that are ours; each stands behind one of KubeEdge's.
const OURS: [&str; 11] = [
    "rev",
    "uid",
    "quality",
    "qualityCode",
    "sourceTimestamp",
    "receivedTimestamp",
    "version",
    "ackCode",
    "ackVersion",
    "ackDetail",
    "ackTimestamp",
];

fn plain(payload: &str) -> String {
    let mut text = payload.to_owned();
    for member in OURS {
        let start = format!(",\"{member}\":");
        while let Some(at) = text.find(&start) {
            let value = &text[at + start.len()..];
            let length = match value.strip_prefix('"') {
                Some(rest) => rest.find('"').unwrap() + 2,
                None => value.find([',', '}']).unwrap(),
            };
            text.replace_range(at..at + start.len() + length, "");
        }
    }
    let text = replace(&text, "\"timestamp\":", 13, "T");
    let text = replace(&text, "\"lastOnlineTime\":\"", 20, "Z");
    let made = text.strip_prefix("{\"event_id\":\"").and_then(|rest| rest.split('"').next());
    match made.filter(|id| id.len() == 36).map(str::to_owned) {
        Some(id) => text.replace(&id, "U"),
        None => text,
    }
}

fn replace(text: &str, before: &str, length: usize, by: &str) -> String {
    let mut parts = text.split(before);
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        whole.push_str(before);
        whole.push_str(by);
        whole.push_str(&part[length..]);
    }
    whole
}
