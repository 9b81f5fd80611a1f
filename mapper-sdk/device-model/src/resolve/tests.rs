use proptest::prelude::*;

use super::*;
use crate::{Manifest, parse_manifests};

const BOILER: &str = r#"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: boiler, namespace: plant-a}
spec:
  protocol: modbus
  protocolConfigData: {communicateMode: TCP, port: "502", slaveID: 1}
  properties:
    - name: temperature
      type: FLOAT
      accessMode: ReadOnly
      minimum: "-20"
      maximum: "130"
      unit: celsius
      visitors:
        protocolName: modbus
        configData: {register: HoldingRegister, offset: 0, limit: 1, scale: 0.1}
    - name: setpoint
      type: INT
      accessMode: ReadWrite
      minimum: "30"
      maximum: "90"
    - {name: unused, type: BOOLEAN, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: boiler-01, namespace: plant-a, labels: {description: basement}}
spec:
  deviceModelRef: {name: boiler}
  nodeName: edge-1
  protocol:
    protocolName: modbus
    configData: {ip: 192.0.2.10, slaveID: 3}
  properties:
    - name: temperature
      collectCycle: 10000
      reportToCloud: true
      visitors:
        protocolName: ignored
        configData: {offset: 4, deadband: 0.5}
    - name: setpoint
      desired: {value: "65", metadata: {type: int}}
      visitors: {protocolName: modbus, configData: {register: HoldingRegister, offset: 10}}
"#;

fn parse(text: &str) -> (DeviceModel, DeviceInstance) {
    let mut manifests = parse_manifests(text).unwrap().into_iter();
    match (manifests.next(), manifests.next()) {
        (Some(Manifest::Model(model)), Some(Manifest::Device(device))) => (model, *device),
        other => panic!("{other:?}"),
    }
}

fn refused(change: impl Fn(&mut DeviceModel, &mut DeviceInstance)) -> String {
    let (mut model, mut instance) = parse(BOILER);
    change(&mut model, &mut instance);
    Device::resolve(&model, &instance).unwrap_err().to_string()
}

#[test]
fn the_model_gives_defaults_and_the_instance_wins_key_by_key() {
    let (model, instance) = parse(BOILER);
    let device = Device::resolve(&model, &instance).unwrap();
    assert_eq!(device.config.get("slaveID"), Some(&Scalar::Int(3)));
    assert_eq!(device.config.get("port"), Some(&Scalar::String("502".into())));
    let temperature = device.property("temperature").unwrap();
    assert_eq!(temperature.visitor_protocol, "modbus", "the model's name stands");
    assert_eq!(temperature.visitor.get("offset"), Some(&Scalar::Int(4)));
    assert_eq!(temperature.visitor.get("scale"), Some(&Scalar::Float(0.1)));
    assert_eq!(temperature.options.deadband, Some(0.5));
    assert!(temperature.driver_config().get("deadband").is_none());
    assert_eq!(temperature.collect_cycle, Duration::from_secs(10));
    assert_eq!(temperature.stale_after(), Duration::from_secs(30));
    assert_eq!(
        device.property("setpoint").unwrap().desired.as_ref().unwrap().value,
        Value::Int(65)
    );
    assert!(device.property("unused").is_none(), "what only the model has is not added");
}

