//! `ObjectSync` and `ClusterObjectSync`, `reliablesyncs.kubeedge.io/v1alpha1`: which version of an object a node has.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which object.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "reliablesyncs.kubeedge.io",
    version = "v1alpha1",
    kind = "ObjectSync",
    namespaced,
    doc = "Which version of an object a node has; it is named <node>.<UID of the object>.",
    status = "ObjectSyncStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectSyncSpec {
    /// Its `apiVersion`.
    #[serde(rename = "objectAPIVersion", skip_serializing_if = "Option::is_none")]
    pub object_api_version: Option<String>,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_kind: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_name: Option<String>,
}

/// What the node has of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectSyncStatus {
    /// The version that the node has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_resource_version: Option<String>,
}

mod cluster {
    use super::{CustomResource, Deserialize, JsonSchema, ObjectSyncStatus, Serialize};

    /// Which object, that is in no namespace.
    #[derive(
        CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
    )]
    #[kube(
        group = "reliablesyncs.kubeedge.io",
        version = "v1alpha1",
        kind = "ClusterObjectSync",
        doc = "Which version of an object without a namespace a node has; it is named <node>.<UID of the object>.",
        status = "ObjectSyncStatus"
    )]
    #[serde(rename_all = "camelCase", default)]
    pub struct ClusterObjectSyncSpec {
        /// Its `apiVersion`.
        #[serde(rename = "objectAPIVersion", skip_serializing_if = "Option::is_none")]
        pub object_api_version: Option<String>,
        /// Its kind.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub object_kind: Option<String>,
        /// Its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub object_name: Option<String>,
    }
}

pub use cluster::{ClusterObjectSync, ClusterObjectSyncSpec};
