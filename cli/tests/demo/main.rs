//! The demo as a newcomer runs it: the real program, watched through its output, asked by a second one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod table;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

/// Longest wait for anything; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn edgetwin(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    command.env("XDG_RUNTIME_DIR", home).env_remove("EDGETWIN_SOCKET").env_remove("RUST_LOG");
    command
}

/// A demo that prints its changes as JSON lines.
struct Demo {
    child: Child,
    changes: Receiver<Json>,
}

impl Demo {
    fn start(home: &Path, dir: &Path) -> Self {
        let mut child = edgetwin(home)
            .args(["demo", "--output", "json", "--mqtt", "127.0.0.1:0", "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, changes) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, changes }
    }

    /// Waits for a change of which `wanted` holds.
    fn wait_for(&self, what: &str, mut wanted: impl FnMut(&Json) -> bool) -> Json {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.changes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(change) if wanted(&change) => return change,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("no change with {what}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the demo ended before {what}"),
            }
        }
    }

    /// Asks it to stop, and gives its exit status with the time that it took.
    fn stop(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        (status, asked.elapsed())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is(change: &Json, device: &str, property: &str) -> bool {
    change["device"] == device && change["property"] == property
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    edgetwin(home).args(arguments).output().unwrap()
}

#[test]
fn the_demo_prints_every_twin_change_as_json_and_exits_0() {
    let home = tempfile::tempdir().unwrap();
    let output = run(
        home.path(),
        &["demo", "--duration", "6s", "--output", "json", "--mqtt", "127.0.0.1:0"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let changes: Vec<Json> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for change in &changes {
        for member in ["device", "property", "reported", "desired", "quality", "time"] {
            assert!(change.get(member).is_some(), "{member} in {change}");
        }
    }
    let reported = |device: &str, property: &str| -> Vec<&Json> {
        let reading = |change: &&Json| change["kind"] == "reported" && change["quality"] == "good";
        changes.iter().filter(|change| is(change, device, property)).filter(reading).collect()
    };
    for (device, properties) in [
        (
            "demo/pump",
            &["speed", "running", "measured-speed", "pressure", "flow", "temperature", "alarm"][..],
        ),
        ("demo/meter", &["voltage", "current", "power", "energy"]),
        ("demo/room", &["temperature", "humidity", "setpoint", "fan"]),
    ] {
        for property in properties {
            let readings = reported(device, property);
            assert!(!readings.is_empty(), "{device} {property} in {} changes", changes.len());
        }
    }
    // Each value within the range of its waveform: decoded as it was encoded, by code that was written apart.
    for (device, property, low, high) in [
        ("demo/pump", "pressure", 2.4, 3.1),
        ("demo/pump", "temperature", -2.5, 8.0),
        ("demo/meter", "voltage", 228.5, 231.5),
        ("demo/meter", "power", -250.0, 6400.0),
        ("demo/meter", "energy", 48_213.0, 48_300.0),
        ("demo/room", "temperature", 19.5, 23.0),
    ] {
        for change in reported(device, property) {
            let value: f64 = change["reported"].as_str().unwrap().parse().unwrap();
            assert!((low - 0.06..=high + 0.06).contains(&value), "{device} {property} {value}");
        }
    }
    for device in ["demo/pump", "demo/meter", "demo/room"] {
        let last = changes.iter().rfind(|change| change["device"] == device).unwrap();
        assert_eq!(last["state"], "online", "{last}");
    }
    let verified = |change: &&Json| change["ack"]["word"] == "verified";
    assert!(changes.iter().filter(verified).any(|change| is(change, "demo/pump", "speed")));
    assert!(changes.iter().filter(verified).any(|change| is(change, "demo/room", "setpoint")));
    assert!(!home.path().join("edgetwin/api.sock").exists(), "nothing is left behind");
}

#[test]
fn a_value_that_the_mapper_does_not_verify_is_waited_for_until_it_was_read() {
    let home = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let profile = include_str!("../../../device-profiles/demo/room-controller.yaml");
    let tolerance = "          tolerance: 0.05\n";
    assert!(profile.contains(tolerance));
    let unverified = profile.replace(tolerance, &format!("{tolerance}          verify: false\n"));
    std::fs::create_dir(dir.path().join("manifests")).unwrap();
    std::fs::write(dir.path().join("manifests/room-controller.yaml"), unverified).unwrap();
    let demo = Demo::start(home.path(), dir.path());
    demo.wait_for("demo/room", |c| c["device"] == "demo/room" && c["quality"] == "good");

    let set = run(home.path(), &["set", "demo/room", "setpoint=18.5", "--wait", "20s"]);
    let said = stdout(&set);
    assert_eq!(set.status.code(), Some(0), "{said}{}", stderr(&set));
    let (applied, read) = (said.find("applied after"), said.find("read from the device after"));
    assert!(applied.is_some() && applied < read, "{said}");
    let room = run(home.path(), &["get", "demo/room", "--output", "json"]);
    let room: Json = serde_json::from_slice(&room.stdout).unwrap();
    let property = |property: &&Json| property["name"] == "setpoint";
    let setpoint = room["properties"].as_array().unwrap().iter().find(property).unwrap();
    assert_eq!(
        (&setpoint["ack"]["word"], &setpoint["reported"]["value"]),
        (&"applied".into(), &"18.5".into())
    );
}

#[test]
fn a_second_terminal_sets_the_pump_and_sees_it_verified() {
    let home = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let home = home.path();
    let demo = Demo::start(home, dir.path());
    for device in ["demo/pump", "demo/meter", "demo/room"] {
        demo.wait_for(device, |change| change["device"] == device && change["quality"] == "good");
    }

    let set = run(home, &["set", "demo/pump", "speed=1450", "--wait", "5s"]);
    assert_eq!(set.status.code(), Some(0), "{}{}", stdout(&set), stderr(&set));
    assert!(stdout(&set).contains("verified by read-back"), "{}", stdout(&set));
    // The shaft goes where the setpoint goes, past the 1200 of the manifest: the write reached the device.
    demo.wait_for("the shaft above 1300", |change| {
        let speed = change["reported"].as_str().and_then(|text| text.parse::<i64>().ok());
        is(change, "demo/pump", "measured-speed") && speed.is_some_and(|speed| speed > 1300)
    });

    let get = run(home, &["get", "pump", "--output", "json"]);
    let pump: Json = serde_json::from_slice(&get.stdout).unwrap();
    let speed = &pump["properties"][0];
    assert_eq!(speed["desired"]["value"], "1450");
    assert_eq!(speed["reported"]["value"], "1450");
    assert_eq!(speed["ack"]["word"], "verified");
    assert_eq!(speed["inSync"], true);

    let devices = stdout(&run(home, &["get", "devices"]));
    for device in ["demo/pump", "demo/meter", "demo/room"] {
        assert!(devices.contains(device), "{devices}");
    }
    let described = stdout(&run(home, &["describe", "demo/pump"]));
    assert!(described.contains("verified") && described.contains("0 to 3000 rpm"), "{described}");

    // Refused before it reaches the device, with the reason.
    let too_fast = run(home, &["set", "demo/pump", "speed=9999", "--wait", "5s"]);
    assert_eq!(too_fast.status.code(), Some(1));
    assert!(stderr(&too_fast).contains("3000"), "{}", stderr(&too_fast));
    let sensor = run(home, &["set", "demo/pump", "pressure=1"]);
    assert_eq!(sensor.status.code(), Some(1));
    assert!(stderr(&sensor).contains("ReadOnly"), "{}", stderr(&sensor));
    let slip = run(home, &["set", "demo/pmup", "speed=1"]);
    assert_eq!(slip.status.code(), Some(1));
    assert!(stderr(&slip).contains("did you mean demo/pump?"), "{}", stderr(&slip));

    let watched = run(home, &["watch", "demo/meter", "--duration", "2500ms", "--output", "json"]);
    assert_eq!(watched.status.code(), Some(0), "{}", stderr(&watched));
    let watched = stdout(&watched);
    let events: Vec<Json> =
        watched.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["property"] == "energy"), "{watched}");
    assert!(events.iter().all(|event| event["device"] == "demo/meter"), "{watched}");

    let (status, took) = demo.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "stopping took {took:?}");
    assert!(!home.join("edgetwin/api.sock").exists(), "nothing is left behind");
}

#[test]
fn a_desired_value_survives_a_restart_of_the_demo() {
    let home = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (home, dir) = (home.path(), dir.path());
    let first = Demo::start(home, dir);
    first.wait_for("the pump", |change| is(change, "demo/pump", "speed"));
    let set = run(home, &["set", "demo/pump", "speed=777", "--wait", "5s"]);
    assert_eq!(set.status.code(), Some(0), "{}{}", stdout(&set), stderr(&set));
    first.stop();

    // The simulated drive has forgotten it; the twin has not.
    let second = Demo::start(home, dir);
    let mut begun_at_rest = false;
    second.wait_for("the shaft moving", |change| {
        let speed = change["reported"].as_str().and_then(|text| text.parse::<i64>().ok());
        let Some(speed) = speed.filter(|_| is(change, "demo/pump", "measured-speed")) else {
            return false;
        };
        begun_at_rest |= speed < 100;
        begun_at_rest && speed > 200
    });
    let get = run(home, &["get", "pump", "--output", "json"]);
    let pump: Json = serde_json::from_slice(&get.stdout).unwrap();
    assert_eq!(pump["properties"][0]["desired"]["value"], "777");
    assert_eq!(pump["properties"][0]["reported"]["value"], "777");
    second.stop();
}
