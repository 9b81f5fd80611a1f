//! The borders of the embedded broker: who comes in, how much it bears, and who may say what.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::path::Path;

use edge_agent::config::{ClientTls, ExternalBroker, MqttMode, ServerTls, Span};
use edge_agent::{Agent, AgentConfig};
use hyper::Method;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions,
    Packet, QoS, SubscribeReasonCode, v5,
};
use serde_json::Value;
use world::bus::Bus;
use world::papers::Papers;
use world::{World, eventually, within};

const UPDATE: &str = "$hw/events/device/demo/pump/twin/update";
/// `ann`, whose password is `apple`, as `mosquitto_passwd` 2.0 writes it.
const PASSWORDS: &str = "ann:$7$101$c2FsdHNhbHRzYWx0$ksdkdPSdKQB5Miwr26n2uOQVjEB6vNSjIGY/bP5EN+q5odcHnNcrdoaCros6t5P4o6tMADxgbUxkVZu/yFizqg==\n";

fn client(world: &World, name: &str) -> MqttOptions {
    let address = world.mqtt();
    let mut options = MqttOptions::new(name, address.ip().to_string(), address.port());
    options.set_max_packet_size(1 << 20, 1 << 20);
    options
}

/// Whether the broker lets this client in.
async fn comes_in(options: MqttOptions) -> Option<(AsyncClient, EventLoop)> {
    let (client, mut events) = AsyncClient::new(options, 8);
    let first = within("an answer to a connection", events.poll()).await;
    matches!(first, Ok(Event::Incoming(Packet::ConnAck(_)))).then_some((client, events))
}

async fn metrics(world: &World) -> String {
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    String::from_utf8(text.to_vec()).unwrap()
}

async fn mqtt_part(world: &World) -> Value {
    let (_, body) = world.request(Method::GET, "/readyz", "").await;
    let ready: Value = serde_json::from_slice(&body).unwrap();
    let mut parts = ready["parts"].as_array().unwrap().iter();
    parts.find(|part| part["name"] == "mqtt").cloned().unwrap_or_default()
}

#[tokio::test]
async fn without_the_password_nobody_comes_in() {
    let world = World::start(&[], |config| {
        let file = config.store.dir.with_file_name("passwords");
        std::fs::write(&file, PASSWORDS).unwrap();
        config.mqtt.password_file = Some(file);
    })
    .await;
    let with = |name: &str, password: &str| {
        let mut options = client(&world, "app");
        options.set_credentials(name, password);
        options
    };
    assert!(comes_in(with("ann", "apple")).await.is_some());
    assert!(comes_in(with("ann", "pear")).await.is_none());
    assert!(comes_in(with("bob", "apple")).await.is_none());
    assert!(comes_in(client(&world, "app")).await.is_none());
}

#[tokio::test]
async fn a_password_file_that_cannot_be_read_is_named_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = AgentConfig::within(dir.path());
    config.mqtt.password_file = Some(dir.path().join("nowhere"));
    let error = Agent::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("mqtt.passwordFile") && error.contains("nowhere"), "{error}");
    let mut config = AgentConfig::within(dir.path());
    config.mqtt.tls = Some(ServerTls { cert: "no.pem".into(), ..ServerTls::default() });
    let error = Agent::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("mqtt.tls.cert = \"no.pem\""), "{error}");
}

/// An agent that is a client of that broker, and how it gets on.
async fn joined(port: u16, change: impl FnOnce(&mut ExternalBroker, &Path)) -> (World, Value) {
    let world = World::start(&[], |config| {
        config.mqtt.mode = MqttMode::External;
        let external = &mut config.mqtt.external;
        external.url = format!("mqtts://localhost:{port}");
        external.keep_alive = Span::secs(1);
        change(external, config.store.dir.parent().unwrap());
    })
    .await;
    let part = eventually("a word on the external broker", async || {
        Some(mqtt_part(&world).await).filter(|part| part["status"].is_string())
    })
    .await;
    (world, part)
}

