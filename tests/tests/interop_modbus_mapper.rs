//! The Modbus driver against pymodbus servers, on TCP and on a serial line.
#![cfg(feature = "peers")]
#![expect(clippy::expect_used, reason = "what is arranged here and fails, fails the test")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use device_model::{Device, Manifest, Value, parse_manifests};
use e2e::peers::program;
use mapper_modbus::{ModbusDriver, ModbusSession, Unit, Visitor};
use mapper_sdk::{Driver, Session};

/// A pymodbus server; ends when its standard input is closed.
struct Server {
    child: Child,
    place: String,
}

impl Server {
    async fn start(kind: &str) -> Self {
        let python = program("EDGETWIN_PYTHON").await.expect("an interpreter that has pymodbus");
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/python/modbus_server.py"))
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let mut place = String::new();
        BufReader::new(stdout).read_line(&mut place).expect("it says where it is");
        Self { child, place: place.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn device(wire: &str) -> Device {
    let text = format!(
        "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: peer}}
spec:
  properties:
  - {{name: speed, type: INT, accessMode: ReadWrite}}
  - {{name: count, type: INT, accessMode: ReadWrite}}
  - {{name: volts, type: FLOAT, accessMode: ReadOnly}}
  - {{name: enable, type: BOOLEAN, accessMode: ReadWrite}}
  - {{name: nowhere, type: INT, accessMode: ReadOnly}}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: peer}}
spec:
  deviceModelRef: {{name: peer}}
  protocol: {{protocolName: modbus, configData: {{{wire}, slaveID: 1}}}}
  properties:
  - {{name: speed, visitors: {{protocolName: modbus, configData: {{register: HoldingRegister, offset: 10, limit: 1}}}}}}
  - {{name: count, visitors: {{protocolName: modbus, configData: {{register: holding, offset: 11, limit: 2, order: CDAB}}}}}}
  - {{name: volts, visitors: {{protocolName: modbus, configData: {{register: InputRegister, offset: 0, limit: 2}}}}}}
  - {{name: enable, visitors: {{protocolName: modbus, configData: {{register: CoilRegister, offset: 0}}}}}}
  - {{name: nowhere, visitors: {{protocolName: modbus, configData: {{register: holding, offset: 900}}}}}}
"
    );
    let manifests = parse_manifests(&text).expect("the manifests are valid");
    let [Manifest::Model(model), Manifest::Device(instance)] = manifests.as_slice() else {
        panic!("{manifests:?}")
    };
    Device::resolve(model, instance).expect("the device is valid")
}

async fn value(session: &mut ModbusSession, unit: &Unit, visitor: &Visitor) -> Value {
    let read = session.read(unit, &[visitor]).await.expect("the server answers");
    read.into_iter().next().expect("one result").expect("a value").value
}

async fn reads_and_writes(wire: &str) {
    let (driver, device) = (ModbusDriver::default(), device(wire));
    let (endpoint, unit) = driver.address(&device).expect("the address is valid");
    let mut session = driver.connect(&endpoint).await.expect("the server is there");
    let visitor = |name| {
        let property = device.property(name).expect("the device has it");
        driver.visitor(&device, property).expect("the visitor is valid")
    };
    for (name, before, after) in [
        ("speed", Value::Int(10), Some(Value::Int(1450))),
        ("count", Value::Int(12 << 16 | 11), Some(Value::Int(70_000))),
        ("volts", Value::Float(230.2), None),
        ("enable", Value::Boolean(true), Some(Value::Boolean(false))),
    ] {
        let visitor = visitor(name);
        assert_eq!(value(&mut session, &unit, &visitor).await, before, "{name}");
        let Some(after) = after else { continue };
        assert_eq!(session.write(&unit, &visitor, &after).await, Ok(Ok(())), "{name}");
        assert_eq!(value(&mut session, &unit, &visitor).await, after, "{name}");
    }
    let nowhere = session.read(&unit, &[&visitor("nowhere")]).await.expect("the server answers");
    assert!(nowhere[0].is_err(), "{nowhere:?}");
    assert_eq!(session.discarded(), 0);
}

#[tokio::test]
async fn a_pymodbus_server_on_tcp() {
    let server = Server::start("tcp").await;
    reads_and_writes(&format!("ip: 127.0.0.1, port: {}", server.place)).await;
}

#[tokio::test]
async fn a_pymodbus_server_on_a_line() {
    let server = Server::start("rtu").await;
    reads_and_writes(&format!("serialPort: {}, baudRate: 115200", server.place)).await;
}
