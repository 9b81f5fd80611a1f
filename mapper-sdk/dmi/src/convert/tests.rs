use std::sync::Arc;

use device_model::{
    AckCode, Device, DeviceId, DeviceInstance, DeviceModel, Generation, Manifest, Scalar,
    Timestamp, Value, parse_manifests,
};
use proptest::prelude::*;
use prost::Message;
use prost_types::Any;
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::proto;
use crate::trace::TraceId;

mod report;

const PUMP: &str = r#"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump, namespace: demo}
spec:
  protocol: modbus
  protocolConfigData: {timeout: 500ms, slaveID: 1}
  properties:
  - {name: speed, type: INT, accessMode: ReadWrite, minimum: "0", maximum: "3000", unit: rpm,
     visitors: {protocolName: modbus, configData: {register: HoldingRegister, offset: 7, scale: 0.1}}}
  - {name: flow, type: FLOAT, accessMode: ReadOnly, description: measured behind the pump}
  - {name: label, type: STRING, accessMode: ReadWrite}
  - {name: blob, type: BYTES, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump-1, namespace: demo}
spec:
  deviceModelRef: {name: pump}
  protocol: {protocolName: modbus, configData: {host: 127.0.0.1, port: 502}}
  stateReport: {reportToCloud: true, reportCycle: 5000}
  methods: [{name: start, propertyNames: [speed]}]
  properties:
  - name: speed
    collectCycle: 250
    desired: {value: "1450", metadata: {note: from the folder}}
    pushMethod:
      http: {hostName: "http://h", port: 80, requestPath: /in, timeout: 3}
      dbMethod: {TDEngine: {TDEngineClientConfig: {addr: "td:6041", dbName: d}}}
  - {name: flow, visitors: {protocolName: modbus, configData: {register: InputRegister, offset: 8}}}
  - {name: label}
  - {name: blob}
"#;

fn pump() -> (DeviceModel, DeviceInstance) {
    match parse_manifests(PUMP).unwrap().as_slice() {
        [Manifest::Model(model), Manifest::Device(instance)] => {
            (model.clone(), instance.as_ref().clone())
        }
        other => panic!("{other:?}"),
    }
}

fn resolved() -> (DeviceModel, Device) {
    let (model, instance) = pump();
    let device = Device::resolve(&model, &instance).unwrap();
    (model, device)
}

/// Through the octets of the message, as a peer gets it.
fn sent<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn received(model: &DeviceModel, message: &proto::Device) -> Device {
    let model = model_from_proto(sent(&model_to_proto(model)));
    Device::resolve(&model, &instance_from_proto(sent(message)).unwrap()).unwrap()
}

#[test]
fn a_mapper_resolves_the_device_that_the_agent_has() {
    let (model, device) = resolved();
    for peer in [Peer::Edgetwin, Peer::KubeEdge] {
        let mut there = received(&model, &device_to_proto(&device, |_| None, peer).unwrap());
        assert_eq!(there.property("speed").unwrap().desired, None, "the manifest's is out of date");
        let first = Arc::make_mut(&mut there.properties[0]);
        first.desired = device.properties[0].desired.clone();
        first.push_method = device.properties[0].push_method.clone();
        assert_eq!(there, device);
    }
}

#[test]
fn where_nothing_is_desired_the_message_says_so_and_the_mapper_understands() {
    let (model, device) = resolved();
    let message = device_to_proto(&device, |_| None, Peer::KubeEdge).unwrap();
    for property in &message.spec.as_ref().unwrap().properties {
        assert_eq!(property.desired, Some(proto::TwinProperty::default()));
    }
    for property in received(&model, &message).properties {
        assert_eq!(property.desired, None, "{}", property.name);
    }
}

