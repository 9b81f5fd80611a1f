//! `edgetwin modbus plan`: what a device will be asked, before anything is sent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

fn plan(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    command.args(["modbus", "plan"]).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn profile(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("device-profiles/demo").join(name).display().to_string()
}

/// A device with one property at `offset`, counted from `base` where it says so.
fn device(dir: &Path, base: Option<u8>, offset: u16) -> PathBuf {
    let base = base.map_or(String::new(), |base| format!(", addressBase: {base}"));
    let text = format!(
        "\
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: m, namespace: demo}}
spec: {{protocol: modbus, properties: [{{name: level, type: INT, accessMode: ReadWrite}}]}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: tank, namespace: demo}}
spec:
  deviceModelRef: {{name: m}}
  protocol: {{protocolName: modbus, configData: {{ip: 192.0.2.10, slaveID: 3{base}}}}}
  properties:
  - name: level
    visitors: {{protocolName: modbus, configData: {{register: HoldingRegister, offset: {offset}}}}}
"
    );
    let path = dir.join("tank.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn row_22_the_plan_shows_the_base_and_every_notation() {
    let dir = tempfile::tempdir().unwrap();
    for (base, offset) in [(None, 100), (Some(0), 100), (Some(1), 101)] {
        let path = device(dir.path(), base, offset);
        let output = plan(&[path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let text = stdout(&output);
        let counted = format!("count from {}", base.unwrap_or(0));
        for notation in ["3 holding 100", "0x0064", " 101 ", "40101", "6 at holding:100", &counted]
        {
            assert!(text.contains(notation), "{notation} in {text}");
        }
        assert!(text.contains("tcp://192.0.2.10:502, unit 3"), "{text}");
    }
}

#[test]
fn neighbours_with_one_cycle_share_a_request() {
    let output = plan(&[&profile("pump-skid.yaml"), "-o", "json"]);
    let plans: Json = serde_json::from_slice(&output.stdout).unwrap();
    let requests = plans[0]["requests"].as_array().unwrap();
    let of = |function: u64, address: u64| {
        requests.iter().find(|r| r["function"] == function && r["address"] == address).unwrap()
    };
    let names = |request: &Json| -> Vec<String> {
        let properties = request["properties"].as_array().unwrap();
        properties.iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(of(4, 0)), ["measured-speed", "pressure"]);
    // The next register belongs to a property with another cycle.
    assert_eq!(names(of(4, 2)), ["flow"]);
    assert_eq!(of(4, 0)["everyMs"], 500);
    assert_eq!(of(4, 2)["everyMs"], 1000);
}

#[test]
fn a_folder_is_planned_whole_and_its_problems_are_named() {
    let dir = tempfile::tempdir().unwrap();
    device(dir.path(), Some(1), 0);
    for name in ["pump-skid.yaml", "room-controller.yaml"] {
        std::fs::copy(profile(name), dir.path().join(name)).unwrap();
    }
    let output = plan(&[dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("demo/tank") && stderr(&output).contains("addressBase is 1"));
    assert!(stdout(&output).contains("demo/pump") && stdout(&output).contains("demo/room"));
}

#[test]
fn a_file_that_is_no_manifest_is_an_error_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pod.yaml");
    std::fs::write(&path, "apiVersion: v1\nkind: Pod\n").unwrap();
    let output = plan(&[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("devices.kubeedge.io/v1beta1"), "{}", stderr(&output));
    assert_eq!(plan(&["/none.yaml"]).status.code(), Some(1));
}
