//! Ours: what an end says it holds when a link begins, so that only differences travel; and how far the cloud has a
//! device. Neither is sent to a KubeEdge program.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ContentError;
use crate::object::{Uid, Version};
use crate::resource::ObjectKey;

/// What an edge holds. Written as JSON, to the resource [`crate::Resource::Hello`], first on a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which life of the edge's store.
    pub epoch: u64,
    /// The objects in it, all of them. What the cloud does not find here it sends.
    pub objects: Vec<Holding>,
    /// How far each twin is.
    pub twins: Vec<Point>,
}

/// An object that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holding {
    /// Which.
    #[serde(rename = "resource")]
    pub key: ObjectKey,
    /// Which life of it.
    pub uid: Uid,
    /// Which state of it.
    #[serde(flatten)]
    pub version: Version,
}

/// How far somebody has a twin: a place in one life of a device. Within it the order is that of epoch, then revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// Which life of the device.
    pub uid: Uid,
    /// Which life of the edge's store.
    pub epoch: u64,
    /// The twin's revision.
    pub rev: u64,
}

/// The cloud's answer to a [`Hello`]: how far it has the twins. Written as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// All it has of this node. A twin that is not in it is to be sent whole.
    pub has: Vec<Point>,
    /// Lives of devices that are over: nothing is to be sent of them.
    pub gone: Vec<Uid>,
}

/// How a report of a device was taken; the content of a [`crate::Message::confirmation`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Confirmation {
    /// All of it; the only word of KubeEdge's clouds, and the one for KubeEdge's edges.
    #[default]
    #[serde(rename = "OK")]
    Taken,
    /// The cloud has this much: of the report, of a later one, or less than the report builds on.
    #[serde(rename = "has")]
    Has(Point),
    /// The cloud has nothing of this life of the device, and wants all of it.
    #[serde(rename = "nothing")]
    Nothing(Uid),
    /// This life of the device is over.
    #[serde(rename = "gone")]
    Gone(Uid),
}

impl Confirmation {
    /// Reads one. A text is a word here, not JSON.
    ///
    /// # Errors
    /// It is no word and no member that is known.
    pub fn read(content: &Value) -> Result<Self, ContentError> {
        Self::deserialize(content)
            .map_err(|error| ContentError { field: "content".into(), reason: error.to_string() })
    }
}