#[test]
fn an_empty_text_may_be_desired() {
    let (model, device) = resolved();
    let twin = DesiredTwin {
        value: Value::String(String::new()),
        generation: Generation(3),
        set_at: Timestamp::from_millis(17),
        ack: None,
        trace: None,
    };
    let desired = |property: &device_model::Property| {
        (property.name.as_str() == "label").then(|| twin.clone())
    };
    let there = received(&model, &device_to_proto(&device, desired, Peer::Edgetwin).unwrap());
    let desire = there.property("label").unwrap().desired.clone().unwrap();
    assert_eq!(desire.value, twin.value);
    assert_eq!(DesiredWords::read(&desire.metadata).generation, Some(Generation(3)));
}

#[test]
fn the_words_beside_a_desired_value_arrive_and_those_of_the_manifest_with_them() {
    let (model, device) = resolved();
    let trace = TraceId::random();
    let twin = |value| DesiredTwin {
        value: Value::Int(value),
        generation: Generation(9),
        set_at: Timestamp::from_millis(1_700_000_000_123),
        ack: Some((Generation(8), AckCode::Verified)),
        trace: Some(trace),
    };
    let metadata = |value| {
        let desired = |property: &device_model::Property| {
            (property.name.as_str() == "speed").then(|| twin(value))
        };
        let message = device_to_proto(&device, desired, Peer::Edgetwin).unwrap();
        received(&model, &message).property("speed").unwrap().desired.clone().unwrap().metadata
    };
    let words = DesiredWords::read(&metadata(1450));
    assert_eq!(words.generation, Some(Generation(9)));
    assert_eq!(words.set_at, Some(Timestamp::from_millis(1_700_000_000_123)));
    assert_eq!(words.data_type, Some(device_model::DataType::Int));
    assert_eq!(words.ack, Some((Generation(8), AckCode::Verified)));
    assert_eq!(words.trace, Some(trace));
    assert_eq!(metadata(1450)["note"], "from the folder");
    assert!(!metadata(1500).contains_key("note"), "the note is about another value");
}

#[test]
fn words_of_users_are_no_fault() {
    let metadata = [("version", "two"), ("timestamp", ""), ("type", "thing"), ("ackCode", "1")];
    let metadata = metadata.map(|(key, word)| (key.to_owned(), word.to_owned())).into();
    assert_eq!(DesiredWords::read(&metadata), DesiredWords::default());
}

fn any<M: Message>(wrapper: &str, value: &M) -> Any {
    Any { type_url: format!("example.org/google.protobuf.{wrapper}"), value: value.encode_to_vec() }
}

