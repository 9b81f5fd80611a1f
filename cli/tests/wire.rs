//! A simulator and a mapper from the command line, with no agent anywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

const PUMP: &str = include_str!("../../device-profiles/demo/pump-skid.yaml");

fn edgetwin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    command.env_remove("RUST_LOG");
    command
}

/// `edgetwin simulate modbus` on a free port.
struct Simulator {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    port: u16,
}

impl Simulator {
    fn start(manifest: &Path, arguments: &[&str]) -> Self {
        Self::start_as(edgetwin(), manifest, arguments)
    }

    fn start_as(mut command: Command, manifest: &Path, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["simulate", "modbus", "--tcp", "127.0.0.1:0", "--output", "json"])
            .args(arguments)
            .arg(manifest)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let started: Json = serde_json::from_str(&line).unwrap();
        let address = started["simulations"][0]["listening"][0]["address"].as_str().unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Self { child, lines, port }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Stops it; answers with what it counted.
    fn stop(mut self) -> Json {
        self.signal(Signal::TERM);
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        serde_json::from_str(&rest).unwrap()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The demo's pump in two files, with its model apart and the device at `port`.
fn files(dir: &Path, port: u16) -> (PathBuf, PathBuf) {
    let (model, device) = PUMP.split_once("\n---\n").unwrap();
    let paths = (dir.join("model.yaml"), dir.join("dev.yaml"));
    std::fs::write(&paths.0, model).unwrap();
    std::fs::write(&paths.1, device.replace("\"1502\"", &format!("\"{port}\""))).unwrap();
    paths
}

fn read_once(model: &Path, device: &Path) -> (Output, Vec<Json>) {
    let mut command = edgetwin();
    command.args(["mapper", "run", "--once", "-o", "json", "--model"]).arg(model);
    let output = command.arg("--device").arg(device).output().unwrap();
    let rows = serde_json::from_slice(&output.stdout).unwrap();
    (output, rows)
}

fn whole_pump(dir: &Path) -> PathBuf {
    let path = dir.join("pump.yaml");
    std::fs::write(&path, PUMP).unwrap();
    path
}

#[test]
fn row_17_two_files_without_any_agent_print_decoded_values() {
    let dir = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(&whole_pump(dir.path()), &[]);
    let (model, device) = files(dir.path(), simulator.port);
    let (output, rows) = read_once(&model, &device);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let of = |name: &str| rows.iter().find(|row| row["property"] == name).unwrap();
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row["device"] == "demo/pump" && row["quality"] == "good"));
    // Never written to, so the drive stands still, whatever the manifest desires.
    assert_eq!(of("speed")["value"], "0");
    assert_eq!(of("running")["value"], "false");
    let pressure: f64 = of("pressure")["value"].as_str().unwrap().parse().unwrap();
    assert!((2.4..=3.1).contains(&pressure), "{pressure}");
    assert_eq!(of("pressure")["unit"], "bar");

    let counted = simulator.stop();
    let counters = &counted["simulations"][0]["counters"];
    assert_eq!(counters["writeRequests"], 0, "{counters}");
    assert_eq!(counters["connections"]["accepted"], 1, "{counters}");
}

#[test]
fn what_was_started_to_outlive_its_terminal_does() {
    let dir = tempfile::tempdir().unwrap();
    // What `nohup` does.
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" HUP; exec "$@""#, "sh", env!("CARGO_BIN_EXE_edgetwin")]);
    command.env_remove("RUST_LOG");
    let simulator = Simulator::start_as(command, &whole_pump(dir.path()), &[]);
    simulator.signal(Signal::HUP);
    let (model, device) = files(dir.path(), simulator.port);
    let (output, rows) = read_once(&model, &device);
    assert_eq!((output.status.code(), rows.len()), (Some(0), 7), "{output:?}");
    simulator.stop();
}

#[test]
fn a_property_that_the_device_refuses_degrades_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = "exception:function=2,code=2";
    let simulator = Simulator::start(&whole_pump(dir.path()), &["--fault", refuse]);
    let (model, device) = files(dir.path(), simulator.port);
    let (output, rows) = read_once(&model, &device);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    for row in &rows {
        let quality = if row["property"] == "alarm" { "bad" } else { "good" };
        assert_eq!(row["quality"], quality, "{row}");
    }
    simulator.stop();
}

#[test]
fn a_device_that_is_not_there_fails_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let simulator = Simulator::start(&whole_pump(dir.path()), &[]);
    let (model, device) = files(dir.path(), simulator.port);
    // Nobody listens there any more.
    simulator.stop();
    let (output, rows) = read_once(&model, &device);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(rows.iter().all(|row| row["value"].is_null() && row["quality"] == "bad"));
    assert!(rows[0]["problem"].as_str().unwrap().contains("refused"), "{}", rows[0]);
}

#[test]
fn a_device_without_its_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, device) = files(dir.path(), 1);
    let output = edgetwin().args(["mapper", "run", "--once", "--device"]).arg(device).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("demo/pump-skid"), "{text}");
}
