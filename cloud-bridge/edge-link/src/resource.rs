//! What a message is about: the text in `route.resource`, typed.
//!
//! On the channel it is written as the edge sees it, `<namespace>/<kind>[/<name>]`, with the literal namespace `null`
//! for what has none; inside of a cloud with `node/<node>/` before it ([`NodeResource`]). Some have a form of their own.

mod key;
mod node;

use std::fmt;
use std::str::FromStr;

use device_model::DeviceId;

pub use key::{Collection, Kind, ObjectKey};
pub use node::NodeResource;

/// What a message is about. Its text reads back as itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// One object, or what is done to it: `default/device/pump`, `null/nodepatch/edge-1`.
    Object(ObjectKey),
    /// A kind without a name: `default/podstatus`.
    Collection(Collection),
    /// `node`: what a keepalive is about.
    Node,
    /// `membership`: devices that a node gained or lost.
    Membership,
    /// `membership/detail`: all devices of a node.
    MembershipDetail,
    /// `twin`: what a confirmation of the cloud is about. The parent says of which report.
    Twin,
    /// `device/<namespace>/<name>/twin/edge_updated`: a report of a device's values.
    TwinReport(DeviceId),
    /// `device/<namespace>/<name>/state/update`: a report of a device's state.
    StateReport(DeviceId),
    /// `k8s/ca.crt`: the API server's certificate authority.
    ClusterCa,
    /// `edgetwin/hello`: ours; what an end holds when a link begins.
    Hello,
}

/// Why a text is no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// It has none of the forms. Of a message of applications it may be a topic; anything else is not for us.
    #[error("resource \"{0}\" has no form that is known here; write <namespace>/<kind>/<name>")]
    Form(String),
    /// A part of it is empty or cannot stand there.
    #[error("resource \"{resource}\": the {part} \"{value}\" {reason}")]
    Part {
        /// All of it, or as much as there is.
        resource: String,
        /// `namespace`, `kind`, `name` or `node`.
        part: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong, and what would do.
        reason: &'static str,
    },
    /// It belongs to another node than the one that sent it: refuse the message, and count it.
    #[error(
        "resource \"{resource}\" belongs to node {owner}, not to {sender}; a node speaks for itself alone"
    )]
    Foreign {
        /// All of it.
        resource: String,
        /// Whose it is.
        owner: String,
        /// Who sent it.
        sender: String,
    },
}

impl Resource {
    /// The object of that kind, namespace and name.
    ///
    /// # Errors
    /// A part is empty, holds a `/`, or is the namespace `null`, which stands for none.
    pub fn object(namespace: Option<&str>, kind: Kind, name: &str) -> Result<Self, ResourceError> {
        ObjectKey::new(namespace, kind, name).map(Self::Object)
    }

    /// What `sender` says it is about. Devices and pods do not name their node: that they are its own is known from
    /// their `spec` alone, and is for the caller to check.
    ///
    /// # Errors
    /// It has no known form, or names another node.
    pub fn from_node(text: &str, sender: &str) -> Result<Self, ResourceError> {
        let foreign = |owner: &str| ResourceError::Foreign {
            resource: text.into(),
            owner: owner.into(),
            sender: sender.into(),
        };
        let resource: Self = match (text.parse(), text.parse::<NodeResource>()) {
            (Ok(resource), _) => resource,
            (Err(_), Ok(prefixed)) if prefixed.node() == sender => prefixed.into_resource(),
            (Err(_), Ok(prefixed)) => return Err(foreign(prefixed.node())),
            (Err(error), Err(_)) => return Err(error),
        };
        match resource.node() {
            Some(owner) if owner != sender => Err(foreign(owner)),
            _ => Ok(resource),
        }
    }

    /// The node that its text names, if it names one: that of a node's own object, of a patch of it, of its lease.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Object(key) if key.kind().is_of_a_node() => Some(key.name()),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Object(key) => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(key) => key.fmt(f),
            Self::Collection(collection) => collection.fmt(f),
            Self::Node => f.write_str("node"),
            Self::Membership => f.write_str("membership"),
            Self::MembershipDetail => f.write_str("membership/detail"),
            Self::Twin => f.write_str("twin"),
            Self::TwinReport(device) => write!(f, "device/{device}/twin/edge_updated"),
            Self::StateReport(device) => write!(f, "device/{device}/state/update"),
            Self::ClusterCa => f.write_str("k8s/ca.crt"),
            Self::Hello => f.write_str("edgetwin/hello"),
        }
    }
}

impl FromStr for Resource {
    type Err = ResourceError;

    /// Reads the form that the edge sees.
    fn from_str(text: &str) -> Result<Self, ResourceError> {
        if let Some(special) = special(text) {
            return Ok(special);
        }
        let parts: Vec<_> = text.split('/').collect();
        match parts[..] {
            ["device", namespace, name, "twin", "edge_updated"] => {
                device(text, namespace, name).map(Self::TwinReport)
            }
            ["device", namespace, name, "state", "update"] => {
                device(text, namespace, name).map(Self::StateReport)
            }
            [namespace, kind, name] => {
                ObjectKey::read(text, namespace, kind, name).map(Self::Object)
            }
            [namespace, kind] => Collection::read(text, namespace, kind).map(Self::Collection),
            _ => Err(ResourceError::Form(text.into())),
        }
    }
}

/// The resources whose text is always the same.
fn special(text: &str) -> Option<Resource> {
    [
        Resource::Node,
        Resource::Membership,
        Resource::MembershipDetail,
        Resource::Twin,
        Resource::ClusterCa,
        Resource::Hello,
    ]
    .into_iter()
    .find(|special| special.to_string() == text)
}

fn device(text: &str, namespace: &str, name: &str) -> Result<DeviceId, ResourceError> {
    DeviceId::new(namespace, name).map_err(|_| ResourceError::Part {
        resource: text.into(),
        part: "device",
        value: format!("{namespace}/{name}"),
        reason: "is no namespace and name of a Device; use lower-case letters, digits, '-' and '.'",
    })
}
