//! The commands that ask an agent, against one: over its socket, and over TCP with a token.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use device_model::Timestamp;
use edge_agent::{Addresses, Agent, AgentConfig, Error};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PUMP: &str = include_str!("../../device-profiles/demo/pump-skid.yaml");

/// An agent with the demo's pump and no mapper. It ends with this.
struct World {
    dir: TempDir,
    addresses: Addresses,
    _agent: JoinSet<Result<(), Error>>,
}

impl World {
    async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// One with what is in the folder's `store`.
    async fn over(dir: TempDir) -> Self {
        let mut config = AgentConfig::within(dir.path());
        config.api.listen = Some("127.0.0.1:0".parse().unwrap());
        config.api.token_file = Some(dir.path().join("tokens"));
        std::fs::create_dir(&config.manifests.dir).unwrap();
        std::fs::write(config.manifests.dir.join("pump.yaml"), PUMP).unwrap();
        let agent = Agent::bind(config).await.unwrap();
        let addresses = agent.addresses().clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(agent.run(CancellationToken::new()));
        Self { dir, addresses, _agent: tasks }
    }

    fn tokens(&self) -> PathBuf {
        self.dir.path().join("tokens")
    }

    /// Runs the command with these arguments, and with those that find the agent's socket.
    async fn run(&self, arguments: &[&str]) -> Output {
        let socket = self.addresses.api.to_str().unwrap().to_owned();
        edgetwin(arguments, &["--socket".into(), socket]).await
    }

    /// The same over TCP.
    async fn run_over_tcp(&self, arguments: &[&str], tokens: &str) -> Output {
        let url = format!("http://{}", self.addresses.api_tcp.unwrap());
        edgetwin(arguments, &["--url".into(), url, "--token-file".into(), tokens.into()]).await
    }

    /// Publishes the same again and again, as soon as the one before was taken.
    async fn say_for_ever(&self, topic: &str, text: &str) -> Infallible {
        let broker = self.addresses.mqtt.unwrap();
        let mut options = rumqttc::MqttOptions::new("app", broker.ip().to_string(), broker.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (app, mut events) = rumqttc::AsyncClient::new(options, 8);
        loop {
            app.publish(topic, rumqttc::QoS::AtLeastOnce, false, text).await.unwrap();
            while !matches!(
                events.poll().await.unwrap(),
                rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))
            ) {}
        }
    }
}