#[test]
fn each_fault_names_field_value_and_remedy() {
    let fault = refused(|_, device| {
        device.spec.properties[1].desired =
            Some(Desired { value: "95".into(), ..Default::default() })
    });
    assert_eq!(
        fault,
        "Device plant-a/boiler-01: spec.properties[setpoint].desired.value = \"95\": outside of 30 to 90; write a value within the model's range"
    );
    let fault = refused(|_, device| {
        device.spec.properties[1].desired =
            Some(Desired { value: "hot".into(), ..Default::default() })
    });
    assert!(
        fault.contains("desired.value = \"hot\": not of type INT; write a whole number"),
        "{fault}"
    );
    let fault = refused(|_, device| {
        device.spec.properties[0].desired =
            Some(Desired { value: "20".into(), ..Default::default() })
    });
    assert!(fault.contains("temperature is ReadOnly; remove it"), "{fault}");
    let fault = refused(|_, device| device.spec.properties[1].name = "speed".into());
    assert!(fault.contains("spec.properties[speed].name = \"speed\": not in DeviceModel boiler; use one of temperature"), "{fault}");
    let fault = refused(|model, _| model.spec.properties[0].data_type = "STREAM".into());
    assert!(fault.contains("video streams are not carried"), "{fault}");
    let fault = refused(|_, device| {
        device.spec.protocol.config_data.insert("tcp".into(), serde_json::json!({"ip": "x"}));
    });
    assert!(fault.contains("spec.protocol.configData.tcp"), "{fault}");
    let fault = refused(|_, device| {
        device.spec.protocol.config_data.insert("SlaveId".into(), serde_json::json!(4));
    });
    assert!(fault.contains("differs only in letter case"), "{fault}");
}

#[test]
fn all_faults_are_told_at_once() {
    let fault = refused(|model, device| {
        model.spec.properties[1].access_mode = "Sometimes".into();
        device.spec.properties[0].collect_cycle = -1;
    });
    assert!(fault.contains("Sometimes") && fault.contains("collectCycle"), "{fault}");
}

#[test]
fn an_empty_desired_is_no_wish_but_for_text() {
    let (model, mut instance) = parse(BOILER);
    instance.spec.properties[1].desired = Some(Desired::default());
    let device = Device::resolve(&model, &instance).unwrap();
    assert_eq!(device.property("setpoint").unwrap().desired, None);
}

#[test]
fn devices_share_the_properties_that_are_equal_and_no_other() {
    let (model, instance) = parse(BOILER);
    let first = Device::resolve(&model, &instance).unwrap();
    let mut hotter = instance;
    hotter.metadata.name = "boiler-02".into();
    hotter.spec.properties[1].desired = Some(Desired { value: "70".into(), ..Default::default() });
    hotter.spec.properties.reverse();
    let alone = Device::resolve(&model, &hotter).unwrap();
    let mut second = alone.clone();
    second.share(&first);
    assert_eq!(second, alone, "sharing changes nothing that is said");
    let same = |name: &str| {
        let of = |device: &Device| {
            let found = device.properties.iter().find(|property| property.name.as_str() == name);
            Arc::as_ptr(found.unwrap())
        };
        of(&first) == of(&second)
    };
    assert!(same("temperature"));
    assert!(!same("setpoint"), "another value is desired");
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e6f64..1e6).prop_map(Json::from),
        "[a-z0-9.]{0,8}".prop_map(Json::from),
    ]
}

fn config() -> impl Strategy<Value = Map<String, Json>> {
    prop::collection::btree_map("[a-z]{1,4}", scalar(), 0..4)
        .prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn resolving_is_idempotent(
        defaults in config(), own in config(), visitor in config(), own_visitor in config(),
        desired in prop::option::of(30i64..90), cycle in 0i64..100_000,
    ) {
        let (mut model, mut instance) = parse(BOILER);
        model.spec.protocol_config_data = defaults;
        instance.spec.protocol.config_data = own;
        model.spec.properties[1].visitors = Some(Visitor { protocol_name: "m".into(), config_data: visitor });
        let property = &mut instance.spec.properties[1];
        property.visitors = Some(Visitor { protocol_name: "i".into(), config_data: own_visitor });
        property.desired = desired.map(|value| Desired { value: value.to_string(), ..Default::default() });
        property.collect_cycle = cycle;
        let once = Device::resolve(&model, &instance).unwrap();
        let twice = Device::resolve(&model, &once.to_instance()).unwrap();
        prop_assert_eq!(once, twice);
    }
}
