//! What the local API answers to those who ask wrongly, and what it counts.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use hyper::Method;
use serde_json::{Value as Json, json};
use world::mapper::FakeMapper;
use world::{World, eventually};

/// Asks; the answer is an error with all four parts, and its field is the one at fault.
async fn refused(
    world: &World,
    (method, path, body): (Method, &str, &str),
    code: u16,
    field: &str,
) -> Json {
    let asked = format!("{method} {path} {}", &body[..body.len().min(80)]);
    let (status, answer) = world.request(method, path, body).await;
    let answer: Json =
        serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{asked}: {status} {answer:?}"));
    assert_eq!((status, &answer["code"]), (code, &json!(code)), "{asked}: {answer}");
    assert_eq!(answer["field"], field, "{asked}: {answer}");
    for part in ["message", "remedy"] {
        assert!(!answer[part].as_str().unwrap().is_empty(), "{asked}: {answer}");
    }
    answer
}

#[tokio::test]
async fn wrong_wishes_are_answered_with_field_and_remedy() {
    let world = World::with(&[("pump", "")]).await;
    let large = format!(r#"{{"properties":{{"note":{{"value":"{}"}}}}}}"#, "x".repeat(1 << 20));
    let long = format!(r#"{{"properties":{{"note":{{"value":"{}"}}}}}}"#, "x".repeat(70 << 10));
    for (body, code, field) in [
        ("", 400, "body"),
        ("{", 400, "body"),
        ("speed=1", 400, "body"),
        ("[]", 400, "body"),
        (r#"{"properties":{"speed":{"value":"1"}}} and"#, 400, "body"),
        (&large, 413, "body"),
        (&long, 413, "properties.note.value"),
        (r#"{"propertees":{}}"#, 400, "propertees"),
        (r#"{"properties":{}}"#, 400, "properties"),
        (r#"{"properties":["speed"]}"#, 400, "properties"),
        (r#"{"properties":{"speed":1450}}"#, 400, "properties.speed"),
        (r#"{"properties":{"speed":{"valeu":"1"}}}"#, 400, "properties.speed.valeu"),
        (r#"{"properties":{"speed":{"value":[1]}}}"#, 400, "properties.speed.value"),
        (r#"{"properties":{"speed":{"value":"fast"}}}"#, 400, "properties.speed.value"),
        (r#"{"properties":{"speed":{"value":"99999"}}}"#, 400, "properties.speed.value"),
        (r#"{"properties":{"temperature":{"value":"1"}}}"#, 403, "properties.temperature.value"),
        (r#"{"properties":{"colour":{"value":"1"}}}"#, 404, "properties.colour"),
        (r#"{"properties":{"speed":{"value":"1"}},"ifVersion":"7"}"#, 400, "ifVersion"),
        (r#"{"properties":{"speed":{"value":"1"}},"ifVersion":7}"#, 409, "ifVersion"),
    ] {
        let asked = (Method::PATCH, "/v1/devices/demo/pump/desired", body);
        refused(&world, asked, code, field).await;
    }
    let pump = world.device("pump").await.unwrap();
    assert_eq!((pump.rev, &pump.property("speed").unwrap().desired), (1, &None));

    let colour = r#"{"properties":{"colour":{"value":"1"}}}"#;
    let asked = (Method::PATCH, "/v1/devices/demo/pump/desired", colour);
    let answer = refused(&world, asked, 404, "properties.colour").await;
    assert_eq!(answer["remedy"], "write one of those that can be written: speed, note");
    let both = r#"{"properties":{"colour":{"value":"1"},"speed":{"value":"99999"}}}"#;
    let asked = (Method::PATCH, "/v1/devices/demo/pump/desired", both);
    let answer = refused(&world, asked, 404, "properties.colour").await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("colour") && message.contains("99999"), "{message}");
    let bare = (Method::PATCH, "/v1/devices/demo/pump/desired", r#"{"properties":{"speed":1450}}"#);
    let answer = refused(&world, bare, 400, "properties.speed").await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("expected an object with `value`"), "{message}");
    let version = r#"{"properties":{"speed":{"value":"1"}},"ifVersion":7}"#;
    let asked = (Method::PATCH, "/v1/devices/demo/pump/desired", version);
    let answer = refused(&world, asked, 409, "ifVersion").await;
    assert_eq!(answer["message"], "speed is at version 0, not 7");
}

#[tokio::test]
async fn wrong_paths_methods_and_parameters_are_answered_with_field_and_remedy() {
    let world = World::with(&[("pump", "")]).await;
    let wish = r#"{"properties":{"speed":{"value":"1"}}}"#;
    let pump = "/v1/devices/demo/pump";
    for (method, path, code, field) in [
        (Method::GET, "/v2".to_owned(), 404, "path"),
        (Method::GET, "/v1/devices/demo".into(), 404, "path"),
        (Method::GET, "/v1/devices/demo/lost".into(), 404, "path"),
        (Method::GET, "/v1/devices/demo/PUMP".into(), 400, "path"),
        (Method::GET, "/v1/devices/demo/%ff".into(), 400, "path"),
        (Method::DELETE, "/v1/devices".into(), 405, "method"),
        (Method::PUT, format!("{pump}/desired"), 405, "method"),
        (Method::GET, format!("{pump}/desired"), 405, "method"),
        (Method::POST, "/v1/events".into(), 405, "method"),
        (Method::PATCH, "/v1/devices/demo/lost/desired".into(), 404, "path"),
        (Method::PATCH, format!("{pump}/desired?wait=5"), 400, "wait"),
        (Method::PATCH, format!("{pump}/desired?wiat=5s"), 400, "wiat"),
        (Method::GET, "/v1/devices?namespace=demo".into(), 400, "namespace"),
        (Method::GET, format!("{pump}?verbose"), 400, "verbose"),
        (Method::GET, "/v1/events?since=yesterday".into(), 400, "since"),
        (Method::GET, "/v1/events?snapshot=yes".into(), 400, "snapshot"),
        (Method::GET, "/v1/events?from=1".into(), 400, "from"),
    ] {
        refused(&world, (method, &path, wish), code, field).await;
    }
    for id in ["yesterday", ""] {
        let last = [("last-event-id", id)];
        let asking = world.request_with(&last, Method::GET, "/v1/events?since=1", "");
        let (status, answer) = world::within("a refusal", asking).await;
        let answer: Json = serde_json::from_slice(&answer).unwrap();
        assert_eq!((status, &answer["field"]), (400, &json!("Last-Event-ID")), "{answer}");
        assert!(answer["remedy"].as_str().unwrap().contains("whole number"), "{answer}");
    }
    let (status, answer) = world.set("pump", "?wait=50ms", wish).await;
    assert_eq!((status, &answer["timedOut"]), (200, &true.into()));
}

#[tokio::test]
async fn metrics_tell_what_was_refused_and_dropped_by_reason() {
    let world = World::with(&[("pump", "")]).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    mapper.report("pump", &[("speed", "5", &[("timestamp", "2000")])]).await.unwrap();
    mapper.report("pump", &[("speed", "6", &[("timestamp", "1000")])]).await.unwrap();
    let ack = [("ackCode", "209"), ("ackVersion", "9"), ("ackOnly", "true")];
    mapper.report("pump", &[("speed", "", &ack)]).await.unwrap();
    let conflict = r#"{"properties":{"speed":{"value":"1"}},"ifVersion":7}"#;
    assert_eq!(world.set("pump", "", conflict).await.0, 409);
    let range = r#"{"properties":{"speed":{"value":"99999"}}}"#;
    assert_eq!(world.set("pump", "", range).await.0, 400);

    let (status, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(status, 200);
    for line in [
        r#"edgetwin_twin_dropped_total{reason="stale_reading"} 1"#,
        r#"edgetwin_twin_dropped_total{reason="stale_ack"} 1"#,
        r#"edgetwin_twin_dropped_total{reason="stale_echo"} 0"#,
        "edgetwin_twin_conflicts_total 1",
        "edgetwin_twin_refused_total 2",
        "edgetwin_twin_repeats_total 0",
        "edgetwin_dmi_calls_total 4",
        "edgetwin_devices 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    // Each family is explained, once, right before its values.
    let mut families = std::collections::BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, words) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        assert!(words.len() > 10 && families.insert(name), "{help}");
        let kind = match name {
            "edgetwin_desired_settle_seconds" | "edgetwin_store_commit_seconds" => "histogram",
            name if name.ends_with("_total") => "counter",
            _ => "gauge",
        };
        assert_eq!(lines.next(), Some(format!("# TYPE {name} {kind}").as_str()));
        let mut values = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let of = sample.split('{').next().unwrap();
            let part = of.strip_prefix(name).unwrap_or_else(|| panic!("{line} under {name}"));
            match kind {
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&part), "{line}"),
                _ => assert_eq!(part, "", "{line}"),
            }
            value.parse::<f64>().unwrap();
            values += 1;
        }
        assert!(values > 0, "{help}");
    }
    assert!(families.len() > 15, "{families:?}");
}

/// The part of that name, once it is of that status.
async fn part(world: &World, name: &str, status: &str) -> Json {
    eventually(name, async || {
        let (_, body) = world.request(Method::GET, "/readyz", "").await;
        let ready: Json = serde_json::from_slice(&body).unwrap();
        let parts = ready["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part["name"] == name).unwrap();
        (part["status"] == status).then(|| part.clone())
    })
    .await
}

#[tokio::test]
async fn each_part_says_how_it_is_since_when_and_what_to_do() {
    let world = World::with(&[("pump", "")]).await;
    let mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    for name in ["store", "dmi", "mqtt", "manifests", "mappers", "api"] {
        let well = part(&world, name, "ok").await;
        assert_eq!((&well["reason"], &well["remedy"]), (&json!(""), &json!("")), "{well}");
    }
    let (status, body) = world.request(Method::GET, "/readyz", "").await;
    let ready: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &ready["status"]), (200, &json!("ready")), "{ready}");

    world.write("broken.yaml", "kind: Device\n  metadata");
    let manifests = part(&world, "manifests", "degraded").await;
    assert!(manifests["reason"].as_str().unwrap().starts_with("broken.yaml: "), "{manifests}");
    assert!(!manifests["remedy"].as_str().unwrap().is_empty());
    world.remove("broken.yaml");
    part(&world, "manifests", "ok").await;

    // A mapper of another protocol is no help.
    let motor = world::device("motor", "").replace("protocolName: test", "protocolName: other");
    world.write("motor.yaml", &motor);
    let mappers = part(&world, "mappers", "degraded").await;
    let reason = "device demo/motor has no mapper: none for other is registered";
    assert_eq!(mappers["reason"], reason);
    let (status, body) = world.request(Method::GET, "/readyz", "").await;
    let ready: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &ready["status"]), (200, &json!("degraded")), "{ready}");
    drop(mapper);
}

#[tokio::test]
async fn the_document_of_the_api_is_served() {
    let world = World::with(&[]).await;
    let (status, body) = world.request(Method::GET, "/v1/openapi.json", "").await;
    assert_eq!((status, &body[..]), (200, &include_bytes!("../openapi.json")[..]));
    let document: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/devices/{namespace}/{name}/desired"]["patch"].is_object());
}

#[tokio::test]
async fn a_device_has_a_history_of_its_latest_changes() {
    let world = World::start(&[("pump", "")], |config| config.api.history = 3).await;
    let mut mapper = FakeMapper::ours(&world.addresses.dmi, "mapper").await;
    for value in 1..=5 {
        let (value, time) = (value.to_string(), (value * 1000).to_string());
        mapper.report("pump", &[("speed", &value, &[("timestamp", &time)])]).await.unwrap();
    }
    world.set("pump", "", r#"{"properties":{"speed":{"value":"7"}}}"#).await;
    let path = "/v1/devices/demo/pump/history";
    let history = eventually("the wish in the history", async || {
        let (_, body) = world.request(Method::GET, path, "").await;
        let history: Json = serde_json::from_slice(&body).unwrap();
        let newest = history["properties"][0]["changes"].as_array()?.last()?.clone();
        (newest["desired"] == "7").then_some(history)
    })
    .await;
    assert_eq!(
        history["properties"].as_array().unwrap().len(),
        1,
        "speed alone changed: {history}"
    );
    let changes = history["properties"][0]["changes"].as_array().unwrap();
    assert!(changes.len() <= 3, "{history}");
    let ids: Vec<_> = changes.iter().map(|change| change["id"].as_u64().unwrap()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let newest = changes.iter().find(|change| change["desired"] == "7").unwrap();
    assert_eq!((&newest["value"], &newest["quality"]), (&json!("5"), &json!("good")), "{newest}");
    assert_eq!(newest["rev"], world.device("pump").await.unwrap().rev);

    let one = format!("{path}?property=speed&limit=1");
    let (_, body) = world.request(Method::GET, &one, "").await;
    let one: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(one["properties"][0]["changes"], json!([changes.last().unwrap()]));
    for (query, code, field) in [
        ("?property=colour", 404, "property"),
        ("?limit=0", 400, "limit"),
        ("?limit=10001", 400, "limit"),
        ("?limit=many", 400, "limit"),
        ("?last=1", 400, "last"),
    ] {
        refused(&world, (Method::GET, &format!("{path}{query}"), ""), code, field).await;
    }
    // Made again under the same name, it has no past.
    world.remove("pump.yaml");
    eventually("its end", async || world.device("pump").await.is_err().then_some(())).await;
    world.write("pump.yaml", &world::device("pump", ""));
    eventually("its new life", async || world.device("pump").await.ok()).await;
    eventually("an empty history", async || {
        let (_, body) = world.request(Method::GET, path, "").await;
        let history: Json = serde_json::from_slice(&body).unwrap();
        (history == json!({"properties": []})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_limits_are_told() {
    let world = World::with(&[]).await;
    let (status, body) = world.request(Method::GET, "/v1/limits", "").await;
    let limits: Json = serde_json::from_slice(&body).unwrap();
    assert_eq!(status, 200);
    let octets = (&limits["bodyOctets"], &limits["valueOctets"], &limits["twinOctets"]);
    assert_eq!(octets, (&json!(1 << 20), &json!(64 << 10), &json!(256 << 10)), "{limits}");
    assert_eq!((&limits["properties"], &limits["historyChanges"]), (&json!(512), &json!(64)));
}
