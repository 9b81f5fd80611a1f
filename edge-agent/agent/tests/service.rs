//! The agent as a service: what it tells the service manager.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Until the first message that is not that it lives; how often it said so before.
fn heard(manager: &UnixDatagram) -> (String, usize) {
    let (mut text, mut lives) = ([0; 256], 0);
    loop {
        let length = manager.recv(&mut text).unwrap();
        match std::str::from_utf8(&text[..length]).unwrap().trim() {
            "WATCHDOG=1" => lives += 1,
            other => return (other.to_owned(), lives),
        }
    }
}

#[test]
fn the_service_manager_hears_when_the_agent_is_ready_lives_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let config = edge_agent::AgentConfig::within(dir.path());
    std::fs::create_dir(&config.manifests.dir).unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, serde_json::to_string(&config).unwrap()).unwrap();
    let socket = dir.path().join("notify.sock");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .arg("--config")
        .arg(&file)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "30000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(heard(&manager), ("READY=1".into(), 0));
    let mut text = [0; 256];
    for _ in 0..3 {
        let length = manager.recv(&mut text).unwrap();
        assert_eq!(std::str::from_utf8(&text[..length]).unwrap().trim(), "WATCHDOG=1");
    }
    let pid = rustix::process::Pid::from_child(&agent);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(heard(&manager).0, "STOPPING=1");
    assert!(agent.wait().unwrap().success());
}
