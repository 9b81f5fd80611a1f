//! The custom resources, as types and as what a cluster is told of them.
//!
//! They are KubeEdge's, field by field: a cluster may have either's definitions, and neither program notices. Ours add
//! columns for `kubectl get`, and leave `devices.kubeedge.io/v1alpha2` away, which KubeEdge still serves with most of its
//! fields pruned.

mod device;
mod model;
mod schema;
mod status;
mod sync;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use device::{
    AnomalyDetection, DbMethod, Desired, Device, DeviceMethod, DeviceProperty, DeviceSpec,
    DeviceStatusLeftover, InfluxClient, InfluxData, InfluxDb, ModelRef, Mysql, MysqlClient,
    Protocol, PushHttp, PushMethod, PushMqtt, PushOtel, Redis, RedisClient, StateReport, TdEngine,
    TdEngineClient, Visitor,
};
pub use model::{AccessMode, DeviceModel, DeviceModelSpec, ModelProperty, PropertyType};
pub use status::{DeviceStatus, DeviceStatusSpec, DeviceStatusStatus, Twin, TwinValue};
pub use sync::{
    ClusterObjectSync, ClusterObjectSyncSpec, ObjectSync, ObjectSyncSpec, ObjectSyncStatus,
};

/// The definitions of all of them, in the order of their names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = [
        ClusterObjectSync::crd(),
        DeviceModel::crd(),
        Device::crd(),
        DeviceStatus::crd(),
        ObjectSync::crd(),
    ];
    crds.iter_mut().for_each(schema::plain);
    crds.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
    crds.into()
}

/// The same as YAML, for `kubectl apply`.
///
/// # Errors
/// The library cannot write it.
pub fn yaml() -> Result<String, serde_saphyr::ser::Error> {
    let mut text = String::from("# Made by `cloud-bridge crds`; a test keeps it so.\n");
    for crd in crds() {
        text.push_str("---\n");
        text.push_str(serde_saphyr::to_string(&crd)?.trim_end());
        text.push('\n');
    }
    Ok(text)
}
