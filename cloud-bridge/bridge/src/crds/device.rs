//! `Device`, `devices.kubeedge.io/v1beta1`.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::schema::{anything, integer};

/// One real device.
#[expect(clippy::duplicated_attributes, reason = "each column says its type")]
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "devices.kubeedge.io",
    version = "v1beta1",
    kind = "Device",
    namespaced,
    doc = "One real device: where it is, how it is reached, and what is wanted of it.",
    status = "DeviceStatusLeftover",
    printcolumn(json_path = ".spec.nodeName", name = "Node", type_ = "string"),
    printcolumn(json_path = ".spec.deviceModelRef.name", name = "Model", type_ = "string"),
    printcolumn(json_path = ".spec.protocol.protocolName", name = "Protocol", type_ = "string"),
    printcolumn(json_path = ".metadata.creationTimestamp", name = "Age", type_ = "date")
)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceSpec {
    /// The DeviceModel, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub device_model_ref: Option<ModelRef>,
    /// The edge node that the device hangs on; without one it is sent to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// How the device is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// What is collected and desired of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Vec<DeviceProperty>>,
    /// Named groups of properties that may be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<DeviceMethod>>,
    /// Whether and how often the device's state is reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_report: Option<StateReport>,
}

/// A reference to a DeviceModel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelRef {
    /// Its name.
    pub name: String,
}

/// How a device is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Protocol {
    /// Decides which mapper gets the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_name: Option<String>,
    /// Parameters of the connection: text, numbers and truths.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub config_data: Option<Map<String, Json>>,
}

/// One property of a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceProperty {
    /// As in the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the property should become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<Desired>,
    /// How the property is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitors: Option<Visitor>,
    /// Milliseconds between two reports of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_cycle: Option<i64>,
    /// Milliseconds between two readings of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect_cycle: Option<i64>,
    /// Whether its readings are reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_to_cloud: Option<bool>,
    /// Further receivers of its readings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push_method: Option<PushMethod>,
}

/// What a property should become.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Desired {
    /// The value as text.
    pub value: String,
    /// Free words; mappers use `timestamp` and `type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
}

/// How a property is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Visitor {
    /// Normally the device's protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_name: Option<String>,
    /// Its address: text, numbers and truths.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub config_data: Option<Map<String, Json>>,
}

/// A named group of properties.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeviceMethod {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The properties that it may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_names: Option<Vec<String>>,
}

/// How a device's state is reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StateReport {
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_to_cloud: Option<bool>,
    /// Milliseconds between two reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_cycle: Option<i64>,
}

/// `Device.status`: what is left of it since DeviceStatus came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DeviceStatusLeftover {
    /// Counts where `spec.stateReport` is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_to_cloud: Option<bool>,
    /// Milliseconds; counts where `spec.stateReport` is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report_cycle: Option<i64>,
    /// What others keep there.
    #[serde(flatten)]
    #[schemars(skip)]
    pub others: Map<String, Json>,
}

/// Further receivers of readings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PushMethod {
    /// An HTTP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<PushHttp>,
    /// An MQTT broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<PushMqtt>,
    /// A receiver of OTLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel: Option<PushOtel>,
    /// A database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_method: Option<DbMethod>,
    /// Parameters of a search for anomalies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub anomaly_detection: Option<AnomalyDetection>,
}

/// Parameters of a search for anomalies: free words.
pub type AnomalyDetection = Map<String, Json>;

/// An HTTP server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PushHttp {
    /// With its scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// The path, with its first `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_path: Option<String>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// An MQTT broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PushMqtt {
    /// Its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where to publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(rename = "qos")]
    pub qos: Option<i32>,
    /// Whether the broker keeps the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained: Option<bool>,
}

/// A receiver of OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PushOtel {
    /// Where it is.
    #[serde(rename = "endpointURL", skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DbMethod {
    /// InfluxDB 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub influxdb2: Option<InfluxDb>,
    /// Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// TDengine.
    #[serde(rename = "TDEngine", skip_serializing_if = "Option::is_none")]
    pub td_engine: Option<TdEngine>,
    /// MySQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<Mysql>,
}

/// InfluxDB 2.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InfluxDb {
    /// Where it is.
    #[serde(rename = "influxdb2ClientConfig", skip_serializing_if = "Option::is_none")]
    pub client: Option<InfluxClient>,
    /// What is written.
    #[serde(rename = "influxdb2DataConfig", skip_serializing_if = "Option::is_none")]
    pub data: Option<InfluxData>,
}

/// Where InfluxDB is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InfluxClient {
    /// Its URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The organization there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    /// The bucket there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
}

/// What is written to InfluxDB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InfluxData {
    /// The measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measurement: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<BTreeMap<String, String>>,
    /// The key of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_key: Option<String>,
}

/// Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Redis {
    /// Where it is.
    #[serde(rename = "redisClientConfig", skip_serializing_if = "Option::is_none")]
    pub client: Option<RedisClient>,
}

/// Where Redis is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RedisClient {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// Number of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "integer")]
    pub db: Option<i64>,
    /// Connections at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "integer")]
    pub poolsize: Option<i64>,
    /// Connections at least.
    #[serde(rename = "minIdleConns", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "integer")]
    pub min_idle_conns: Option<i64>,
}

/// TDengine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TdEngine {
    /// Where it is.
    #[serde(rename = "TDEngineClientConfig", skip_serializing_if = "Option::is_none")]
    pub client: Option<TdEngineClient>,
}

/// Where TDengine is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TdEngineClient {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// The database there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db_name: Option<String>,
}

/// MySQL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Mysql {
    /// Where it is.
    #[serde(rename = "mysqlClientConfig", skip_serializing_if = "Option::is_none")]
    pub client: Option<MysqlClient>,
}

/// Where MySQL is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MysqlClient {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// The database there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Who asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
}
