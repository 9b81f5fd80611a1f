//! The program as somebody starts it: where it says it listens, what it says at the end, how it refuses.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod client;

use std::process::{Output, Stdio};

use client::{Client, PATIENCE, exactly, rtu};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio_serial::SerialPortBuilderExt;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../device-profiles/demo");

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim-modbus"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The running program and its first line.
async fn start(arguments: &[&str]) -> (Child, BufReader<ChildStdout>, Json) {
    let mut child = program(arguments).args(["--output", "json"]).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, out.read_line(&mut line)).await.unwrap().unwrap();
    (child, out, serde_json::from_str(&line).unwrap())
}

async fn terminate(child: &mut Child, out: &mut BufReader<ChildStdout>) -> Json {
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let mut rest = String::new();
    tokio::time::timeout(PATIENCE, out.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    serde_json::from_str(&rest).unwrap()
}

async fn refused(arguments: &[&str], code: i32) -> String {
    let ended = tokio::time::timeout(PATIENCE, program(arguments).output()).await.unwrap();
    let Output { status, stderr, .. } = ended.unwrap();
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{message}");
    message
}

#[tokio::test]
async fn it_serves_until_sigterm_and_tells_what_it_was_asked() {
    let pump = format!("{DEMO}/pump-skid.yaml");
    let fault = ["--fault", "exception:function=4,code=6"];
    let arguments = [&[pump.as_str(), "--tcp", "127.0.0.1:0"][..], &fault].concat();
    let (mut child, mut out, started) = start(&arguments).await;
    let simulation = &started["simulations"][0];
    assert_eq!(simulation["devices"], serde_json::json!(["demo/pump"]));
    let address = simulation["listening"][0]["address"].as_str().unwrap().parse().unwrap();

    let mut client = Client::connect(address).await;
    assert_eq!(client.ask(1, &[6, 0, 0, 0x05, 0xAA]).await, [6, 0, 0, 0x05, 0xAA]);
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [3, 2, 0x05, 0xAA]);
    assert_eq!(client.ask(1, &[4, 0, 0, 0, 1]).await, [0x84, 6]);

    let ended = terminate(&mut child, &mut out).await;
    let counters = &ended["simulations"][0]["counters"];
    assert_eq!(counters["requests"], 3);
    assert_eq!(counters["units"]["1"]["functions"], serde_json::json!({"3": 1, "4": 1, "6": 1}));
    assert_eq!(counters["writes"][0]["values"], serde_json::json!([1450]));
    assert_eq!(counters["writes"][0]["table"], "holding");
}

#[tokio::test]
async fn it_serves_units_of_one_line_on_a_linked_pseudo_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("line");
    let (meter, room) =
        (format!("{DEMO}/energy-meter.yaml"), format!("{DEMO}/room-controller.yaml"));
    let pty = format!("--pty={}", link.display());
    let (mut child, mut out, started) = start(&[&meter, &room, &pty, "--pace"]).await;
    assert_eq!(started["simulations"][0]["units"], serde_json::json!([1, 2]));

    let mut port = tokio_serial::new(link.to_str().unwrap(), 9600).open_native_async().unwrap();
    port.write_all(&rtu(2, &[3, 0, 0, 0, 1])).await.unwrap();
    assert_eq!(exactly(&mut port, 7).await, rtu(2, &[3, 2, 0, 200]), "20.0 degrees in tenths");
    drop(port);

    let ended = terminate(&mut child, &mut out).await;
    assert_eq!(ended["simulations"][0]["counters"]["requests"], 1);
    assert!(!link.is_symlink(), "the link is taken away");
}

#[tokio::test]
async fn it_ends_by_itself_after_its_duration() {
    let pump = format!("{DEMO}/pump-skid.yaml");
    let arguments = [pump.as_str(), "--tcp", "127.0.0.1:0", "--duration", "50ms"];
    let ended = tokio::time::timeout(PATIENCE, program(&arguments).output()).await.unwrap();
    let Output { status, stdout, .. } = ended.unwrap();
    let text = String::from_utf8(stdout).unwrap();
    assert!(status.success() && text.contains("unit 1  demo/pump"), "{text}");
    assert!(text.contains(": 0 requests, 0 exceptions"), "{text}");
}

#[tokio::test]
async fn a_reader_that_left_is_no_failure() {
    let pump = format!("{DEMO}/pump-skid.yaml");
    let arguments = [pump.as_str(), "--tcp", "127.0.0.1:0", "--duration", "50ms"];
    let mut child = program(&arguments).spawn().unwrap();
    drop(child.stdout.take());
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let message = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), message.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn it_refuses_with_a_reason_and_a_remedy() {
    let message = refused(&["no-such-file.yaml"], 2).await;
    assert!(message.contains("no-such-file.yaml: No such file"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("units.yaml");
    std::fs::write(&file, "units: {1: {holding: {0: x}}}").unwrap();
    let file = file.to_str().unwrap();
    let message = refused(&[file], 2).await;
    assert!(message.contains("units.1.holding.0: \"x\": write a number"), "{message}");

    std::fs::write(file, "units: {1: {").unwrap();
    let message = refused(&[file], 2).await;
    assert!(message.starts_with(&format!("{file}: ")), "{message}");
    let message = refused(&[concat!(env!("CARGO_MANIFEST_DIR"), "/src")], 2).await;
    assert!(message.contains("folders in it are not searched"), "{message}");
    for address in ["1502", "127.0.0.1:99999"] {
        let message = refused(&[file, "--tcp", address], 2).await;
        assert!(message.contains("such as 127.0.0.1:1502"), "{message}");
    }

    let message = refused(&[file, "--fault", "noise"], 2).await;
    assert!(message.contains("write one of delay, late"), "{message}");

    std::fs::write(file, "units: {1: {holding: {0: 1}}}").unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = refused(&[file, "--tcp", &address], 1).await;
    assert!(message.contains("end the other program, or serve elsewhere"), "{message}");
}
