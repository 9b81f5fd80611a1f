//! What lies between this node and its cloud.

use device_model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::schema;

/// Answer of `GET /v1/outbox`: what the cloud does not have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutboxView {
    /// Whether there is a link to the cloud.
    pub linked: bool,
    /// Devices that the cloud does not have as they are, by namespace and name.
    pub devices: Vec<WaitingView>,
}

/// A device that the cloud does not have as it is. The newest state travels, and no other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingView {
    /// Which.
    #[schema(value_type = schema::DeviceId)]
    pub device: DeviceId,
    /// Its revision here.
    #[schema(value_type = schema::Version)]
    pub rev: u64,
    /// Up to which revision the cloud has it; none: not at all, or nobody knows.
    #[schema(value_type = Option<schema::Version>, required)]
    pub confirmed: Option<u64>,
    /// Since when it waits.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
}

/// Answer of `GET /v1/objects`: what the cloud gave this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectList {
    /// All of them, by namespace, kind and name.
    pub objects: Vec<ObjectView>,
}

/// An object of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectView {
    /// Kubernetes namespace; empty for kinds that have none.
    pub namespace: String,
    /// In lower case, as the channel spells it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Which life of it.
    pub uid: String,
    /// Which state of it; opaque.
    pub resource_version: String,
    /// Counts changes of its spec, where the kind has that.
    #[schema(required)]
    pub generation: Option<u64>,
}
