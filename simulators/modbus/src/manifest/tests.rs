//! Manifests as KubeEdge's users write them, and what wrong ones are told.

use crate::table::Table;
use crate::{Blueprint, Handle, Missing, Simulation, Station, Wire};

/// A model and a device around these properties of both.
fn manifests(model: &str, protocol: &str, device: &str) -> String {
    format!(
        "
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {{name: boiler, namespace: plant}}
spec:
  protocol: modbus
  protocolConfigData: {{communicateMode: TCP, port: '502', slaveID: 1}}
  properties: [{model}]
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: boiler-01, namespace: plant}}
spec:
  deviceModelRef: {{name: boiler}}
  protocol: {{protocolName: modbus, configData: {{{protocol}}}}}
  properties: [{device}]
"
    )
}

fn property(data_type: &str, visitor: &str) -> String {
    manifests(
        &format!("{{name: p, type: {data_type}, visitors: {{configData: {{{visitor}}}}}}}"),
        "",
        "{name: p}",
    )
}

fn handle(text: &str) -> Handle {
    Simulation::new(Blueprint::parse(text).unwrap()).handle()
}

fn problems(text: &str) -> String {
    Blueprint::parse(text).unwrap_err().to_string()
}

#[test]
fn the_instance_is_laid_over_the_model_key_by_key() {
    let text = manifests(
        "{name: t, type: FLOAT, visitors: {configData: {register: HoldingRegister, offset: 0, limit: 1, scale: 0.1}}},
         {name: unused, type: INT, visitors: {configData: {register: InputRegister}}}",
        "slaveID: '3', ip: 192.0.2.10",
        "{name: t, visitors: {configData: {Offset: '4', simValue: '21.5'}}}",
    );
    let stations = Blueprint::stations(&text).unwrap();
    let [Station { wire, devices, blueprint }] = stations.as_slice() else {
        panic!("{stations:?}")
    };
    assert_eq!(*wire, Wire::Tcp { host: "192.0.2.10".into(), port: 502 });
    assert_eq!(devices, &["plant/boiler-01"]);
    assert_eq!(blueprint.units(), [3]);
    let handle = handle(&text);
    assert_eq!(handle.holding(3, 4), Ok(215));
    assert!(handle.holding(3, 0).is_err());
    assert!(handle.read(3, Table::Input, 0, 1).is_err(), "the device has no such property");
}

#[test]
fn keys_in_any_case_and_legacy_swaps_are_understood() {
    let text = property(
        "INT",
        "Register: holdingregister, OFFSET: '2', RAWTYPE: INT32, IsSwap: 'true', isregisterswap: true, simvalue: 168496141",
    );
    assert_eq!(handle(&text).read(1, Table::Holding, 2, 2).unwrap(), [0x0D0C, 0x0B0A]);
}

#[test]
fn without_a_raw_type_the_type_and_the_limit_decide() {
    for (data_type, limit, value, words) in [
        ("INT", "1", "-2", vec![0xFFFE]),
        ("INT", "2", "65536", vec![1, 0]),
        ("INT", "4", "18446744073709551615", vec![0xFFFF; 4]),
        ("FLOAT", "1", "7", vec![7]),
        ("FLOAT", "2", "1.0", vec![0x3F80, 0]),
        ("DOUBLE", "4", "1.0", vec![0x3FF0, 0, 0, 0]),
        ("BOOLEAN", "1", "true", vec![1]),
        ("STRING", "3", "abcd", vec![0x6162, 0x6364, 0]),
    ] {
        let text = property(
            data_type,
            &format!("register: InputRegister, limit: {limit}, simValue: '{value}'"),
        );
        let count = u16::try_from(words.len()).unwrap();
        let found = handle(&text).read(1, Table::Input, 0, count).unwrap();
        assert_eq!(found, words, "{data_type} of {limit}");
    }
}

#[test]
fn values_start_at_the_minimum_where_zero_is_not_allowed() {
    let start = |minimum| {
        let text = manifests(
            &format!(
                "{{name: p, type: INT, minimum: {minimum}, visitors: {{configData: {{register: HoldingRegister}}}}}}"
            ),
            "",
            "{name: p}",
        );
        handle(&text).holding(1, 0).unwrap()
    };
    assert_eq!((start("'30'"), start("-30")), (30, 0));
}

