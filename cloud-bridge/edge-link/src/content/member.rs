//! Which devices a node has, as KubeEdge's clouds tell it. What exists is known from Device objects: these lists are
//! told once and not again, so an edge that was away never hears of them.

use device_model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};

use super::report::{as_millis, from_millis};

/// Devices came or went. Written as JSON, to the resource `membership`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Names this event; unused.
    #[serde(default)]
    pub event_id: String,
    /// When.
    #[serde(default, serialize_with = "as_millis", deserialize_with = "from_millis")]
    pub timestamp: Timestamp,
    /// Devices that the node has from now on; null where there are none.
    #[serde(default)]
    pub added_devices: Option<Vec<Member>>,
    /// Devices that it has no more; null where there are none.
    #[serde(default)]
    pub removed_devices: Option<Vec<Member>>,
}

/// All devices of a node: what is not in it is gone. Written as JSON, to the resource `membership/detail`, and without
/// a parent: EdgeCore takes what has one for a confirmation and does not read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipDetail {
    /// Names this event; unused.
    #[serde(default)]
    pub event_id: String,
    /// When.
    #[serde(default, serialize_with = "as_millis", deserialize_with = "from_millis")]
    pub timestamp: Timestamp,
    /// All of them.
    pub devices: Vec<Member>,
}

/// One device in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Namespace and name.
    pub id: DeviceId,
    /// The name alone.
    pub name: String,
    /// The Device's label of that name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Member {
    /// A device in a list, without a description.
    pub fn new(id: DeviceId) -> Self {
        Self { name: id.name().to_owned(), id, description: None }
    }
}

/// An edge asks for all of its devices, at each connection. Written as text, to the resource `membership/detail`.
/// CloudCore does not answer, and EdgeCore asks again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailRequest {
    /// Always `group_membership_event`.
    pub event_type: String,
    /// Names the request.
    pub event_id: String,
    /// The node.
    pub group_id: String,
    /// Always `detail`.
    pub operation: String,
    /// When.
    #[serde(default, serialize_with = "as_millis", deserialize_with = "from_millis")]
    pub timestamp: Timestamp,
}