async fn edgetwin(arguments: &[&str], place: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    command.args(arguments).args(place);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_works_over_tcp_with_a_token_and_without_it_says_why_not() {
    let world = World::new().await;
    let tokens = world.tokens();
    let tokens = tokens.to_str().unwrap();
    let output = world.run_over_tcp(&["get", "-o", "json"], tokens).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(json(&output)["devices"][0]["name"], "pump");
    let output = world.run_over_tcp(&["set", "pump", "speed=1450", "-o", "json"], tokens).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let wrong = world.dir.path().join("wrong");
    std::fs::write(&wrong, "0123456789abcdef0123456789abcdef\n").unwrap();
    let output = world.run_over_tcp(&["get"], wrong.to_str().unwrap()).await;
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("no token of this agent") && text.contains("api.tokenFile"), "{text}");

    let url = format!("https://{}", world.addresses.api_tcp.unwrap());
    for (place, hint) in [
        (&["--url", "http://127.0.0.1:1"][..], "--token-file"),
        (&["--url", "ftp://127.0.0.1:1", "--token-file", tokens], "http://HOST:PORT"),
        (&["--url", &url, "--token-file", tokens], "--ca"),
    ] {
        let place: Vec<_> = place.iter().map(|word| (*word).to_owned()).collect();
        let output = edgetwin(&["get"], &place).await;
        assert_ne!(output.status.code(), Some(0));
        assert!(stderr(&output).contains(hint), "{place:?}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_each_part_and_exits_with_3_where_one_is_not_well() {
    let world = World::new().await;
    // Parts are named as they come up.
    let all = async {
        loop {
            let output = world.run(&["status", "-o", "json"]).await;
            let ready = json(&output);
            let parts = ready["parts"].as_array().unwrap();
            if parts.len() == 7 {
                return (output.status.code(), ready);
            }
        }
    };
    let (code, ready) = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    assert_eq!((code, &ready["status"]), (Some(0), &"ready".into()), "{ready}");
    let names: Vec<_> =
        ready["parts"].as_array().unwrap().iter().map(|part| &part["name"]).collect();
    assert_eq!(names, ["store", "dmi", "mqtt", "manifests", "mappers", "api", "clock"]);

    let manifests = world.dir.path().join("manifests");
    std::fs::write(manifests.join("broken.yaml"), "kind: Device\n  metadata").unwrap();
    let degraded = async {
        loop {
            let output = world.run(&["status"]).await;
            if output.status.code() != Some(0) {
                return output;
            }
        }
    };
    let output = tokio::time::timeout(Duration::from_secs(20), degraded).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("manifests") && text.contains("broken.yaml"), "{text}");
    assert!(text.contains("mend the file"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_device_or_a_gateway_is_found_and_has_a_remedy() {
    let world = World::new().await;
    let output = world.run(&["diagnose", "device", "pump", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let findings = json(&output);
    let of = |findings: &Json, what: &str| {
        let all = findings.as_array().unwrap().iter();
        let found = all.clone().find(|one| one["what"] == what).cloned();
        found.unwrap_or_else(|| panic!("no {what} in {findings}"))
    };
    assert_eq!(of(&findings, "description")["verdict"], "ok");
    let mapper = of(&findings, "mapper");
    assert_eq!(mapper["verdict"], "problem");
    assert_eq!(mapper["remedy"], "start a mapper for modbus; it registers by itself");
    let output = world.run(&["diagnose", "device", "demo/pupm"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("did you mean demo/pump?") && text.contains("manifests folder"),
        "{text}"
    );
    let output = world.run(&["diagnose", "node"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("this node belongs to none"), "{text}");

    // All of it, with a key that is wrong, and no room to look for more.
    let file = world.dir.path().join("wrong.yaml");
    std::fs::write(&file, "cluod: {}\n").unwrap();
    let output = world.run(&["check", "-o", "json", "--config", file.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let findings = json(&output);
    let wrong = of(&findings, "configuration");
    assert!(wrong["said"].as_str().unwrap().contains("did you mean \"cloud\"?"), "{wrong}");
    assert_eq!(of(&findings, "agent: store")["verdict"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_may_end_and_may_depend_on_a_version() {
    let world = World::new().await;
    let first = ["set", "pump", "speed=1450", "--expires", "10m", "--if-version", "1"];
    let output = world.run(&first).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pump = json(&world.run(&["get", "pump", "-o", "json"]).await);
    let speed = &pump["properties"][0];
    assert_eq!(speed["desired"]["version"], 2, "{speed}");
    let end: Timestamp = serde_json::from_value(speed["desired"]["expiresAt"].clone()).unwrap();
    let set: Timestamp = serde_json::from_value(speed["desired"]["setAt"].clone()).unwrap();
    assert_eq!(end.since(set).as_secs().div_ceil(60), 10);

    let output = world.run(&first).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("speed is at version 2, not 1"), "{output:?}");
    let output = world.run(&["set", "pump", "speed=1", "--expires", "5"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_device_is_shown_in_the_order_of_its_changes() {
    let world = World::new().await;
    for value in ["100", "200"] {
        let output = world.run(&["set", "pump", &format!("speed={value}")]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    // Each set was answered after its commit; the history follows the feed by itself.
    let both = async {
        loop {
            let history = json(&world.run(&["history", "pump", "speed", "-o", "json"]).await);
            let changes = history["properties"][0]["changes"].as_array().cloned();
            if let Some(changes) = changes.filter(|changes| changes.len() == 2) {
                return changes;
            }
        }
    };
    let changes = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!((&changes[0]["desired"], &changes[1]["desired"]), (&"100".into(), &"200".into()));

    let output = world.run(&["history", "pump", "--limit", "1"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[1].contains("speed") && lines[1].contains("200 rpm"), "{text}");
    let output = world.run(&["history", "pump", "spede"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("did you mean speed?"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn top_counts_what_a_device_says_and_what_is_open_of_it() {
    let world = World::new().await;
    let output = world.run(&["set", "pump", "speed=1450"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pump = json(&world.run(&["get", "pump", "-o", "json"]).await);
    let properties = pump["properties"].as_array().unwrap();
    let desired = properties.iter().filter(|property| !property["desired"].is_null()).count();

    let looks = ["top", "--samples", "1", "--interval", "100ms", "-o", "json"];
    let busy = async {
        loop {
            let output = world.run(&looks).await;
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let rates = json(&output);
            if rates["valuesPerSecond"].as_f64().unwrap() > 0.0 {
                return rates;
            }
        }
    };
    let topic = "$hw/events/device/demo/pump/twin/update";
    let report = r#"{"twin":{"pressure":{"actual":{"value":"3.5"}}}}"#;
    let rates = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            rates = busy => rates,
            never = world.say_for_ever(topic, report) => match never {},
        }
    });
    let rates = rates.await.unwrap();
    let rows = rates["devices"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{rates}");
    let row = &rows[0];
    assert_eq!((&row["device"], &row["state"]), (&"demo/pump".into(), &"unknown".into()), "{row}");
    assert_eq!(row["valuesPerSecond"], rates["valuesPerSecond"], "it is the one device");
    let counted = ["good", "uncertain", "bad", "silent", "open"].map(|key| row[key].clone());
    let silent = properties.len() - 1;
    assert_eq!(counted, [1, 0, 0, silent, desired].map(Json::from), "{row}");
    assert!(row["oldestMs"].is_u64(), "{row}");

    let output = world.run(&["top", "--samples", "1", "--interval", "100ms"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("0 of 1 devices online, "), "{text}");
    assert!(lines[0].ends_with(&format!(" values/s, {desired} wishes open")), "{text}");
    assert!(lines[2].starts_with("demo/pump"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_added_listed_and_removed_by_their_filter() {
    let world = World::new().await;
    // A character of each kind that a path must not hold as it is.
    let filter = "default/a b%2F?ä/+/#";
    for _ in 0..2 {
        let output = world.run(&["subscriptions", "add", filter]).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let list = json(&world.run(&["subscriptions", "list", "-o", "json"]).await);
    assert_eq!(list["subscriptions"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["subscriptions"][0]["filter"], filter);
    let output = world.run(&["subscriptions", "list"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with(filter) && line.contains("subscribed"), "{text}");

    let output = world.run(&["subscriptions", "add", "a#"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("# stands alone on the last level"), "{output:?}");
    let output = world.run(&["subscriptions", "remove", filter]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = world.run(&["subscriptions", "remove", filter]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no subscription to"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_applications_say_is_printed_as_it_comes() {
    let world = World::new().await;
    world.run(&["subscriptions", "add", "a/#"]).await;
    let mut watch = tokio::process::Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    watch.args(["subscriptions", "watch", "-o", "json", "--socket"]).arg(&world.addresses.api);
    let mut watch = watch.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // It tells what comes from its start on: until something came.
    let line = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            line = lines.next_line() => line.unwrap().unwrap(),
            never = world.say_for_ever("a/b", "fire") => match never {},
        }
    });
    let message: Json = serde_json::from_str(&line.await.unwrap()).unwrap();
    assert_eq!((&message["topic"], &message["text"]), (&"a/b".into(), &"fire".into()), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_edgecore_subscribed_to_is_heard_after_an_import() {
    let dir = tempfile::tempdir().unwrap();
    let edgecore = dir.path().join("edgecore.db");
    let tables = "CREATE TABLE device (id text PRIMARY KEY, last_online text);
        CREATE TABLE device_twin (id integer PRIMARY KEY, deviceid text, name text, expected text, actual text,
            expected_meta text, actual_meta text, attr_type text);
        CREATE TABLE sub_topics (topic text PRIMARY KEY);
        INSERT INTO sub_topics VALUES ('default/alarms')";
    rusqlite::Connection::open(&edgecore).unwrap().execute_batch(tables).unwrap();
    let store = dir.path().join("store");
    let (file, store) = (edgecore.to_str().unwrap(), store.to_str().unwrap().to_owned());
    let output = edgetwin(&["store", "import", file], &["--dir".into(), store]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let world = World::over(dir).await;
    let list = json(&world.run(&["subscriptions", "list", "-o", "json"]).await);
    let one = &list["subscriptions"][0];
    assert_eq!(
        (&one["filter"], &one["writer"], &one["embedded"]),
        (&"default/alarms".into(), &"local:edgecore".into(), &"subscribed".into()),
        "{list}"
    );
}
