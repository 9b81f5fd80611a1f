//! Devices for tests, written as manifests.

use device_model::{Device, Manifest, parse_manifests};

/// A device with one property `it`; `protocol` and `visitor` are YAML maps.
pub(crate) fn device(protocol: &str, data_type: &str, access: &str, visitor: &str) -> Device {
    ranged(protocol, data_type, access, visitor, "")
}

/// The same with a smallest value.
pub(crate) fn ranged(
    protocol: &str,
    data_type: &str,
    access: &str,
    visitor: &str,
    minimum: &str,
) -> Device {
    let text = format!(
        "apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: m}}
spec:
  properties: [{{name: it, type: {data_type}, accessMode: {access}, minimum: \"{minimum}\"}}]
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: d}}
spec:
  deviceModelRef: {{name: m}}
  protocol: {{protocolName: modbus, configData: {protocol}}}
  properties: [{{name: it, visitors: {{protocolName: modbus, configData: {visitor}}}}}]
"
    );
    let manifests = parse_manifests(&text).unwrap();
    let [Manifest::Model(model), Manifest::Device(device)] = manifests.as_slice() else {
        panic!("a model and a device")
    };
    Device::resolve(model, device).unwrap()
}
