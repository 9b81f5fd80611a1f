//! One message: who says what about which resource, and what it answers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use device_model::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::resource::{Resource, ResourceError};
use crate::words::{group, operation, source};

/// What a message is known by, and answered to: a UUID in KubeEdge's programs, any text that is not empty here. Cheap
/// to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// The id with that text; none for the empty one, which the wire uses for absence.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// One that nobody has used.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message, as either end reads and writes it.
///
/// A member that is empty on the wire is `None` here. The order of members is that of KubeEdge's own text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Message {
    /// What it is known by, when it was made, of which version its content is.
    pub header: Header,
    /// Who says it, to whom, and about what.
    pub route: Route,
    /// Any JSON. Read it with [`Message::octets`] or [`crate::content::read`], which know that an object may also
    /// come as the text of itself.
    pub content: Value,
}

/// The first part of a [`Message`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    /// What it is known by. EdgeCore sends one message without at its end.
    #[serde(rename = "msg_id", serialize_with = "or_empty")]
    pub id: Option<MessageId>,
    /// The message that this one answers or acknowledges.
    #[serde(rename = "parent_msg_id", skip_serializing_if = "Option::is_none")]
    pub parent: Option<MessageId>,
    /// When it was made, by the clock of its sender; milliseconds on the wire.
    #[serde(serialize_with = "as_millis")]
    pub timestamp: Timestamp,
    /// The version of the Kubernetes object in the content; opaque.
    #[serde(rename = "resourceversion", skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Whether a sender waits. Never true on the wire of KubeEdge's programs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sync: bool,
    /// How it travelled inside of a KubeEdge program; not seen on the wire.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Ours: the place of this message among all that a hub sent over one link, upwards. KubeEdge's programs ignore it.
    #[serde(rename = "edgetwin_order", skip_serializing_if = "Option::is_none")]
    pub order: Option<u64>,
}

/// The second part of a [`Message`]. The words are those of [`crate::words`]; others may come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Which part of the sender speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Unused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Which part of the receiver is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is to be done, or `response`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// About what; see [`Message::resource`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

impl Route {
    /// A route with these four; an empty one is `None`.
    pub fn new(source: &str, group: &str, operation: &str, resource: &Resource) -> Self {
        let word = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            source: word(source),
            destination: None,
            group: word(group),
            operation: word(operation),
            resource: Some(resource.to_string()),
        }
    }
}

impl Message {
    /// A message that answers none.
    pub fn new(id: MessageId, now: Timestamp, route: Route, content: Value) -> Self {
        let header = Header { id: Some(id), timestamp: now, ..Header::default() };
        Self { header, route, content }
    }

    /// What an edge says at once and then every 15 s; the cloud ends a connection that was 30 s without.
    pub fn keepalive(id: MessageId, now: Timestamp) -> Self {
        let route =
            Route::new(source::WEBSOCKET, group::RESOURCE, operation::KEEPALIVE, &Resource::Node);
        Self::new(id, now, route, "ping".into())
    }

    /// The cloud's word that it has a report of a device; `None` for a report without an id.
    pub fn confirmation(&self, id: MessageId, now: Timestamp) -> Option<Self> {
        let route =
            Route::new(source::DEVICECONTROLLER, group::TWIN, operation::RESPONSE, &Resource::Twin);
        let mut message = Self::new(id, now, route, "OK".into());
        message.header.parent = Some(self.header.id.clone()?);
        Some(message)
    }

    /// An answer to this message, with its source, group and resource; `None` for a message without an id, which
    /// nobody waits for.
    pub fn response(&self, id: MessageId, now: Timestamp, content: Value) -> Option<Self> {
        let route = Route { operation: Some(operation::RESPONSE.into()), ..self.route.clone() };
        let mut message = Self::new(id, now, route, content);
        message.header.parent = Some(self.header.id.clone()?);
        Some(message)
    }

    /// The acknowledgement of this message: whoever sends it has committed what the message said.
    pub fn acknowledgement(&self, id: MessageId, now: Timestamp) -> Option<Self> {
        self.response(id, now, "OK".into())
    }

    /// The word that this message could not be stored. It only explains: the sender sends it again in any case.
    pub fn failure(&self, id: MessageId, now: Timestamp, reason: &str) -> Option<Self> {
        let mut message = self.response(id, now, reason.into())?;
        message.route.source = Some(source::METAMANAGER.into());
        message.route.operation = Some(operation::ERROR.into());
        Some(message)
    }

    /// Whether the operation is this word.
    pub fn is(&self, operation: &str) -> bool {
        self.route.operation.as_deref() == Some(operation)
    }

    /// What it is about, as the edge's side writes it.
    ///
    /// # Errors
    /// There is none, or it has no form that this crate knows; topics of applications and node tasks among them.
    pub fn resource(&self) -> Result<Resource, ResourceError> {
        self.route.resource.as_deref().unwrap_or_default().parse()
    }

    /// The content as octets: those of a text as they stand, anything else as JSON.
    pub fn octets(&self) -> Cow<'_, [u8]> {
        match &self.content {
            Value::String(text) => Cow::Borrowed(text.as_bytes()),
            other => Cow::Owned(other.to_string().into_bytes()),
        }
    }
}

fn or_empty<S: Serializer>(id: &Option<MessageId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_ref().map_or("", MessageId::as_str))
}

fn as_millis<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(time.as_millis())
}
