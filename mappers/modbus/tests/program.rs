//! The program as somebody starts it: how it is asked to stop.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// The program and the folder that its sockets are in; `shell` says how it is started.
fn start(shell: &str) -> (TempDir, Child) {
    let folder = tempfile::tempdir().unwrap();
    let (config, socket) = (folder.path().join("config.yaml"), folder.path().join("mapper.sock"));
    let agent = folder.path().join("nobody.sock");
    let text = format!(
        "grpc_server: {{socket_path: {}}}\n\
         common: {{name: mapper, protocol: modbus, edgecore_sock: {}}}\n",
        socket.display(),
        agent.display()
    );
    std::fs::write(&config, text).unwrap();
    let child = Command::new("sh")
        .args(["-c", shell, env!("CARGO_BIN_EXE_mapper-modbus"), "--config-file"])
        .arg(config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It listens to signals before it opens its socket.
    until(|| socket.exists().then_some(()));
    (folder, child)
}

fn until<T>(mut reached: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(reached) = reached() {
            return reached;
        }
        assert!(start.elapsed() < PATIENCE, "not reached");
        std::thread::yield_now();
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn ended(child: &mut Child) -> ExitStatus {
    until(|| child.try_wait().unwrap())
}

#[test]
fn each_way_to_ask_it_to_stop_ends_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        // Whoever runs the tests may ignore SIGHUP, and a shell cannot take that back.
        let (folder, mut child) = start("exec env --default-signal=HUP $0 $@");
        send(&child, signal);
        assert_eq!(ended(&mut child).code(), Some(0), "{signal:?}");
        drop(folder);
    }
}

#[test]
fn nohup_keeps_it_when_the_terminal_closes() {
    let (folder, mut child) = start("trap '' HUP; exec $0 $@");
    let status = Path::new("/proc").join(child.id().to_string()).join("status");
    let status = std::fs::read_to_string(status).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_eq!(ignored & 1, 1, "SIGHUP is ignored still");
    send(&child, Signal::TERM);
    assert_eq!(ended(&mut child).code(), Some(0));
    drop(folder);
}
