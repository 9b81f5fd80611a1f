//! The command line as a user meets it without an agent: help, wrong usage, errors, forms of output.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The command, in an environment of its own: it finds no agent but those under `home`.
fn edgetwin(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    command.env("XDG_RUNTIME_DIR", home).env_remove("EDGETWIN_SOCKET").env_remove("RUST_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    edgetwin(home.path()).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Every command as the help names it.
fn commands_in_help() -> Vec<String> {
    let help = stdout(&run(&["--help"]));
    let list = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    list.lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_explains_itself() {
    let commands = commands_in_help();
    for name in ["run", "config", "get", "describe", "set", "watch", "completions"] {
        assert!(commands.iter().any(|command| command == name), "{name} in {commands:?}");
    }
    for command in commands {
        let help = run(&[&command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        let text = stdout(&help);
        assert!(text.contains("Usage: edgetwin"), "{command}: {text}");
        assert!(!text.starts_with("Usage"), "{command} says what it is for: {text}");
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_how_it_is_right() {
    for (arguments, hint) in [
        (&[][..], "Usage"),
        (&["gett"][..], "get"),
        (&["set", "demo/pump", "speed"][..], "speed=1450"),
        (&["set", "demo/pump"][..], "PROPERTY=VALUE"),
        (&["set", "demo/pump", "speed=1", "--wait", "5"][..], "unit"),
        (&["get", "-o", "xml"][..], "json"),
        (&["completions", "dos"][..], "bash"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(hint), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn without_an_agent_the_error_names_what_was_tried_and_the_remedy() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["get", "devices"][..], &["watch"], &["set", "demo/pump", "speed=1"]] {
        let output = edgetwin(home.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = stderr(&output);
        let own = home.path().join("edgetwin/api.sock");
        assert!(text.contains(own.to_str().unwrap()), "{text}");
        assert!(text.contains("/run/edgetwin/api.sock"), "{text}");
        assert!(text.contains("edgetwin demo"), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_named_socket_is_the_only_one_tried() {
    let home = tempfile::tempdir().unwrap();
    let by_flag = edgetwin(home.path()).args(["get", "--socket", "/none/a.sock"]).output().unwrap();
    let by_environment =
        edgetwin(home.path()).arg("get").env("EDGETWIN_SOCKET", "/none/a.sock").output().unwrap();
    for output in [by_flag, by_environment] {
        let text = stderr(&output);
        assert!(
            text.contains("/none/a.sock") && !text.contains("/run/edgetwin/api.sock"),
            "{text}"
        );
    }
}

#[test]
fn the_version_has_three_forms() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(stdout(&run(&["version"])).starts_with(&format!("edgetwin {version}\n")));
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["version", "-o", "json"]).stdout).unwrap();
    assert_eq!(json["version"], version);
    assert_eq!(json["devicesApi"], "devices.kubeedge.io/v1beta1");
    let yaml: serde_json::Value =
        serde_saphyr::from_str(&stdout(&run(&["version", "-o", "yaml"]))).unwrap();
    assert_eq!(yaml, json);
}

#[test]
fn the_configuration_is_shown_with_its_sources() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.yaml");
    std::fs::write(
        &file,
        "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nmqtt: {listen: \"127.0.0.1:2883\"}\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["config", "print", "--config", path, "-o", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |key: &str| rows.iter().find(|row| row["key"] == key).unwrap();
    assert_eq!(of("mqtt.listen")["value"], "127.0.0.1:2883");
    assert_eq!(of("mqtt.listen")["source"], "file");
    assert_eq!(of("store.dir")["source"], "default");

    assert_eq!(run(&["config", "check", "--config", path]).status.code(), Some(0));
    std::fs::write(&file, "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nmqqt: {}\n").unwrap();
    let output = run(&["config", "check", "--config", path]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains(path) && text.contains("line 3") && text.contains("mqtt"), "{text}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut child = edgetwin(home.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(complaint, "");
}
