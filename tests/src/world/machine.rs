//! The machine that worlds are made of: its model and its manifests.

use std::net::SocketAddr;

/// One simulated device: a level that can be read (input register 0), a setpoint that can be written (holding
/// register 0, 0 to 1000) and a relay (coil 0).
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    unit: u8,
    cycle: u64,
    device_keys: String,
    level_keys: String,
    setpoint_keys: String,
    wire: Option<String>,
}

impl Machine {
    /// A machine of that name at that unit number, read every 100 ms. It may think for longer than a busy computer
    /// keeps a simulation waiting.
    pub fn new(name: impl Into<String>, unit: u8) -> Self {
        Self {
            name: name.into(),
            unit,
            cycle: 100,
            device_keys: ", timeout: 5s".into(),
            level_keys: String::new(),
            setpoint_keys: String::new(),
            wire: None,
        }
    }

    /// Reached at this address of its own, in place of the one that the machines of a world share.
    #[must_use]
    pub fn at(self, address: SocketAddr) -> Self {
        Self { wire: Some(tcp_wire(address)), ..self }
    }

    /// Read every `millis`.
    #[must_use]
    pub fn every(self, millis: u64) -> Self {
        Self { cycle: millis, ..self }
    }

    /// Keys of `protocol.configData` in place of the usual time-out, as in a YAML flow mapping: `timeout: 200ms,
    /// reapply: true`.
    #[must_use]
    pub fn keys(self, keys: &str) -> Self {
        Self { device_keys: format!(", {keys}"), ..self }
    }

    /// Further visitor keys of the level.
    #[must_use]
    pub fn level(self, keys: &str) -> Self {
        Self { level_keys: format!(", {keys}"), ..self }
    }

    /// Further visitor keys of the setpoint.
    #[must_use]
    pub fn setpoint(self, keys: &str) -> Self {
        Self { setpoint_keys: format!(", {keys}"), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its Device, with keys of `protocol.configData` that say on which wire it is, unless it has one of its own.
    pub fn manifest(&self, wire: &str) -> String {
        let Self { name, unit, cycle, device_keys, level_keys, setpoint_keys, wire: own } = self;
        let wire = own.as_deref().unwrap_or(wire);
        format!(
            "---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}, namespace: test}}
spec:
  deviceModelRef: {{name: machine}}
  protocol:
    protocolName: modbus
    configData: {{{wire}, slaveID: {unit}{device_keys}}}
  properties:
  - name: level
    collectCycle: {cycle}
    visitors: {{configData: {{dataType: int{level_keys}}}}}
  - name: setpoint
    collectCycle: {cycle}
    visitors: {{configData: {{dataType: int{setpoint_keys}}}}}
  - name: relay
    collectCycle: {cycle}
"
        )
    }
}

/// The DeviceModel of every machine.
pub const MODEL: &str = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: machine, namespace: test}
spec:
  protocol: modbus
  properties:
  - name: level
    type: INT
    accessMode: ReadOnly
    visitors: {protocolName: modbus, configData: {register: InputRegister, offset: 0, limit: 1}}
  - name: setpoint
    type: INT
    accessMode: ReadWrite
    minimum: '0'
    maximum: '1000'
    visitors: {protocolName: modbus, configData: {register: HoldingRegister, offset: 0, limit: 1}}
  - name: relay
    type: BOOLEAN
    accessMode: ReadWrite
    visitors: {protocolName: modbus, configData: {register: CoilRegister, offset: 0, limit: 1}}
";

/// Keys of `protocol.configData` for a wire over TCP.
pub fn tcp_wire(address: SocketAddr) -> String {
    format!("ip: {}, port: {}", address.ip(), address.port())
}