#[tokio::test]
async fn over_tls_both_sides_show_who_they_are() {
    let papers = Papers::new();
    let broker = World::start(&[], |config| {
        let file = config.store.dir.with_file_name("passwords");
        std::fs::write(&file, PASSWORDS).unwrap();
        config.mqtt.password_file = Some(file);
        config.mqtt.tls = Some(ServerTls {
            cert: papers.file("server.pem"),
            key: papers.file("server.key"),
            client_ca: Some(papers.file("ca.pem")),
        });
    })
    .await;
    let port = broker.mqtt().port();
    let login = |external: &mut ExternalBroker, dir: &Path| {
        let file = dir.join("password");
        std::fs::write(&file, "apple\n").unwrap();
        external.username = Some("ann".into());
        external.password_file = Some(file);
    };
    let (_world, part) = joined(port, |external, dir| {
        login(external, dir);
        external.tls = Some(papers.of_client());
    })
    .await;
    assert_eq!(part["status"], "ok", "{part}");
    let (_world, part) = joined(port, |external, _| external.tls = Some(papers.of_client())).await;
    assert_eq!(part["status"], "degraded", "no password: {part}");
    let (_world, part) = joined(port, |external, dir| {
        login(external, dir);
        external.tls = Some(ClientTls { cert: None, key: None, ..papers.of_client() });
    })
    .await;
    assert_eq!(part["status"], "degraded", "no certificate of the client: {part}");
    let (_world, part) = joined(port, |external, dir| {
        login(external, dir);
        let stranger = Papers::new();
        external.tls = Some(ClientTls { ca: Some(dir.join("ca.pem")), ..papers.of_client() });
        std::fs::copy(stranger.file("ca.pem"), dir.join("ca.pem")).unwrap();
    })
    .await;
    let reason = part["reason"].as_str().unwrap();
    assert!(reason.contains("certificate"), "the broker is somebody else: {part}");
}

/// As every certificate is to a machine whose clock begins in 1970.
#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_puts_the_clock_in_doubt_and_is_tried_again() {
    let papers = Papers::new();
    let late = |leaf: &mut CertificateParams| leaf.not_before = rcgen::date_time_ymd(2200, 1, 1);
    papers.sign("server", ExtendedKeyUsagePurpose::ServerAuth, late);
    let tls = ServerTls {
        cert: papers.file("server.pem"),
        key: papers.file("server.key"),
        client_ca: None,
    };
    let mut broker = World::start(&[], |config| config.mqtt.tls = Some(tls.clone())).await;
    let address = broker.mqtt();
    let trusting = ClientTls { cert: None, key: None, ..papers.of_client() };
    let (world, part) = joined(address.port(), |external, _| external.tls = Some(trusting)).await;
    assert_eq!(part["status"], "degraded", "{part}");
    assert!(part["reason"].as_str().unwrap().contains("certificate"), "{part}");
    assert!(part["remedy"].as_str().unwrap().contains("clock of this machine"), "{part}");
    broker.stop().await;
    // The time has come.
    papers.sign("server", ExtendedKeyUsagePurpose::ServerAuth, |_| {});
    let _broker = World::start(&[], |config| {
        config.mqtt.listen = address;
        config.mqtt.tls = Some(tls);
    })
    .await;
    let connected = async || Some(mqtt_part(&world).await).filter(|part| part["status"] == "ok");
    eventually("the broker, without another start", connected).await;
}

#[tokio::test]
async fn limits_hold_and_say_so() {
    let world = World::start(&[("pump", "")], |config| {
        let limits = &mut config.mqtt.limits;
        (limits.clients, limits.subscriptions, limits.packet) = (2, 1, 4096);
    })
    .await;
    let (client_a, mut events) = comes_in(client(&world, "a")).await.unwrap();
    let _b = comes_in(client(&world, "b")).await.unwrap();
    assert!(comes_in(client(&world, "c")).await.is_none(), "the third of two");
    for filter in ["one", "two"] {
        client_a.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
    }
    let mut codes = Vec::new();
    while codes.len() < 2 {
        if let Event::Incoming(Packet::SubAck(answer)) =
            within("SUBACK", events.poll()).await.unwrap()
        {
            codes.extend(answer.return_codes);
        }
    }
    let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
    assert_eq!(codes, [granted, SubscribeReasonCode::Failure]);
    client_a.publish("one", QoS::AtLeastOnce, false, vec![b'x'; 5000]).await.unwrap();
    let ended = async { while events.poll().await.is_ok() {} };
    within("the end of a connection with too large a packet", ended).await;
}

