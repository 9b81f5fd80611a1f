//! The golden vectors: requests, and the bytes that EdgeCore was seen to answer.
//!
//! Times are `T`, event ids that the agent makes are `U`; members that KubeEdge does not have are taken out, after a
//! comma and behind KubeEdge's, so that what is left must be its bytes. Where we answer otherwise on purpose, the vector
//! says "here:", and `docs/mqtt.md` says why.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::time::Duration;

use dmi::proto::{DeviceStatus, ReportDeviceStatusRequest, Twin, TwinProperty};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::Code;
use world::mapper::FakeMapper;
use world::{World, within};

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
struct Lab {
    world: World,
    client: AsyncClient,
    heard: mpsc::Receiver<(String, String)>,
    _tasks: JoinSet<()>,
}

impl Lab {
    async fn new() -> Self {
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

    async fn publish(&self, topic: &str, payload: &str) {
        let topic = format!("$hw/events/{topic}");
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    /// The next message of the agent: what stands behind `$hw/events/`, and its bytes as said above.
    async fn next(&mut self) -> (String, String) {
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
    async fn update(&mut self, vector: u8, payload: &str, answers: &[(&str, &str)]) {
        self.publish("device/factory/d1/twin/update", payload).await;
        self.answers(vector, answers).await;
    }

    /// Nothing else came before the answer to a question that is asked now.
    async fn answers(&mut self, vector: u8, answers: &[(&str, &str)]) {
        for (leaf, bytes) in answers {
            let (topic, payload) = self.next().await;
            assert_eq!(topic, format!("device/factory/d1/{leaf}"), "vector {vector}: {payload}");
            // The reason of a refusal is free text.
            let payload = payload.split(",\"reason\":").next().unwrap();
            assert_eq!(payload, *bytes, "vector {vector}, {leaf}");
        }
        self.silence(vector).await;
    }

    async fn silence(&mut self, vector: u8) {
        self.publish("node/labnode/membership/get", r#"{"event_id":"end"}"#).await;
        let (topic, payload) = self.next().await;
        assert_eq!(topic, "node/labnode/membership/get/result", "vector {vector}: {payload}");
    }

    async fn report(
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

/// A message of the device's own, with `twin` or whatever `rest` holds.
fn said(id: &str, rest: &str) -> String {
    format!("{{\"event_id\":\"{id}\",\"timestamp\":T,{rest}}}")
}

fn value(text: &str) -> String {
    format!("{{\"value\":\"{text}\",\"metadata\":{{\"timestamp\":T}}}}")
}

/// A twin with these sides, each `name value`.
fn twin(sides: &[(&str, &str)], data_type: &str) -> String {
    let sides: String =
        sides.iter().map(|(side, text)| format!("\"{side}\":{},", value(text))).collect();
    format!("{{{sides}\"optional\":true,\"metadata\":{{\"type\":\"{data_type}\"}}}}")
}

const RESULT: &str = "twin/update/result";
const DOCUMENT: &str = "twin/update/document";
const DELTA: &str = "twin/update/delta";

#[tokio::test]
async fn vectors_1_to_18_29_to_34_updates_by_an_app() {
    let mut lab = Lab::new().await;
    let actual = |text| twin(&[("actual", text)], "int");
    let one = |id: &str, twin: &str| said(id, &format!("\"twin\":{{\"temp\":{twin}}}"));
    let both = |id: &str, last: &str, current: &str| {
        one(id, &format!("{{\"last\":{last},\"current\":{current}}}"))
    };
    let delta = |twin: &str, text: &str| {
        said("U", &format!("\"twin\":{{\"temp\":{twin}}},\"delta\":{{\"temp\":\"{text}\"}}"))
    };
    let empty = |id: &str| said(id, "\"twin\":{}");
    let refused = |id: &str, code: u16| {
        said(id, &format!("\"code\":{code}")).trim_end_matches('}').to_owned()
    };

    lab.update(1, r#"{"event_id":"e1","timestamp":1,"twin":{"temp":{"actual":{"value":"21","metadata":{"timestamp":5}},"metadata":{"type":"int"}}}}"#, &[
        (RESULT, r#"{"event_id":"e1","timestamp":T,"twin":{"temp":{"actual":{"value":"21","metadata":{"timestamp":T}},"optional":true,"metadata":{"type":"int"}}}}"#),
        (DOCUMENT, r#"{"event_id":"e1","timestamp":T,"twin":{"temp":{"last":null,"current":{"actual":{"value":"21","metadata":{"timestamp":T}},"optional":true,"metadata":{"type":"int"}}}}}"#),
    ]).await;
    // The same bytes; here: no new version.
    let rev = lab.world.request(hyper::Method::GET, "/v1/devices/factory/d1", "").await.1;
    lab.update(
        2,
        r#"{"event_id":"e2","twin":{"temp":{"actual":{"value":"21"}}}}"#,
        &[
            (RESULT, &one("e2", &actual("21"))),
            (DOCUMENT, &both("e2", &actual("21"), &actual("21"))),
        ],
    )
    .await;
    let same = lab.world.request(hyper::Method::GET, "/v1/devices/factory/d1", "").await.1;
    let rev_of =
        |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap()["rev"].clone();
    assert_eq!(rev_of(&rev), rev_of(&same));
    let wanted = twin(&[("expected", "25"), ("actual", "21")], "int");
    lab.update(
        3,
        r#"{"event_id":"e3","twin":{"temp":{"expected":{"value":"25"}}}}"#,
        &[
            (RESULT, &one("e3", &twin(&[("expected", "25")], "int"))),
            (DOCUMENT, &both("e3", &actual("21"), &wanted)),
            (DELTA, &delta(&wanted, "25")),
        ],
    )
    .await;
    lab.update(
        34,
        r#"{"event_id":"e34","twin":{}}"#,
        &[(RESULT, &empty("e34")), (DELTA, &delta(&wanted, "25"))],
    )
    .await;
    let reached = twin(&[("expected", "25"), ("actual", "25")], "int");
    lab.update(
        4,
        r#"{"event_id":"e4","twin":{"temp":{"actual":{"value":"25"}}}}"#,
        &[(RESULT, &one("e4", &actual("25"))), (DOCUMENT, &both("e4", &wanted, &reached))],
    )
    .await;
    let hot = r#"{"event_id":"e5","twin":{"temp":{"actual":{"value":"hot"}}}}"#;
    lab.update(5, hot, &[(RESULT, &refused("e5", 400))]).await;
    // Here: any text is a string.
    let hello = twin(&[("actual", "hello world")], "string");
    lab.update(
        6,
        r#"{"event_id":"e6","twin":{"msg":{"actual":{"value":"hello world"}}}}"#,
        &[
            (RESULT, &said("e6", &format!("\"twin\":{{\"msg\":{hello}}}"))),
            (
                DOCUMENT,
                &said("e6", &format!("\"twin\":{{\"msg\":{{\"last\":null,\"current\":{hello}}}}}")),
            ),
        ],
    )
    .await;
    // Here: what the model does not define is not there, whatever its type.
    for data_type in ["Updated", "double"] {
        let payload = format!(
            r#"{{"event_id":"e7","twin":{{"new":{{"actual":{{"value":"1"}},"metadata":{{"type":"{data_type}"}}}}}}}}"#
        );
        lab.update(7, &payload, &[(RESULT, &refused("e7", 404))]).await;
    }
    lab.update(8, r#"{"event_id":"e8","twin":{"temp":{}}}"#, &[(RESULT, &empty("e8"))]).await;
    // Here: what the device reports stays.
    let remove = |id: &str| format!(r#"{{"event_id":"{id}","twin":{{"temp":null}}}}"#);
    lab.update(
        9,
        &remove("e9"),
        &[(RESULT, &one("e9", "null")), (DOCUMENT, &both("e9", &reached, &actual("25")))],
    )
    .await;
    // Here: nothing happens, and there is no document of it.
    lab.update(10, &remove("e10"), &[(RESULT, &empty("e10"))]).await;
    lab.update(11, r#"{"event_id":"e11","twin":{"nosuch":null}}"#, &[(RESULT, &empty("e11"))])
        .await;
    // Here: the type is the model's.
    lab.update(12, r#"{"event_id":"e12","twin":{"temp":{"actual":{"value":"1.5"},"metadata":{"type":"float"}}}}"#, &[
        (RESULT, &refused("e12", 400)),
    ]).await;
    // Here: on the device's topic, with the event id.
    lab.update(13, r#"{"event_id":"e13"}"#, &[(RESULT, &refused("e13", 400))]).await;
    lab.update(13, r#"{"event_id":"e13""#, &[(RESULT, &refused("", 400))]).await;
    lab.publish("device/factory/lost/twin/update", r#"{"event_id":"e14","twin":{}}"#).await;
    let (topic, payload) = lab.next().await;
    assert_eq!(topic, "device/factory/lost/twin/update/result");
    assert!(
        payload.starts_with(r#"{"event_id":"e14","timestamp":T,"code":404,"reason":""#),
        "{payload}"
    );
    // Here: `optional` is always true, and neither it nor a type is written by apps.
    for (vector, part) in [
        (15, r#""optional":true"#),
        (16, r#""optional":false"#),
        (17, r#""metadata":{"type":"string"}"#),
    ] {
        let payload = format!(r#"{{"event_id":"e","twin":{{"temp":{{{part}}}}}}}"#);
        lab.update(vector, &payload, &[(RESULT, &empty("e"))]).await;
    }
    // Here: an empty text is a value.
    let blank = twin(&[("expected", ""), ("actual", "")], "string");
    lab.update(
        18,
        r#"{"event_id":"e18","twin":{"blank":{"expected":{"value":""},"actual":{"value":""}}}}"#,
        &[
            (RESULT, &said("e18", &format!("\"twin\":{{\"blank\":{blank}}}"))),
            (
                DOCUMENT,
                &said(
                    "e18",
                    &format!("\"twin\":{{\"blank\":{{\"last\":null,\"current\":{blank}}}}}"),
                ),
            ),
        ],
    )
    .await;
    // Here: a property is there before anybody says something of it.
    for payload in [
        r#"{"event_id":"e29","twin":{"bare":{"optional":true}}}"#,
        r#"{"event_id":"e29","twin":{"bare":null}}"#,
        r#"{"event_id":"e29","twin":{"bare":null}}"#,
    ] {
        lab.update(29, payload, &[(RESULT, &empty("e29"))]).await;
    }
    // Here: on the device's topic, with the event id.
    for payload in [
        r#"{"event_id":"e30","twin":{"num":{"actual":{"value":21}}}}"#,
        r#"{"event_id":"e30","timestamp":"1","twin":{}}"#,
    ] {
        lab.update(30, payload, &[(RESULT, &refused("e30", 400))]).await;
    }
    let nan = twin(&[("actual", "NaN")], "float");
    lab.update(
        31,
        r#"{"event_id":"e31","twin":{"ratio":{"actual":{"value":"NaN"}}}}"#,
        &[
            (RESULT, &said("e31", &format!("\"twin\":{{\"ratio\":{nan}}}"))),
            (
                DOCUMENT,
                &said(
                    "e31",
                    &format!("\"twin\":{{\"ratio\":{{\"last\":null,\"current\":{nan}}}}}"),
                ),
            ),
        ],
    )
    .await;
    // Here: "deleted" is no type, and the value is one like any other.
    let num = twin(&[("actual", "1")], "int");
    lab.update(32, r#"{"event_id":"e32","twin":{"num":{"actual":{"value":"1"},"metadata":{"type":"deleted"}}}}"#, &[
        (RESULT, &said("e32", &format!("\"twin\":{{\"num\":{num}}}"))),
        (DOCUMENT, &said("e32", &format!("\"twin\":{{\"num\":{{\"last\":null,\"current\":{num}}}}}"))),
    ]).await;
    let cs = twin(&[("actual", "1")], "string");
    lab.update(
        33,
        r#"{"EVENT_ID":"i","Twin":{"cs":{"Actual":{"VALUE":"1"}}}}"#,
        &[
            (RESULT, &said("i", &format!("\"twin\":{{\"cs\":{cs}}}"))),
            (
                DOCUMENT,
                &said("i", &format!("\"twin\":{{\"cs\":{{\"last\":null,\"current\":{cs}}}}}")),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn vectors_19_to_24_names_states_and_membership() {
    let mut lab = Lab::new().await;
    // Here: a namespace is a namespace.
    for namespace in ["dev", "events"] {
        lab.publish(&format!("device/{namespace}/d1/twin/get"), r#"{"event_id":"e19"}"#).await;
        let answer = (format!("device/{namespace}/d1/twin/get/result"), said("e19", "\"twin\":{}"));
        assert_eq!(lab.next().await, answer);
    }
    // Here: refused, and counted.
    let cloud = r#"{"event_id":"c","twin":{"temp":{"expected":{"value":"7"},"metadata":{"type":"int"},"expected_version":{"cloud":7,"edge":0}}}}"#;
    lab.publish("device/factory/d1/twin/cloud_updated", cloud).await;
    lab.silence(20).await;
    let state = "device/factory/d1/state/update";
    lab.publish(state, r#"{"event_id":"e21","state":"Online"}"#).await;
    lab.answers(21, &[("state/update/result", r#"{"event_id":"U","timestamp":T,"device":{"name":"d1","state":"Online","lastOnlineTime":"Z"}}"#)]).await;
    lab.publish(state, r#"{"State":"offline"}"#).await;
    lab.answers(
        22,
        &[(
            "state/update/result",
            r#"{"event_id":"U","timestamp":T,"device":{"name":"d1","state":"offline"}}"#,
        )],
    )
    .await;
    lab.publish(state, r#"{"state":"DISCONNECTED"}"#).await;
    lab.publish("device/factory/lost/state/update", r#"{"state":"online"}"#).await;
    lab.silence(23).await;
    let text =
        String::from_utf8(lab.world.request(hyper::Method::GET, "/metrics", "").await.1.to_vec())
            .unwrap();
    for reason in ["spoofed", "bad_state", "unknown_device"] {
        let line = format!("edgetwin_bus_refused_total{{reason=\"{reason}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
    lab.publish("node/other/membership/get", r#"{"event_id":"e24"}"#).await;
    let (topic, payload) = lab.next().await;
    assert_eq!(topic, "node/labnode/membership/get/result");
    let start = r#"{"event_id":"e24","timestamp":T,"devices":[{"id":"dev/d1","name":"d1","state":"unknown"},{"id":"events/d1","name":"d1","state":"unknown"},{"id":"factory/d1","name":"d1","state":"offline","#;
    assert!(payload.starts_with(start), "here: ordered; {payload}");
}

#[tokio::test]
async fn vectors_25_to_28_reports_by_a_mapper() {
    let mut lab = Lab::new().await;
    let _mapper = FakeMapper::old(&lab.world.addresses.dmi, "mapper").await;
    lab.update(
        25,
        r#"{"event_id":"w","twin":{"temp":{"expected":{"value":"22"}}}}"#,
        &[
            (
                RESULT,
                &said(
                    "w",
                    &format!("\"twin\":{{\"temp\":{}}}", twin(&[("expected", "22")], "int")),
                ),
            ),
            (
                DOCUMENT,
                &said(
                    "w",
                    &format!(
                        "\"twin\":{{\"temp\":{{\"last\":null,\"current\":{}}}}}",
                        twin(&[("expected", "22")], "int")
                    ),
                ),
            ),
            (
                DELTA,
                &said(
                    "U",
                    &format!(
                        "\"twin\":{{\"temp\":{}}},\"delta\":{{\"temp\":\"22\"}}",
                        twin(&[("expected", "22")], "int")
                    ),
                ),
            ),
        ],
    )
    .await;
    // Here: what the mapper saw as desired is an echo and no write, and the type is the model's.
    lab.report("d1", &[("temp", "20", "22")]).await.unwrap();
    let both = twin(&[("expected", "22"), ("actual", "20")], "int");
    let heard = [lab.next().await, lab.next().await, lab.next().await];
    let topics = heard.each_ref().map(|(topic, _)| topic.rsplit('/').next().unwrap());
    assert_eq!(topics, ["result", "document", "delta"]);
    assert!(
        heard[0].1.starts_with(r#"{"event_id":"","timestamp":T,"twin":{"temp":{"#),
        "{heard:?}"
    );
    assert!(heard[1].1.ends_with(&format!("\"current\":{both}}}}}}}")), "{heard:?}");
    assert!(heard[2].1.ends_with("\"delta\":{\"temp\":\"22\"}}"), "{heard:?}");
    lab.silence(25).await;
    // Here: any text is a string.
    lab.report("d1", &[("msg", "a b", "")]).await.unwrap();
    assert!(lab.next().await.1.contains(r#""msg":{"actual":{"value":"a b""#));
    // Here: the mapper is told.
    let status = lab.report("lost", &[("temp", "1", "")]).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
    // Here: no such limit.
    for number in 0..200 {
        lab.report("d1", &[("temp", &number.to_string(), "22")]).await.unwrap();
    }
}
