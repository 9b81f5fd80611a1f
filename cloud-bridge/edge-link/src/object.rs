//! Kubernetes objects as JSON, with a cheap look at what tells them apart.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an API server gave one life of an object: made again under the same name, it has another. Never used twice.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Uid(Arc<str>);

impl Uid {
    /// One that came from outside; none for an empty text.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        uid.as_str().to_owned()
    }
}

impl TryFrom<String> for Uid {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text).ok_or("a uid is not empty")
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which state of one life of an object.
///
/// Two are the same if their resource versions are the same text, and in no other case. Which of two is older is known
/// from their generations alone, where both have one: a resource version is opaque, also where it looks like a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
    /// `metadata.generation`: rises with each change of `spec`. Not every kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Version {
    /// The version with that text and no generation.
    pub fn new(resource_version: &str) -> Self {
        Self { resource_version: resource_version.into(), generation: None }
    }

    /// The same, of that generation.
    pub fn of_generation(self, generation: u64) -> Self {
        Self { generation: Some(generation), ..self }
    }

    /// Whether both are the same state of one life. A record that knows no generation knows the state all the same.
    pub fn is_that_of(&self, other: &Self) -> bool {
        self.resource_version == other.resource_version
    }

    /// Whether this is known to be older than `other`, both being of one life.
    pub fn is_older_than(&self, other: &Self) -> bool {
        matches!((self.generation, other.generation), (Some(this), Some(other)) if this < other)
    }

    /// Whether both are known to have the same `spec`: only metadata or status can differ.
    pub fn has_spec_of(&self, other: &Self) -> bool {
        self.resource_version == other.resource_version
            || (self.generation.is_some() && self.generation == other.generation)
    }
}

/// What a look at an object found. Members of another type than Kubernetes gives them count as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look<'a> {
    /// `kind`; missing where CloudCore sends an object again. The resource of the message knows it.
    pub kind: Option<&'a str>,
    /// `metadata.namespace`.
    pub namespace: Option<&'a str>,
    /// `metadata.name`.
    pub name: Option<&'a str>,
    /// `metadata.uid`.
    pub uid: Option<Uid>,
    /// `metadata.resourceVersion` and `metadata.generation`; none without the former.
    pub version: Option<Version>,
    /// Whether `metadata.deletionTimestamp` is set: the object is about to go, and is there still.
    pub ending: bool,
}

impl<'a> Look<'a> {
    /// Looks at `object`.
    pub fn at(object: &'a Value) -> Self {
        let metadata = &object["metadata"];
        let text = |value: &'a Value| value.as_str().filter(|text| !text.is_empty());
        let version = text(&metadata["resourceVersion"]).map(|resource_version| Version {
            resource_version: resource_version.into(),
            generation: metadata["generation"].as_u64(),
        });
        Self {
            kind: text(&object["kind"]),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]).and_then(Uid::new),
            version,
            ending: text(&metadata["deletionTimestamp"]).is_some(),
        }
    }
}