#[test]
fn every_wrapper_is_read() {
    use prost_types::value::Kind;
    let number = prost_types::Value { kind: Some(Kind::NumberValue(4.0)) };
    let list = prost_types::ListValue { values: vec![number.clone()] };
    let object = prost_types::Struct { fields: [("a".to_owned(), number.clone())].into() };
    let nested = prost_types::Value { kind: Some(Kind::StructValue(object.clone())) };
    let text = |text: &str| Some(Scalar::String(text.into()));
    let cases = [
        (any("Int32Value", &-7i32), Some(Scalar::Int(-7))),
        (any("Int64Value", &i64::MIN), Some(Scalar::Int(i64::MIN))),
        (any("UInt32Value", &u32::MAX), Some(Scalar::Int(u32::MAX.into()))),
        (any("UInt64Value", &7u64), Some(Scalar::Int(7))),
        (any("UInt64Value", &u64::MAX), text("18446744073709551615")),
        (any("FloatValue", &502f32), Some(Scalar::Int(502))),
        (any("FloatValue", &0.1f32), Some(Scalar::Float(0.1))),
        (any("DoubleValue", &-0.25f64), Some(Scalar::Float(-0.25))),
        (any("DoubleValue", &9f64), Some(Scalar::Int(9))),
        (any("BoolValue", &true), Some(Scalar::Boolean(true))),
        (any("StringValue", &"tcp".to_owned()), text("tcp")),
        (any("BytesValue", &vec![0xfbu8, 0xff]), text("-_8")),
        (any("Value", &number), Some(Scalar::Int(4))),
        (any("Value", &prost_types::Value { kind: None }), None),
        (any("Value", &nested), text(r#"{"a":4}"#)),
        (any("ListValue", &list), text("[4]")),
        (any("Struct", &object), text(r#"{"a":4}"#)),
    ];
    for (any, scalar) in cases {
        assert_eq!(scalar_from_any(&any), Ok(scalar), "{}", any.type_url);
    }
}

#[test]
fn what_is_no_scalar_is_named_with_its_place() {
    let mut config = proto::CustomizedValue::default();
    config.data.insert("port".into(), any("Duration", &0i32));
    let problem = config_from_proto("spec.protocol.configData", Some(&config)).unwrap_err();
    assert_eq!(problem.field, "spec.protocol.configData.port");
    assert!(problem.to_string().contains("google.protobuf.Duration"), "{problem}");
    assert!(scalar_from_any(&any("DoubleValue", &f64::NAN)).is_err());
    assert!(
        scalar_from_any(&Any { type_url: "google.protobuf.BoolValue".into(), value: vec![9] })
            .is_err()
    );
}

#[test]
fn peers_made_with_kubeedge_get_wrappers_that_they_read() {
    let wrapper = |scalar, peer| scalar_to_any(&scalar, peer).type_url;
    let name = |wrapper| format!("type.googleapis.com/google.protobuf.{wrapper}");
    assert_eq!(wrapper(Scalar::Int(502), Peer::KubeEdge), name("Int64Value"));
    assert_eq!(wrapper(Scalar::Float(0.1), Peer::KubeEdge), name("FloatValue"));
    assert_eq!(wrapper(Scalar::Float(1e300), Peer::KubeEdge), name("StringValue"));
    assert_eq!(wrapper(Scalar::Float(0.1), Peer::Edgetwin), name("DoubleValue"));
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any_bool().prop_map(Scalar::Boolean),
        proptest::arbitrary::any::<i64>().prop_map(Scalar::Int),
        proptest::num::f64::NORMAL.prop_map(Scalar::number),
        ".{0,12}".prop_map(Scalar::String),
    ]
}

fn any_bool() -> impl Strategy<Value = bool> {
    proptest::arbitrary::any::<bool>()
}

proptest! {
    #[test]
    fn a_config_comes_back_from_one_of_ours(
        values in prop::collection::btree_map("[a-zA-Z]{1,6}", scalar(), 0..6),
    ) {
        let config = device_model::Config::new("c", values.clone());
        let message = sent(&config_to_proto(&config, Peer::Edgetwin));
        let object: Map<String, Json> = config_from_proto("c", Some(&message)).unwrap();
        let back = object.into_iter().map(|(key, json)| (key, serde_json::from_value(json).unwrap()));
        prop_assert_eq!(back.collect::<std::collections::BTreeMap<String, Scalar>>(), values);
    }

    #[test]
    fn a_float_of_32_bits_comes_back_from_anybody(number in proptest::num::f32::NORMAL) {
        let scalar = Scalar::number(number.to_string().parse().unwrap());
        let any = scalar_to_any(&scalar, Peer::KubeEdge);
        prop_assert_eq!(scalar_from_any(&any), Ok(Some(scalar)));
    }

    #[test]
    fn no_octets_make_reading_panic(octets in prop::collection::vec(proptest::arbitrary::any::<u8>(), 0..200)) {
        let (model, device) = resolved();
        if let Ok(message) = proto::ReportDeviceStatusRequest::decode(octets.as_slice()) {
            let _ = report_from_proto(message, &device, Timestamp::default());
        }
        if let Ok(message) = proto::Device::decode(octets.as_slice())
            && let Ok(instance) = instance_from_proto(message)
        {
            let _ = Device::resolve(&model, &instance);
        }
        if let Ok(message) = proto::DeviceModel::decode(octets.as_slice()) {
            let _ = model_from_proto(message);
        }
        for wrapper in ["Struct", "Value", "ListValue", "StringValue", "UInt64Value"] {
            let type_url = format!("a/google.protobuf.{wrapper}");
            let _ = scalar_from_any(&Any { type_url, value: octets.clone() });
        }
    }
}

#[test]
fn names_that_no_device_has_are_refused_by_their_field() {
    assert_eq!(device_id("", "pump").unwrap(), DeviceId::new("default", "pump").unwrap());
    assert_eq!(device_id("demo", "").unwrap_err().field, "deviceName");
    assert_eq!(device_id("De/mo", "pump").unwrap_err().field, "deviceNamespace");
}

#[test]
fn push_methods_come_back_under_the_names_of_a_manifest() {
    let push = json!({
        "http": {"hostName": "http://h", "port": 8080, "requestPath": "/in", "timeout": 30},
        "mqtt": {"address": "tcp://h:1883", "topic": "t", "qos": 1, "retained": true},
        "otel": {"endpointURL": "http://h:4318/v1/metrics"},
        "dbMethod": {
            "influxdb2": {
                "influxdb2ClientConfig": {"url": "http://i", "org": "o", "bucket": "b"},
                "influxdb2DataConfig": {"measurement": "m", "tag": {"k": "v"}, "fieldKey": "f"},
            },
            "redis": {"redisClientConfig": {"addr": "r", "db": 1, "poolsize": 2, "minIdleConns": 3}},
            "TDEngine": {"TDEngineClientConfig": {"addr": "t", "dbName": "d"}},
            "mysql": {"mysqlClientConfig": {"addr": "m", "database": "d", "userName": "u"}},
        },
    });
    let message = push_method_to_proto("p", &push, Peer::Edgetwin).unwrap();
    assert_eq!(push_method_from_proto(sent(&message), None), push);
}

#[test]
fn push_methods_are_found_in_any_letter_case_and_wrong_ones_named() {
    let push = json!({"HTTP": {"hostname": "h", "requestpath": null, "extra": [1]}});
    let message = push_method_to_proto("p", &push, Peer::Edgetwin).unwrap();
    assert_eq!(message.http.unwrap().hostname, "h");
    let refused = |push: Json| push_method_to_proto("p", &push, Peer::KubeEdge).unwrap_err();
    assert_eq!(
        refused(json!({"mqtt": {"qos": "1"}})).to_string(),
        "p.mqtt.qos = \"\"1\"\": not a whole number that fits; write one, without quotes"
    );
    assert_eq!(refused(json!({"mqtt": {"qos": 5_000_000_000_i64}})).field, "p.mqtt.qos");
    assert_eq!(refused(json!({"http": "h"})).field, "p.http");
    assert_eq!(refused(json!({"anomalyDetection": {"a": {}}})).field, "p.anomalyDetection.a");
}

#[test]
fn anomaly_detection_reaches_the_mapper_as_it_stood() {
    let (model, mut instance) = pump();
    let push =
        json!({"anomalyDetection": {"window": 5, "factor": 0.5, "kind": "zscore", "on": true}});
    instance.spec.properties[0].push_method = Some(push.clone());
    let device = Device::resolve(&model, &instance).unwrap();
    let message = device_to_proto(&device, |_| None, Peer::KubeEdge).unwrap();
    assert_eq!(received(&model, &message).properties[0].push_method, Some(push));
}

#[test]
fn only_a_peer_that_knows_every_member_of_ours_gets_them() {
    assert_eq!(Peer::from_capabilities(Some(headers::OUR_CAPABILITIES)), Peer::Edgetwin);
    assert_eq!(Peer::from_capabilities(Some("reports, later, quality, ack")), Peer::Edgetwin);
    for words in [None, Some(""), Some("ack,quality,lease"), Some("reports")] {
        assert_eq!(Peer::from_capabilities(words), Peer::KubeEdge, "{words:?}");
    }
}