#[tokio::test]
async fn beyond_the_retained_messages_a_new_one_is_refused_and_an_old_one_replaced() {
    let world = World::start(&[], |config| config.mqtt.limits.retained = 2).await;
    let address = world.mqtt();
    let (host, port) = (address.ip().to_string(), address.port());
    let (client, mut events) = v5::AsyncClient::new(v5::MqttOptions::new("a", host, port), 8);
    let mut answers = Vec::new();
    for (topic, payload) in [("1", "old"), ("2", "old"), ("3", "old"), ("2", "new"), ("1", "")] {
        client.publish(topic, v5::mqttbytes::QoS::AtLeastOnce, true, payload).await.unwrap();
        answers.push(puback(&mut events).await);
    }
    client.publish("3", v5::mqttbytes::QoS::AtLeastOnce, true, "late").await.unwrap();
    answers.push(puback(&mut events).await);
    let (good, full) = (PubAckReason::Success, PubAckReason::QuotaExceeded);
    // Nobody had subscribed.
    let answers = answers.into_iter().map(|answer| match answer {
        PubAckReason::NoMatchingSubscribers => PubAckReason::Success,
        other => other,
    });
    assert_eq!(answers.collect::<Vec<_>>(), [good, good, full, good, good, good]);
    let (client, mut events) = comes_in(self::client(&world, "b")).await.unwrap();
    client.subscribe("+", QoS::AtLeastOnce).await.unwrap();
    let mut kept = [published(&mut events).await, published(&mut events).await];
    kept.sort();
    assert_eq!(kept, [("2".into(), "new".into()), ("3".into(), "late".into())]);
}

/// What became of the message that was published last.
async fn puback(events: &mut v5::EventLoop) -> PubAckReason {
    loop {
        let event = within("PUBACK", events.poll()).await.unwrap();
        if let v5::Event::Incoming(v5::mqttbytes::v5::Packet::PubAck(answer)) = event {
            return answer.reason;
        }
    }
}

/// Topic and payload of the next message.
async fn published(events: &mut EventLoop) -> (String, String) {
    loop {
        let event = within("a message", events.poll()).await.unwrap();
        if let Event::Incoming(Packet::Publish(publish)) = event {
            return (publish.topic, String::from_utf8(publish.payload.into()).unwrap());
        }
    }
}

/// A client with a session that goes while 20 messages of `size` octets are published; which of them it gets.
async fn kept_for_a_session(world: &World, size: usize) -> Vec<usize> {
    let lasting = || {
        let mut options = client(world, "sleeper");
        options.set_clean_session(false);
        options
    };
    let (sleeper, mut events) = comes_in(lasting()).await.unwrap();
    sleeper.subscribe("t", QoS::AtLeastOnce).await.unwrap();
    while !matches!(
        within("SUBACK", events.poll()).await.unwrap(),
        Event::Incoming(Packet::SubAck(_))
    ) {}
    sleeper.disconnect().await.unwrap();
    let gone = async { while events.poll().await.is_ok() {} };
    within("the end of the connection", gone).await;
    let (other, mut sent) = comes_in(client(world, "other")).await.unwrap();
    for number in 0..20 {
        let payload = format!("{number:size$}");
        other.publish("t", QoS::AtLeastOnce, false, payload).await.unwrap();
        while !matches!(
            within("PUBACK", sent.poll()).await.unwrap(),
            Event::Incoming(Packet::PubAck(_))
        ) {}
    }
    let (_sleeper, mut events) = comes_in(lasting()).await.unwrap();
    let mut numbers = Vec::new();
    while numbers.last() != Some(&19) {
        numbers.push(published(&mut events).await.1.trim().parse().unwrap());
    }
    numbers
}

#[tokio::test]
async fn of_what_waits_for_a_session_the_oldest_go_by_number_and_by_size() {
    let few = World::start(&[], |config| config.mqtt.limits.session_messages = 3).await;
    assert_eq!(kept_for_a_session(&few, 10).await, [17, 18, 19]);
    let small = World::start(&[], |config| config.mqtt.limits.session_octets = 5000).await;
    let kept = kept_for_a_session(&small, 1000).await;
    // Each message has a few hundred octets around it.
    assert!((2..=4).contains(&kept.len()), "{kept:?}");
    assert_eq!(kept, (20 - kept.len()..20).collect::<Vec<_>>(), "the newest, in their order");
}

