//! The contract is KubeEdge's: same names, same numbers, same types.

#![expect(clippy::unwrap_used, reason = "a contract that cannot be read fails the test")]

use dmi::proto::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Message, number, name, type; `rep` for repeated, as KubeEdge 1.23 has them.
const FIELDS: &str = "
MapperRegisterRequest 1 withData bool
MapperRegisterRequest 2 mapper MapperInfo
MapperRegisterResponse 1 modelList rep DeviceModel
MapperRegisterResponse 2 deviceList rep Device
MapperInfo 1 name string
MapperInfo 2 version string
MapperInfo 3 api_version string
MapperInfo 4 protocol string
MapperInfo 5 address bytes
MapperInfo 6 state string
ReportDeviceStatusRequest 1 deviceName string
ReportDeviceStatusRequest 2 reportedDevice DeviceStatus
ReportDeviceStatusRequest 3 deviceNamespace string
ReportDeviceStatesRequest 1 deviceName string
ReportDeviceStatesRequest 2 deviceNamespace string
ReportDeviceStatesRequest 3 state string
DeviceStatus 1 twins rep Twin
DeviceStatus 2 reportToCloud bool
DeviceStatus 3 reportCycle int64
Twin 1 propertyName string
Twin 2 observedDesired TwinProperty
Twin 3 reported TwinProperty
TwinProperty 1 value string
TwinProperty 2 metadata map<string,string>
DeviceModel 1 name string
DeviceModel 2 spec DeviceModelSpec
DeviceModel 3 namespace string
DeviceModelSpec 1 properties rep ModelProperty
DeviceModelSpec 2 commands rep DeviceCommand
ModelProperty 1 name string
ModelProperty 2 description string
ModelProperty 3 type string
ModelProperty 4 accessMode string
ModelProperty 5 minimum string
ModelProperty 6 maximum string
ModelProperty 7 unit string
DeviceCommand 1 name string
DeviceCommand 2 url string
DeviceCommand 3 method string
DeviceCommand 4 status_code rep string
DeviceCommand 5 parameters rep string
DeviceCommand 6 response bytes
Device 1 name string
Device 2 spec DeviceSpec
Device 3 status DeviceStatus
Device 4 namespace string
DeviceSpec 1 deviceModelReference string
DeviceSpec 2 protocol ProtocolConfig
DeviceSpec 3 properties rep DeviceProperty
DeviceSpec 4 methods rep DeviceMethod
DeviceMethod 1 name string
DeviceMethod 2 description string
DeviceMethod 3 propertyNames rep string
DeviceProperty 1 name string
DeviceProperty 2 desired TwinProperty
DeviceProperty 3 visitors VisitorConfig
DeviceProperty 4 reportCycle int64
DeviceProperty 5 collectCycle int64
DeviceProperty 6 reportToCloud bool
DeviceProperty 7 pushMethod PushMethod
ProtocolConfig 1 protocolName string
ProtocolConfig 2 configData CustomizedValue
VisitorConfig 1 protocolName string
VisitorConfig 2 configData CustomizedValue
CustomizedValue 1 data map<string,google.protobuf.Any>
PushMethod 1 http PushMethodHTTP
PushMethod 2 mqtt PushMethodMQTT
PushMethod 3 dbMethod DBMethod
PushMethod 4 otel PushMethodOTEL
PushMethod 5 anomalyDetection AnomalyDetection
PushMethodHTTP 1 hostname string
PushMethodHTTP 2 port int64
PushMethodHTTP 3 requestpath string
PushMethodHTTP 4 timeout int64
PushMethodMQTT 1 address string
PushMethodMQTT 2 topic string
PushMethodMQTT 3 qos int32
PushMethodMQTT 4 retained bool
PushMethodOTEL 1 endpointURL string
DBMethod 1 influxdb2 DBMethodInfluxdb2
DBMethod 2 redis DBMethodRedis
DBMethod 3 tdengine DBMethodTDEngine
DBMethod 4 mysql DBMethodMySQL
DBMethodInfluxdb2 1 influxdb2ClientConfig Influxdb2ClientConfig
DBMethodInfluxdb2 2 influxdb2DataConfig Influxdb2DataConfig
Influxdb2ClientConfig 1 url string
Influxdb2ClientConfig 2 org string
Influxdb2ClientConfig 3 bucket string
Influxdb2DataConfig 1 measurement string
Influxdb2DataConfig 2 tag map<string,string>
Influxdb2DataConfig 3 fieldKey string
DBMethodRedis 1 redisClientConfig RedisClientConfig
RedisClientConfig 1 addr string
RedisClientConfig 2 db int32
RedisClientConfig 3 poolsize int32
RedisClientConfig 4 minIdleConns int32
DBMethodTDEngine 1 tdEngineClientConfig TDEngineClientConfig
TDEngineClientConfig 1 addr string
TDEngineClientConfig 2 dbname string
DBMethodMySQL 1 mysqlClientConfig MySQLClientConfig
MySQLClientConfig 1 addr string
MySQLClientConfig 2 database string
MySQLClientConfig 3 userName string
DBMethodOTEL 1 otelExporterConfig OTELExporterConfig
OTELExporterConfig 1 endpointURL string
AnomalyDetection 1 data map<string,google.protobuf.Any>
RegisterDeviceRequest 1 device Device
RegisterDeviceResponse 1 deviceName string
RegisterDeviceResponse 2 deviceNamespace string
RemoveDeviceRequest 1 deviceName string
RemoveDeviceRequest 2 deviceNamespace string
UpdateDeviceRequest 1 device Device
CreateDeviceModelRequest 1 model DeviceModel
CreateDeviceModelResponse 1 deviceModelName string
CreateDeviceModelResponse 2 deviceModelNamespace string
RemoveDeviceModelRequest 1 modelName string
RemoveDeviceModelRequest 2 modelNamespace string
UpdateDeviceModelRequest 1 model DeviceModel
GetDeviceRequest 1 deviceName string
GetDeviceRequest 2 deviceNamespace string
GetDeviceResponse 1 device Device
";

