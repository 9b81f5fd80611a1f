//! The Kubernetes objects of a scene.

use serde_json::{Value as Json, json};

/// The node of every scene.
pub(crate) const NODE: &str = "edge-1";
/// The model of all its devices.
pub(super) const MODEL: &str = "machine";

/// A machine with a `speed` that can be wished for up to a limit, holding register 0, and a `level` that can be read,
/// input register 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Its speed, visitor and model change.
    Pump = 1,
    /// Its level changes while somebody is away.
    Tank,
    /// It is deleted.
    Valve,
    /// It is deleted while the edge is away.
    Lamp,
    /// It comes while the edge is away.
    Fan,
    /// It is deleted and made again while the edge is away.
    Gate,
}

impl Machine {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pump, Self::Tank, Self::Valve, Self::Lamp, Self::Fan, Self::Gate];

    /// The name of its Device.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pump => "pump",
            Self::Tank => "tank",
            Self::Valve => "valve",
            Self::Lamp => "lamp",
            Self::Fan => "fan",
            Self::Gate => "gate",
        }
    }

    /// Its unit number on the wire.
    pub fn unit(self) -> u8 {
        self as u8
    }

    /// Its Device, whose wire ends at that TCP port.
    pub(super) fn device(self, port: u16) -> Json {
        let visitor = |register: &str, offset: u16| {
            let place =
                json!({"register": register, "offset": offset, "limit": 1, "rawType": "u16"});
            json!({"protocolName": "modbus", "configData": place})
        };
        json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
            "metadata": {"name": self.name(), "namespace": "default"},
            "spec": {
                "deviceModelRef": {"name": MODEL},
                "nodeName": NODE,
                "protocol": {"protocolName": "modbus", "configData": {
                    "communicateMode": "TCP", "ip": "127.0.0.1", "port": port, "slaveID": self.unit(),
                }},
                "properties": [
                    {"name": "speed", "collectCycle": 200, "reportToCloud": true,
                        "visitors": visitor("HoldingRegister", 0)},
                    {"name": "level", "collectCycle": 200, "reportToCloud": true,
                        "visitors": visitor("InputRegister", 0)},
                ],
            },
        })
    }
}

/// The model; at most `maximum` may be wished for.
pub(super) fn model(maximum: u16) -> Json {
    json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": MODEL, "namespace": "default"},
        "spec": {"protocol": "modbus", "properties": [
            {"name": "speed", "type": "INT", "accessMode": "ReadWrite", "maximum": maximum.to_string()},
            {"name": "level", "type": "INT", "accessMode": "ReadOnly"},
        ]},
    })
}

/// A patch that wishes for a speed.
pub(super) fn wish(speed: u16) -> Json {
    let desired = json!({"value": speed.to_string()});
    json!([{"op": "add", "path": "/spec/properties/0/desired", "value": desired}])
}

/// A patch that lets the level be read from the other register.
pub(super) fn other_register() -> Json {
    json!([{"op": "replace", "path": "/spec/properties/1/visitors/configData/offset", "value": 1}])
}
