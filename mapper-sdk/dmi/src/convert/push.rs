//! Push methods: what a manifest spells `hostName` the message calls `hostname`, and so on.
//!
//! KubeEdge matches names in any letter case, and passes over members that it does not know; so do we.

mod database;
mod members;

use device_model::{Problem, Scalar};
use serde_json::{Map, Value as Json, json};

use self::members::Members;
use super::{Peer, scalar_to_any};
use crate::proto::{AnomalyDetection, PushMethod, PushMethodHttp, PushMethodMqtt, PushMethodOtel};

/// The message for a manifest's `pushMethod`, which stands at `path`.
///
/// # Errors
/// The first member of another type than the contract's, and what would do.
pub fn push_method_to_proto(path: &str, push: &Json, peer: Peer) -> Result<PushMethod, Problem> {
    let push = Members::new(path.into(), push)?;
    Ok(PushMethod {
        http: push.object("http")?.map(|http| http_to_proto(&http)).transpose()?,
        mqtt: push.object("mqtt")?.map(|mqtt| mqtt_to_proto(&mqtt)).transpose()?,
        db_method: push.object("dbMethod")?.map(|db| database::to_proto(&db)).transpose()?,
        otel: push
            .object("otel")?
            .map(|otel| Ok(PushMethodOtel { endpoint_url: otel.text("endpointURL")? }))
            .transpose()?,
        anomaly_detection: push
            .object("anomalyDetection")?
            .map(|anomaly| anomaly_to_proto(&anomaly, peer))
            .transpose()?,
    })
}

/// The `pushMethod` that a manifest would hold, with `anomaly` in place of the message's own.
pub fn push_method_from_proto(push: PushMethod, anomaly: Option<Map<String, Json>>) -> Json {
    let mut object = Map::new();
    let mut put = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            object.insert(key.into(), value);
        }
    };
    let http = |http: PushMethodHttp| {
        json!({
            "hostName": http.hostname, "port": http.port,
            "requestPath": http.requestpath, "timeout": http.timeout,
        })
    };
    let mqtt = |mqtt: PushMethodMqtt| {
        json!({
            "address": mqtt.address, "topic": mqtt.topic,
            "qos": mqtt.qos, "retained": mqtt.retained,
        })
    };
    put("http", push.http.map(http));
    put("mqtt", push.mqtt.map(mqtt));
    put("otel", push.otel.map(|otel| json!({ "endpointURL": otel.endpoint_url })));
    put("dbMethod", push.db_method.map(database::from_proto));
    put("anomalyDetection", anomaly.map(Json::Object));
    Json::Object(object)
}

fn http_to_proto(http: &Members) -> Result<PushMethodHttp, Problem> {
    Ok(PushMethodHttp {
        hostname: http.text("hostName")?,
        port: http.integer("port")?,
        requestpath: http.text("requestPath")?,
        timeout: http.integer("timeout")?,
    })
}

fn mqtt_to_proto(mqtt: &Members) -> Result<PushMethodMqtt, Problem> {
    Ok(PushMethodMqtt {
        address: mqtt.text("address")?,
        topic: mqtt.text("topic")?,
        qos: mqtt.integer("qos")?,
        retained: mqtt.truth("retained")?,
    })
}

fn anomaly_to_proto(anomaly: &Members, peer: Peer) -> Result<AnomalyDetection, Problem> {
    let data = anomaly.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| {
        let scalar: Scalar = serde_json::from_value(value.clone()).map_err(|_| {
            anomaly.problem(key, "not a scalar", "write text, a number, true or false")
        })?;
        Ok((key.clone(), scalar_to_any(&scalar, peer)))
    });
    Ok(AnomalyDetection { data: data.collect::<Result<_, Problem>>()? })
}
