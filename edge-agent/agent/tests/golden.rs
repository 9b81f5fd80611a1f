//! The golden vectors: requests, and the bytes that EdgeCore was seen to answer.
//!
//! Times are `T`, event ids that the agent makes are `U`; members that KubeEdge does not have are taken out, after a
//! comma and behind KubeEdge's, so that what is left must be its bytes. Where we answer otherwise on purpose, the vector
//! says "here:", and `docs/mqtt.md` says why.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use tonic::Code;
use world::lab::Lab;
use world::mapper::FakeMapper;

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
