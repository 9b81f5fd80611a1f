//! Which object: namespace, kind and name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use device_model::DeviceId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Resource, ResourceError, special};

/// A kind of object, or of what is done to one, in lower case as the channel spells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// A Device.
    pub const DEVICE: Self = Self(Cow::Borrowed("device"));
    /// A DeviceModel.
    pub const DEVICE_MODEL: Self = Self(Cow::Borrowed("devicemodel"));
    /// A Node.
    pub const NODE: Self = Self(Cow::Borrowed("node"));
    /// A patch of a Node's status.
    pub const NODE_PATCH: Self = Self(Cow::Borrowed("nodepatch"));
    /// A Node's status as old edges report it.
    pub const NODE_STATUS: Self = Self(Cow::Borrowed("nodestatus"));
    /// A Lease.
    pub const LEASE: Self = Self(Cow::Borrowed("lease"));
    /// A Pod.
    pub const POD: Self = Self(Cow::Borrowed("pod"));
    /// A patch of a Pod's status.
    pub const POD_PATCH: Self = Self(Cow::Borrowed("podpatch"));
    /// A Pod's status as old edges report it.
    pub const POD_STATUS: Self = Self(Cow::Borrowed("podstatus"));
    /// A `ConfigMap`.
    pub const CONFIG_MAP: Self = Self(Cow::Borrowed("configmap"));
    /// A Secret.
    pub const SECRET: Self = Self(Cow::Borrowed("secret"));
    /// A request for a service account's token.
    pub const SERVICE_ACCOUNT_TOKEN: Self = Self(Cow::Borrowed("serviceaccounttoken"));
    /// An Event.
    pub const EVENT: Self = Self(Cow::Borrowed("event"));

    /// The kind with that name.
    ///
    /// # Errors
    /// It is empty or holds a `/`.
    pub fn new(name: &str) -> Result<Self, ResourceError> {
        check(name, "kind", name)?;
        Ok(Self(Cow::Owned(name.to_owned())))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an object of this kind is named after the node that it belongs to.
    pub fn is_of_a_node(&self) -> bool {
        [Self::NODE, Self::NODE_PATCH, Self::NODE_STATUS, Self::LEASE].contains(self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names an object; its text form, also in JSON, is that of its resource. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    namespace: Option<Arc<str>>,
    kind: Kind,
    name: Arc<str>,
}

impl ObjectKey {
    /// The object of that kind and name; without a namespace for a kind that has none.
    ///
    /// # Errors
    /// A part is empty, holds a `/`, or is the namespace `null`, which stands for none.
    pub fn new(namespace: Option<&str>, kind: Kind, name: &str) -> Result<Self, ResourceError> {
        let namespace = checked_namespace(namespace)?;
        check(name, "name", name)?;
        Ok(Self { namespace, kind, name: name.into() })
    }

    pub(super) fn read(
        text: &str,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Result<Self, ResourceError> {
        let namespace = read_namespace(text, namespace)?;
        check(text, "kind", kind)?;
        check(text, "name", name)?;
        Ok(Self { namespace, kind: Kind(Cow::Owned(kind.into())), name: name.into() })
    }

    /// Its namespace, if its kind has them.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device that it names, if it names one.
    pub fn device(&self) -> Option<DeviceId> {
        let namespace = self.namespace().filter(|_| self.kind == Kind::DEVICE)?;
        DeviceId::new(namespace, self.name()).ok()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace().unwrap_or(NO_NAMESPACE), self.kind, self.name)
    }
}

impl FromStr for ObjectKey {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        match text.parse()? {
            Resource::Object(key) => Ok(key),
            _ => Err(ResourceError::Form(text.into())),
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A kind without a name, in a namespace: what old edges report the states of pods as.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Collection {
    namespace: Option<Arc<str>>,
    kind: Kind,
}

impl Collection {
    /// All of that kind.
    ///
    /// # Errors
    /// As with [`ObjectKey::new`]; also where the text would be that of a resource with a form of its own.
    pub fn new(namespace: Option<&str>, kind: Kind) -> Result<Self, ResourceError> {
        let collection = Self { namespace: checked_namespace(namespace)?, kind };
        match special(&collection.to_string()) {
            None => Ok(collection),
            Some(other) => Err(ResourceError::Form(other.to_string())),
        }
    }

    pub(super) fn read(text: &str, namespace: &str, kind: &str) -> Result<Self, ResourceError> {
        let namespace = read_namespace(text, namespace)?;
        check(text, "kind", kind)?;
        Ok(Self { namespace, kind: Kind(Cow::Owned(kind.into())) })
    }

    /// Its namespace, if its kind has them.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace().unwrap_or(NO_NAMESPACE), self.kind)
    }
}

/// What KubeEdge writes where a kind has no namespaces.
const NO_NAMESPACE: &str = "null";

fn checked_namespace(namespace: Option<&str>) -> Result<Option<Arc<str>>, ResourceError> {
    let Some(namespace) = namespace else { return Ok(None) };
    check(namespace, "namespace", namespace)?;
    if namespace == NO_NAMESPACE {
        let reason = "stands for none on this channel; give it another name";
        return Err(part(namespace, "namespace", namespace, reason));
    }
    Ok(Some(namespace.into()))
}

fn read_namespace(text: &str, namespace: &str) -> Result<Option<Arc<str>>, ResourceError> {
    check(text, "namespace", namespace)?;
    Ok((namespace != NO_NAMESPACE).then(|| namespace.into()))
}

/// Checks one part of the resource `text`.
pub(super) fn check(text: &str, what: &'static str, value: &str) -> Result<(), ResourceError> {
    if value.is_empty() {
        Err(part(text, what, value, "is empty; give it a name"))
    } else if value.contains('/') {
        Err(part(text, what, value, "holds a '/'; name one thing"))
    } else {
        Ok(())
    }
}

fn part(text: &str, part: &'static str, value: &str, reason: &'static str) -> ResourceError {
    ResourceError::Part { resource: text.into(), part, value: value.into(), reason }
}