#[tokio::test]
async fn beyond_the_lasting_sessions_a_new_one_is_refused_and_who_has_one_keeps_it() {
    let world = World::start(&[], |config| config.mqtt.limits.sessions = 1).await;
    let lasting = |name: &str| {
        let mut options = client(&world, name);
        options.set_clean_session(false);
        options
    };
    // Without a subscription, too: the broker keeps it.
    assert!(comes_in(lasting("first")).await.is_some());
    assert!(comes_in(client(&world, "second")).await.is_some(), "its session is a clean one");
    let (_, mut events) = AsyncClient::new(lasting("second"), 8);
    let refused = within("an answer to a connection", events.poll()).await.unwrap_err();
    let code = ConnectReturnCode::ServiceUnavailable;
    let said = matches!(refused, ConnectionError::ConnectionRefused(said) if said == code);
    assert!(said, "{refused}");
    let modern = |expiry: u32| {
        let address = world.mqtt();
        let mut options = v5::MqttOptions::new("third", address.ip().to_string(), address.port());
        options.set_session_expiry_interval(Some(expiry));
        v5::AsyncClient::new(options, 8).1
    };
    let refused = within("an answer to a connection", modern(60).poll()).await.unwrap_err();
    let code = v5::mqttbytes::v5::ConnectReturnCode::QuotaExceeded;
    let said = matches!(&refused, v5::ConnectionError::ConnectionRefused(said) if *said == code);
    assert!(said, "{refused}");
    let text = metrics(&world).await;
    assert!(text.contains("edgetwin_bus_refused_total{reason=\"sessions\"} 2\n"), "{text}");
    assert!(comes_in(lasting("first")).await.is_some(), "it has its place");
    // It gives it back: its next session is a clean one.
    let place = async || {
        comes_in(client(&world, "first")).await?;
        modern(60).poll().await.ok()
    };
    eventually("the place that is free again", place).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = AgentConfig::within(dir.path());
    config.mqtt.listen = taken.local_addr().unwrap();
    let error = Agent::bind(config).await.unwrap_err().to_string();
    let address = taken.local_addr().unwrap().to_string();
    assert!(error.contains(&address) && error.contains("mqtt.listen"), "{error}");
}

#[tokio::test]
async fn nobody_but_the_agent_answers() {
    let world = World::with(&[("pump", "")]).await;
    let mut app = Bus::join(world.mqtt(), "app").await;
    let liar = Bus::join(world.mqtt(), "liar").await;
    for leaf in
        ["twin/update/result", "twin/update/delta", "twin/get/result", "state/update/result"]
    {
        liar.publish(&format!("$hw/events/device/demo/pump/{leaf}"), r#"{"event_id":"lie"}"#).await;
    }
    liar.publish("$hw/events/node/x/membership/updated", "{}").await;
    liar.publish("$hw/events/device/demo/pump/twin/cloud_updated", r#"{"twin":{}}"#).await;
    liar.publish("other/topic", r#"{"event_id":"fine"}"#).await;
    liar.publish(UPDATE, r#"{"event_id":"end","twin":{}}"#).await;
    loop {
        let (topic, message) = app.next_any().await;
        assert_ne!(message["event_id"], "lie", "{topic}");
        assert!(!topic.contains("cloud_updated") && !topic.contains("membership"), "{topic}");
        if message["event_id"] == "end" && topic.ends_with("result") {
            break;
        }
    }
    let text = metrics(&world).await;
    assert!(text.contains("edgetwin_bus_refused_total{reason=\"answer_topic\"} 5\n"), "{text}");
    assert!(text.contains("edgetwin_bus_refused_total{reason=\"spoofed\"} 1\n"), "{text}");
}

#[tokio::test]
async fn a_last_will_is_a_message_like_any_other() {
    let world = World::with(&[("pump", "")]).await;
    let mut app = Bus::join(world.mqtt(), "app").await;
    let with = |name: &str, topic: &str, payload: &str| {
        let mut options = client(&world, name);
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, false));
        options
    };
    let state = "$hw/events/device/demo/pump/state/update";
    let dying = comes_in(with("dying", state, r#"{"state":"unhealthy"}"#)).await.unwrap();
    let answer = format!("{UPDATE}/result");
    let lying = comes_in(with("lying", &answer, r#"{"event_id":"lie"}"#)).await.unwrap();
    drop((lying, dying));
    assert_eq!(app.next("state/update/result").await["device"]["state"], "unhealthy");
    let refused = "edgetwin_bus_refused_total{reason=\"answer_topic\"}";
    let counted = async || {
        let text = metrics(&world).await;
        let line = text.lines().find(|line| line.starts_with(refused))?.to_owned();
        (!line.ends_with(" 0")).then_some(())
    };
    eventually("the other will to be refused", counted).await;
}