const EMPTY: [&str; 6] = [
    "ReportDeviceStatusResponse",
    "ReportDeviceStatesResponse",
    "RemoveDeviceResponse",
    "UpdateDeviceResponse",
    "RemoveDeviceModelResponse",
    "UpdateDeviceModelResponse",
];

const CALLS: [&str; 10] = [
    "DeviceManagerService/MapperRegister",
    "DeviceManagerService/ReportDeviceStates",
    "DeviceManagerService/ReportDeviceStatus",
    "DeviceMapperService/CreateDeviceModel",
    "DeviceMapperService/GetDevice",
    "DeviceMapperService/RegisterDevice",
    "DeviceMapperService/RemoveDevice",
    "DeviceMapperService/RemoveDeviceModel",
    "DeviceMapperService/UpdateDevice",
    "DeviceMapperService/UpdateDeviceModel",
];

/// Members of our own have numbers from here on, so that no later release of the contract takes them.
const OURS: i32 = 1000;

/// All of them.
const OUR_FIELDS: &str = "
ReportDeviceStatesRequest 1000 reason string
ReportDeviceStatesRequest 1001 problem string
ReportDeviceStatusRequest 1000 more rep ReportDeviceStatusRequest
TwinProperty 1000 timestamp int64
";

fn contract() -> FileDescriptorProto {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    set.file.into_iter().find(|file| file.package() == "v1beta1").unwrap()
}

fn short(type_name: &str) -> &str {
    type_name.trim_start_matches('.').trim_start_matches("v1beta1.")
}

fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Bool => "bool",
        Type::Bytes => "bytes",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::String => "string",
        Type::Message => short(field.type_name()),
        other => panic!("{}.{}: {other:?}", message.name(), field.name()),
    };
    let entry = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(|options| options.map_entry())
            && name.ends_with(&format!(".{}", nested.name()))
    });
    match entry {
        Some(entry) => {
            let [key, value] = entry.field.as_slice() else { panic!("{entry:?}") };
            format!("map<{},{}>", type_of(entry, key), type_of(entry, value))
        }
        None if field.label() == Label::Repeated => format!("rep {name}"),
        None => name.into(),
    }
}

/// Fields whose number is `of` interest, sorted as [`FIELDS`] has them.
fn fields(of: impl Fn(i32) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for message in &contract().message_type {
        for field in message.field.iter().filter(|field| of(field.number())) {
            let kind = type_of(message, field);
            found.push(format!("{} {} {} {kind}", message.name(), field.number(), field.name()));
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn every_field_has_the_number_name_and_type_of_the_contract() {
    let mut wanted: Vec<&str> = FIELDS.trim().lines().collect();
    wanted.sort_unstable();
    assert_eq!(fields(|number| number < OURS), wanted);
}

#[test]
fn members_of_our_own_are_few_and_out_of_the_way() {
    let wanted: Vec<&str> = OUR_FIELDS.trim().lines().collect();
    assert_eq!(fields(|number| number >= OURS), wanted);
}

#[test]
fn every_message_is_there() {
    let contract = contract();
    let mut found: Vec<&str> = contract.message_type.iter().map(DescriptorProto::name).collect();
    let mut wanted: Vec<&str> =
        FIELDS.trim().lines().filter_map(|line| line.split(' ').next()).collect();
    wanted.extend(EMPTY);
    wanted.sort_unstable();
    wanted.dedup();
    found.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn every_call_takes_and_gives_the_messages_of_its_name() {
    let contract = contract();
    let mut found = Vec::new();
    for service in &contract.service {
        for method in &service.method {
            assert_eq!(short(method.input_type()), format!("{}Request", method.name()));
            assert_eq!(short(method.output_type()), format!("{}Response", method.name()));
            assert!(!method.client_streaming() && !method.server_streaming());
            found.push(format!("{}/{}", service.name(), method.name()));
        }
    }
    found.sort();
    assert_eq!(found, CALLS);
}
