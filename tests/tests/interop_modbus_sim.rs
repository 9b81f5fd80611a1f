//! The Modbus simulator asked by clients that others wrote: pymodbus and mbpoll (libmodbus).
#![cfg(feature = "peers")]
#![expect(clippy::expect_used, reason = "what is arranged here and fails, fails the test")]

use std::ffi::OsStr;
use std::time::Duration;

use e2e::peers::program;
use serde_json::{Value as Json, json};
use sim_modbus::{Blueprint, LineOptions, Simulation, Table};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

const UNITS: &str = "
units:
  1:
    coils: {0-7: false}
    discrete: {0: [1, 0, 1]}
    holding: {0-124: 0}
    input:
      0: {rawType: f32, order: CDAB, simValue: 21.5}
      2: {rawType: i64, simValue: -1234567890123}
";

/// Python takes a second to start, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn simulation() -> Simulation {
    Simulation::new(Blueprint::parse(UNITS).expect("the register file is right"))
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("loopback is there")
}

/// Runs a client to its end and answers with what it said.
async fn run(program: &OsStr, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let ended = timeout(PATIENCE, command.output()).await.expect("the client ends");
    let output = ended.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{said}{complained}", output.status);
    said
}

/// What pymodbus gets on a wire, and what it leaves behind.
async fn pymodbus(simulation: Simulation, wire: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/python/modbus_client.py");
    let python = program("EDGETWIN_PYTHON").await.expect("an interpreter that has pymodbus");
    let said = run(python.as_os_str(), &[&[script], wire].concat()).await;
    let said: Json = serde_json::from_str(&said).expect("one JSON object");
    assert_eq!(
        said,
        json!({
            "refused": [false, false, false, false, false],
            "coils": [false, true, true, false, true],
            "discrete": [true, false, true],
            "holding": [1450, 0x0042, 2, 65535],
            "most": 125,
            "hole": {"exception": 2},
            "float": 21.5,
            "long": -1_234_567_890_123_i64,
            "both": [1450, 77],
        })
    );
    let counters = simulation.stop().await;
    let functions = [1, 2, 5, 6, 15, 16, 22, 23].map(|function| (function, 1));
    let functions = functions.into_iter().chain([(3, 2), (4, 3)]).collect();
    assert_eq!(counters.unit(1).functions, functions);
    assert_eq!((counters.bad_frames, counters.overlapping_frames, counters.exceptions), (0, 0, 1));
}

#[tokio::test]
async fn pymodbus_reads_and_writes_over_tcp() {
    let mut simulation = simulation();
    let address = simulation.serve_tcp(listener().await).expect("it listens");
    pymodbus(simulation, &["tcp", "127.0.0.1", &address.port().to_string()]).await;
}

#[tokio::test]
async fn pymodbus_reads_and_writes_rtu_frames_over_tcp() {
    let mut simulation = simulation();
    let address = simulation.serve_rtu_over_tcp(listener().await).expect("it listens");
    pymodbus(simulation, &["rtu-over-tcp", "127.0.0.1", &address.port().to_string()]).await;
}

#[tokio::test]
async fn pymodbus_reads_and_writes_on_a_paced_serial_line() {
    let mut simulation = simulation();
    let path = simulation.serve_pty(LineOptions::paced(19_200)).expect("there is a terminal");
    pymodbus(simulation, &["rtu", &path.display().to_string()]).await;
}

/// What mbpoll shows of a value is `[reference]: value`, in columns.
fn shown(said: &str) -> Vec<&str> {
    let lines = said.lines().filter(|line| line.starts_with('['));
    lines.filter_map(|line| Some(line.split_once(':')?.1.trim())).collect()
}

#[tokio::test]
async fn mbpoll_reads_and_writes_over_tcp() {
    let mut simulation = simulation();
    let port = simulation.serve_tcp(listener().await).expect("it listens").port().to_string();
    let handle = simulation.handle();
    let ask = async |arguments: &[&str]| {
        let fixed = ["-m", "tcp", "-p", &port, "-a", "1", "-0", "-1", "-o", "5"];
        run(OsStr::new("mbpoll"), &[&fixed, arguments].concat()).await
    };
    ask(&["-t", "4", "-r", "10", "127.0.0.1", "1450", "7"]).await;
    assert_eq!(handle.read(1, Table::Holding, 10, 2), Ok(vec![1450, 7]));
    ask(&["-t", "0", "-r", "2", "127.0.0.1", "1"]).await;
    assert_eq!(handle.coil(1, 2), Ok(true));

    assert_eq!(shown(&ask(&["-t", "4", "-r", "10", "-c", "2", "127.0.0.1"]).await), ["1450", "7"]);
    assert_eq!(shown(&ask(&["-t", "1", "-r", "0", "-c", "3", "127.0.0.1"]).await), ["1", "0", "1"]);
    assert_eq!(shown(&ask(&["-t", "3:float", "-r", "0", "127.0.0.1"]).await), ["21.5"]);
    assert_eq!(simulation.stop().await.bad_frames, 0);
}

#[tokio::test]
async fn mbpoll_reads_and_writes_on_a_serial_line() {
    let mut simulation = simulation();
    let path = simulation.serve_pty(LineOptions::default()).expect("there is a terminal");
    let path = path.display().to_string();
    let handle = simulation.handle();
    let ask = async |arguments: &[&str]| {
        let fixed = ["-m", "rtu", "-b", "19200", "-P", "none", "-a", "1", "-0", "-1", "-o", "5"];
        run(OsStr::new("mbpoll"), &[&fixed, arguments].concat()).await
    };
    ask(&["-t", "4", "-r", "3", &path, "42"]).await;
    assert_eq!(handle.holding(1, 3), Ok(42));
    assert_eq!(shown(&ask(&["-t", "4", "-r", "2", "-c", "2", &path]).await), ["0", "42"]);
    let counters = simulation.stop().await;
    assert_eq!((counters.bad_frames, counters.overlapping_frames), (0, 0));
}
