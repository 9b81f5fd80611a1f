//! Any octets as a message of a peer: they end in a device, in a report or in problems with a field each, never in a
//! panic; and what was read of a report reads the same when it is written again.
#![no_main]

use std::sync::LazyLock;

use device_model::{Device, Manifest, Problem, Timestamp, parse_manifests};
use dmi::convert::{
    EncodedReport, Peer, TwinRef, instance_from_proto, model_from_proto, report_device,
    report_from_proto,
};
use dmi::proto;
use libfuzzer_sys::fuzz_target;
use prost::Message;

static PUMP: LazyLock<Device> = LazyLock::new(|| {
    let text = "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: m}
spec:
  properties:
  - {name: i, type: INT, accessMode: ReadWrite}
  - {name: f, type: FLOAT}
  - {name: d, type: DOUBLE}
  - {name: s, type: STRING}
  - {name: b, type: BOOLEAN}
  - {name: o, type: BYTES}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump}
spec:
  deviceModelRef: {name: m}
  protocol: {protocolName: p}
  properties: [{name: i}, {name: f}, {name: d}, {name: s}, {name: b}, {name: o}]
";
    match parse_manifests(text).unwrap().as_slice() {
        [Manifest::Model(model), Manifest::Device(device)] => {
            Device::resolve(model, device).unwrap()
        }
        other => panic!("{other:?}"),
    }
});

const NOW: Timestamp = Timestamp::from_millis(1);

fn named(problem: &Problem) {
    assert!(!problem.field.is_empty() && !problem.reason.is_empty() && !problem.remedy.is_empty());
}

fn report(octets: &[u8]) {
    let Ok(message) = proto::ReportDeviceStatusRequest::decode(octets) else { return };
    let _ = report_device(&message).inspect_err(named);
    let report = report_from_proto(message, &PUMP, NOW);
    report.refused.iter().for_each(named);
    let mut written = EncodedReport::new(Peer::Edgetwin);
    written.push(&PUMP.id, report.twins.iter().map(TwinRef::from));
    let written = proto::ReportDeviceStatusRequest::decode(written.as_bytes()).unwrap();
    let again = report_from_proto(written, &PUMP, NOW);
    if !report.twins.is_empty() {
        assert_eq!(format!("{:?}", again.twins), format!("{:?}", report.twins));
    }
}

fn register(octets: &[u8]) {
    let Ok(message) = proto::MapperRegisterResponse::decode(octets) else { return };
    let models: Vec<_> = message.model_list.into_iter().map(model_from_proto).collect();
    for device in message.device_list {
        match instance_from_proto(device) {
            Ok(instance) => {
                for model in &models {
                    let _ = Device::resolve(model, &instance);
                }
            }
            Err(problems) => problems.iter().for_each(named),
        }
    }
}

fuzz_target!(|octets: &[u8]| {
    report(octets);
    register(octets);
});