#[test]
fn addresses_can_count_from_one() {
    let text = manifests(
        "{name: p, type: INT, visitors: {configData: {register: HoldingRegister, simValue: 5}}}",
        "addressBase: 1",
        "{name: p, visitors: {configData: {offset: 10}}}",
    );
    assert_eq!(handle(&text).holding(1, 9), Ok(5));
}

#[test]
fn a_value_written_elsewhere_shows_where_it_is_read() {
    let text = property(
        "INT",
        "register: InputRegister, offset: 7, writeRegister: HoldingRegister, writeOffset: 3, simValue: 4",
    );
    let handle = handle(&text);
    assert_eq!(handle.value("plant/boiler-01", "p"), Ok(4.0));
    handle.write(1, Table::Holding, 3, &[9]).unwrap();
    assert_eq!(handle.read(1, Table::Input, 7, 1).unwrap(), [9]);
}

#[test]
fn properties_are_reached_by_name_and_type() {
    let text = property("FLOAT", "register: HoldingRegister, rawType: f32, order: CDAB, scale: 2");
    let handle = handle(&text);
    handle.set_value("plant/boiler-01", "p", 43.0).unwrap();
    assert_eq!(handle.read(1, Table::Holding, 0, 2).unwrap(), [0, 0x41AC]);
    assert_eq!(handle.value("plant/boiler-01", "p"), Ok(43.0));
    assert!(matches!(handle.value("plant/boiler", "p"), Err(Missing::Property { .. })));
}

#[test]
fn several_devices_share_a_line_or_a_unit() {
    let one = property("INT", "register: HoldingRegister");
    let other =
        one.replace("boiler-01", "boiler-02").replace("configData: {}", "configData: {slaveID: 2}");
    let third = one
        .replace("boiler-01", "boiler-03")
        .replace("register: HoldingRegister", "register: CoilRegister");
    let third = third.replace("name: boiler", "name: valve");
    let text = [one, other, third].join("\n---\n");
    let stations = Blueprint::stations(&text).unwrap();
    assert_eq!(stations.len(), 1);
    assert_eq!(stations[0].devices, ["plant/boiler-01", "plant/boiler-02", "plant/valve-03"]);
    let handle = handle(&text);
    assert_eq!(handle.units(), [1, 2]);
    assert!(handle.coil(1, 0).is_ok() && handle.holding(1, 0).is_ok());
}

#[test]
fn one_unit_on_two_wires_needs_two_simulations() {
    let one = property("INT", "register: HoldingRegister");
    let other = one
        .replace("boiler-01", "boiler-02")
        .replace("configData: {}", "configData: {ip: 192.0.2.2}");
    let text = [one, other].join("\n---\n");
    assert_eq!(Blueprint::stations(&text).unwrap().len(), 2);
    let error = problems(&text);
    assert!(
        error.starts_with(
            "Device plant/boiler-02 spec.protocol.configData.slaveID: 1: plant/boiler-01 has"
        ),
        "{error}"
    );
}

#[test]
fn problems_name_field_value_and_remedy_all_at_once() {
    let text = manifests(
        "{name: a, type: INT, visitors: {configData: {register: Holding Register}}},
         {name: b, type: INT, visitors: {configData: {register: HoldingRegister, offset: 70000}}},
         {name: c, type: INT, visitors: {configData: {register: HoldingRegister, limit: 3}}},
         {name: d, type: FLOAT, visitors: {configData: {register: HoldingRegister, limit: 2, order: ABDC}}},
         {name: e, type: INT, visitors: {configData: {offset: 1}}},
         {name: f, type: INT, visitors: {configData: {register: InputRegister, simFollow: g}}},
         {name: h, type: INT, visitors: {configData: {register: InputRegister, simWave: sinus, simPeriod: 10}}}",
        "slaveID: 248, port: http, addressBase: 2, communicateMode: UDP",
        "{name: a}, {name: b}, {name: c}, {name: d}, {name: e}, {name: f}, {name: h}, {name: z}",
    );
    let error = problems(&text);
    for line in [
        "Device plant/boiler-01 spec.protocol.configData.slaveID: 248: write a whole number from 0 to 247",
        "configData.port: \"http\": write a whole number from 0 to 65535",
        "configData.addressBase: 2: write a whole number from 0 to 1",
        "configData.communicateMode: \"UDP\": write TCP, RTU or RTU-over-TCP",
        "spec.properties[a].visitors.configData.register: \"Holding Register\": write CoilRegister",
        "spec.properties[b].visitors.configData.offset: 70000: write a whole number from 0 to 65535",
        "spec.properties[c].visitors.configData.limit: 3: write 1, 2 or 4, or name the rawType",
        "spec.properties[d].visitors.configData.order: \"ABDC\": write ABCD",
        "spec.properties[e].visitors.configData.register: nothing: write CoilRegister",
        "spec.properties[f].visitors.configData.simFollow: g: name another property",
        "spec.properties[h].visitors.configData.simWave: \"sinus\": write constant, sine",
        "spec.properties[h].visitors.configData.simPeriod: 10: write a time with its unit",
        "spec.properties[z].name: z: name a property of DeviceModel boiler",
    ] {
        assert!(error.contains(line), "{line}\n--\n{error}");
    }
}

