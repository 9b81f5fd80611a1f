//! What the log says of refused messages.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use hyper::Method;
use world::ask;
use world::bus::Bus;
use world::program::{Program, folder, signal};

/// Below the device: topic, payload, the reason in the counters, and what the log names: field and remedy.
const BAD: [(&str, &str, &str, [&str; 2]); 12] = [
    (
        "d0/twin/update",
        r#"{"twin":{"speed":{"expected":{"value":"3001"}}}}"#,
        "bad_value",
        ["speed: 3001", "0 to 3000"],
    ),
    (
        "d0/twin/update",
        r#"{"twin":{"colour":{"actual":{"value":"red"}}}}"#,
        "unknown_property",
        ["property colour", "see `edgetwin get`"],
    ),
    (
        "d0/twin/update",
        r#"{"twin":{"temperature":{"expected":{"value":"1"}}}}"#,
        "read_only",
        ["temperature", "only the device changes it"],
    ),
    (
        "d0/twin/update",
        r#"{"twin":{"note":{"actual":{"value":5}}}}"#,
        "unreadable",
        ["twin.note.actual.value", "write"],
    ),
    (
        "lost/twin/update",
        r#"{"twin":{}}"#,
        "unknown_device",
        ["device demo/lost", "see `edgetwin get`"],
    ),
    ("lost/twin/get", "{}", "unknown_device", ["device demo/lost", "see `edgetwin get`"]),
    ("d0/twin/get", "[]", "unreadable", ["the payload is not a JSON object", "send an object"]),
    ("UP/twin/get", "{}", "bad_name", ["no device can have this name", "write $hw/events/device/"]),
    ("d0/state/update", r#"{"state":"asleep"}"#, "bad_state", ["state", "write online, offline"]),
    ("d0/state/update", "{}", "unreadable", ["state is missing", "write online, offline"]),
    (
        "d0/twin/cloud_updated",
        "{}",
        "spoofed",
        ["twin/cloud_updated", "write expected values with twin/update"],
    ),
    ("d0/twin/update/result", "{}", "answer_topic", ["only the agent", "publish requests"]),
];

#[tokio::test]
async fn a_refused_message_is_logged_once_with_topic_field_and_remedy_and_counted_each_time() {
    let agent = Program::start(folder(), "").await;
    let mut app = Bus::join(agent.mqtt, "app").await;
    for (topic, payload, ..) in BAD {
        for _ in 0..3 {
            app.publish(&format!("$hw/events/device/demo/{topic}"), payload).await;
        }
    }
    app.publish("$hw/events/device/demo/d1/twin/get", "{}").await;
    app.next("demo/d1/twin/get/result").await;
    let api = agent.dir.path().join("api.sock");
    let (_, metrics) = ask(&api, &[], Method::GET, "/metrics", "").await;
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    signal(&agent.process, "TERM");
    let (_, said, _dir) = agent.end().await;
    for (topic, _, reason, words) in BAD {
        let topic = format!("topic=\"$hw/events/device/demo/{topic}\"");
        let reason_field = format!("reason=\"{reason}\"");
        let of_it = |line: &&str| line.contains(&topic) && line.contains(&reason_field);
        let lines: Vec<_> = said.lines().filter(of_it).collect();
        let [line] = lines[..] else { panic!("{topic} {reason}: {lines:?} of\n{said}") };
        assert!(line.contains(" WARN ") && line.contains("client=\"app\""), "{line}");
        for word in words {
            assert!(line.contains(word), "no {word:?} in {line}");
        }
        let times = 3 * BAD.iter().filter(|one| one.2 == reason).count();
        let counted = format!("edgetwin_bus_refused_total{{reason=\"{reason}\"}} {times}\n");
        assert!(metrics.contains(&counted), "{counted} {metrics}");
    }
    assert_eq!(said.matches("refused a message on the bus").count(), BAD.len(), "{said}");
}
