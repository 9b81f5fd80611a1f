use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Parser;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::*;

#[test]
fn an_assignment_has_a_name_and_may_have_an_empty_value() {
    let read: Assignment = "label=a=b".parse().unwrap();
    assert_eq!((read.property.as_str(), read.value.as_str()), ("label", "a=b"));
    assert!("label=".parse::<Assignment>().unwrap().value.is_empty());
    assert!("=5".parse::<Assignment>().is_err());
    assert!("speed".parse::<Assignment>().unwrap_err().contains("speed=1450"));
}

/// What the agent answers when it is asked for the pump.
#[derive(Clone, Debug)]
enum Answer {
    Pump(Json),
    Gone,
    HangUp,
}

/// An agent by script: it takes every wish as version 7.
struct FakeAgent {
    _dir: TempDir,
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl FakeAgent {
    /// The wish is acknowledged with `ack` at once, and `event` follows; `looks` are the answers to looks at the pump, the last one for ever.
    fn start(ack: Json, event: Option<Json>, looks: impl Into<VecDeque<Answer>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, mut looks) = (asked.clone(), looks.into());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut follower = None;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let Some(request) = request(&mut stream).await else { continue };
                log.lock().unwrap().push(request.clone());
                match request.as_str() {
                    "GET /v1/devices" => {
                        answer(stream, 200, &json!({"devices": [pump(None, false)]})).await;
                    }
                    "GET /v1/devices/demo/pump" => {
                        let next = match looks.len() {
                            1 => looks[0].clone(),
                            _ => looks.pop_front().unwrap(),
                        };
                        match next {
                            Answer::Pump(view) => answer(stream, 200, &view).await,
                            Answer::Gone => {
                                answer(stream, 404, &json!({"code": 404, "message": "gone"})).await;
                            }
                            Answer::HangUp => {}
                        }
                    }
                    "GET /v1/events" => {
                        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                        stream.write_all(head).await.unwrap();
                        follower = Some(stream);
                    }
                    "PATCH /v1/devices/demo/pump/desired" => {
                        let speed = json!({"value": "1450", "version": 7, "ack": ack});
                        let told = json!({"rev": 5, "properties": {"speed": speed}});
                        answer(stream, 200, &told).await;
                        if let (Some(event), Some(follower)) = (&event, &mut follower) {
                            let text = format!("data: {event}\n\n");
                            follower.write_all(text.as_bytes()).await.unwrap();
                        }
                    }
                    other => panic!("{other}"),
                }
            }
        });
        Self { _dir: dir, socket, asked, _tasks: tasks }
    }

    async fn set(&self, wait: &str) -> Outcome {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: SetArgs,
        }
        let socket = self.socket.to_str().unwrap();
        let words = ["set", "pump", "speed=1450", "--wait", wait, "--socket", socket];
        let setting = run(Line::parse_from(words).args);
        tokio::time::timeout(Duration::from_secs(20), setting).await.unwrap().unwrap()
    }

    fn asked(&self, request: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == request).count()
    }
}

/// Method and path of the next request; none when somebody only looked whether we are there.
async fn request(stream: &mut BufReader<UnixStream>) -> Option<String> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        first.get_or_insert(line);
    }
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    let first = first?;
    let (method, rest) = first.split_once(' ')?;
    Some(format!("{} {}", method.to_uppercase(), rest.split_once(' ')?.0))
}

async fn answer(mut stream: BufReader<UnixStream>, status: u16, body: &Json) {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

fn ack(code: u16, word: &str) -> Json {
    json!({"version": 7, "code": code, "word": word})
}

/// Written, and not read back.
fn applied() -> Json {
    ack(200, "applied")
}

fn pump(version: Option<u64>, in_sync: bool) -> Json {
    let time = "2026-11-21T12:00:00.000Z";
    let desired = version.map(|version| {
        json!({"value": "1450", "version": version, "setAt": time, "writer": "local:api"})
    });
    json!({
        "namespace": "demo", "name": "pump", "protocol": "modbus", "model": "pump", "state": "online",
        "mapper": null, "rev": 5, "epoch": 1, "incarnation": "one", "stateSince": time, "stateReason": null,
        "properties": [{
            "name": "speed", "type": "INT", "access": "ReadWrite", "minimum": null, "maximum": null,
            "desired": desired, "ack": null, "reported": null, "settled": true, "inSync": in_sync,
        }],
    })
}

fn event(kind: &str, property: Option<&str>) -> Json {
    json!({
        "id": 1, "device": "demo/pump", "property": property, "kind": kind, "reported": null,
        "desired": null, "quality": null, "code": null, "ack": null, "state": "online",
        "time": "2026-11-21T12:00:00.000Z", "rev": 6, "reason": null,
    })
}

#[tokio::test]
async fn what_was_applied_and_not_read_back_in_time_is_not_done() {
    let agent = FakeAgent::start(applied(), None, [Answer::Pump(pump(Some(7), false))]);
    assert_eq!(agent.set("300ms").await, Outcome::Degraded);
    assert_eq!(agent.asked("GET /v1/devices"), 1, "only to find the device by its name");
    let looks = agent.asked("GET /v1/devices/demo/pump");
    assert!((1..=3).contains(&looks), "{looks}");
}

#[tokio::test]
async fn a_look_that_fails_is_tried_again() {
    let shown = Answer::Pump(pump(Some(7), true));
    let agent = FakeAgent::start(applied(), None, [Answer::HangUp, Answer::HangUp, shown]);
    assert_eq!(agent.set("15s").await, Outcome::Done);
    let agent = FakeAgent::start(applied(), None, [Answer::HangUp]);
    assert_eq!(agent.set("300ms").await, Outcome::Degraded, "the wish stands");
}

#[tokio::test]
async fn a_wish_that_somebody_ended_is_not_waited_for() {
    for (event, look) in [
        (event("desired", Some("speed")), Answer::Pump(pump(None, true))),
        (event("desired", Some("speed")), Answer::Pump(pump(Some(8), true))),
        (event("removed", None), Answer::Gone),
    ] {
        let agent = FakeAgent::start(ack(102, "received"), Some(event), [look]);
        assert_eq!(agent.set("10m").await, Outcome::Refused);
    }
}
