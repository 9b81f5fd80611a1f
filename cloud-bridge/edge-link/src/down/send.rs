//! One thing that a hub sends to a node.

use device_model::Timestamp;
use serde_json::{Map, Value, json};

use crate::message::{Header, Message, MessageId, Route};
use crate::object::{Uid, Version};
use crate::resource::{Kind, ObjectKey, Resource};
use crate::words::{group, operation, source};

/// What a [`super::Queue`] wants sent. Sent again, it is the same, id and order included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outgoing<T> {
    /// What its acknowledgement will name.
    pub id: MessageId,
    /// Its place among all that was sent over this link.
    pub order: u64,
    /// Which object.
    pub key: ObjectKey,
    /// What to do with it.
    pub task: Task<T>,
}

/// What the node is to do with an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Task<T> {
    /// Have it in this state.
    Put {
        /// Which life of it.
        uid: Uid,
        /// Which state.
        version: Version,
        /// Whether the node has said that it has a state of this life already.
        known: bool,
        /// The object, or what the caller finds it by.
        body: T,
    },
    /// Have this life of it no more.
    Delete {
        /// Which life.
        uid: Uid,
    },
}

impl<T> Outgoing<T> {
    /// The message; `body` makes the object of what the queue was given for it.
    ///
    /// It bears the source that EdgeCore expects for the kind: with any other it keeps a device and tells no mapper.
    pub fn message(&self, now: Timestamp, body: impl FnOnce(&T) -> Value) -> Message {
        let (operation, version, content) = match &self.task {
            Task::Put { version, known, body: of, .. } => {
                let operation = if *known { operation::UPDATE } else { operation::INSERT };
                (operation, Some(version.resource_version.to_string()), body(of))
            }
            Task::Delete { uid } => (operation::DELETE, None, stub(&self.key, uid)),
        };
        let devices = [Kind::DEVICE, Kind::DEVICE_MODEL].contains(self.key.kind());
        let source = if devices { source::DEVICECONTROLLER } else { source::EDGECONTROLLER };
        let resource = Resource::Object(self.key.clone());
        Message {
            header: Header {
                id: Some(self.id.clone()),
                timestamp: now,
                resource_version: version,
                order: Some(self.order),
                ..Header::default()
            },
            route: Route::new(source, group::RESOURCE, operation, &resource),
            content,
        }
    }
}

/// What is told of an object that is gone: enough to know which life.
fn stub(key: &ObjectKey, uid: &Uid) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".into(), key.name().into());
    if let Some(namespace) = key.namespace() {
        metadata.insert("namespace".into(), namespace.into());
    }
    metadata.insert("uid".into(), uid.as_str().into());
    json!({ "metadata": metadata })
}