#[test]
fn what_is_missing_around_a_device_is_named() {
    let text = property("INT", "register: HoldingRegister");
    let error =
        problems(&text.replace("deviceModelRef: {name: boiler}", "deviceModelRef: {name: x}"));
    assert!(error.contains("spec.deviceModelRef.name: x: give the DeviceModel"), "{error}");
    let error = problems(&text.replace("v1beta1", "v1alpha2"));
    assert!(error.contains("v1alpha2: write devices.kubeedge.io/v1beta1"), "{error}");
    let error = problems("kind: Pod");
    assert!(error.contains("give at least one Device of protocol modbus"), "{error}");
    let error = problems("a: [");
    assert!(error.starts_with("YAML: "), "{error}");
}

#[test]
fn the_demo_starts_with_values_that_make_sense() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../device-profiles/demo");
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        text.push_str("\n---\n");
        text.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let mut stations = Blueprint::stations(&text).unwrap();
    stations.sort_by_key(|station| station.devices.len());
    let [tcp, line] = stations.as_slice() else { panic!("{stations:?}") };
    assert_eq!(tcp.devices, ["demo/pump"]);
    assert!(matches!(&line.wire, Wire::Serial { baud: 19_200, .. }), "{}", line.wire);

    let pump = Simulation::new(tcp.blueprint.clone()).handle();
    let pressure = pump.value("demo/pump", "pressure").unwrap();
    assert!((2.4..=3.1).contains(&pressure), "{pressure}");
    assert_eq!(pump.value("demo/pump", "speed"), Ok(0.0));
    let line = Simulation::new(line.blueprint.clone()).handle();
    let energy = line.value("demo/meter", "energy").unwrap();
    assert!((energy - 48_213.407).abs() < 0.01, "{energy}");
    assert_eq!(line.value("demo/room", "setpoint"), Ok(20.0));
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_read_without_panic(text in "(?s).{0,200}") {
            let _ = Blueprint::parse(&text);
        }

        #[test]
        fn in_a_visitor_is_read_without_panic(
            key in prop::sample::select(vec![
                "register", "offset", "limit", "count", "bit", "rawType", "order", "scale", "valueOffset", "writeOffset",
                "simWave", "simMin", "simMax", "simPeriod", "simStep", "simValue", "simFollow",
            ]),
            value in prop_oneof![
                any::<f64>().prop_map(|number| number.to_string()),
                any::<i64>().prop_map(|number| number.to_string()),
                prop::sample::select(vec!["sine", "counter", "u64", "f64", "bits", "string", "p", "1ms", "1e300h", "true", "[]", "{}"])
                    .prop_map(str::to_owned),
            ],
        ) {
            let visitor = format!("register: HoldingRegister, rawType: u32, {key}: {value}");
            let visitor = visitor.replace(&format!("rawType: u32, rawType: {value}"), &format!("rawType: {value}"));
            let visitor = visitor.replace(&format!("register: HoldingRegister, rawType: u32, register: {value}"), &format!("register: {value}"));
            if let Ok(blueprint) = Blueprint::parse(&property("INT", &visitor)) {
                let handle = Simulation::new(blueprint).handle();
                let _ = handle.value("plant/boiler-01", "p");
            }
        }
    }
}
