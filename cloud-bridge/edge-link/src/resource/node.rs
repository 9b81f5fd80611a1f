//! A resource with its node before it, as it is written inside of a cloud.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::key::check;
use super::{Resource, ResourceError};

/// `node/<node>/<resource>`. The node is what stands there, whatever else is called `node`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeResource {
    node: Arc<str>,
    resource: Resource,
}

impl NodeResource {
    /// That resource of that node.
    ///
    /// # Errors
    /// The node's name is empty or holds a `/`.
    pub fn new(node: &str, resource: Resource) -> Result<Self, ResourceError> {
        check(node, "node", node)?;
        Ok(Self { node: node.into(), resource })
    }

    /// Whose it is.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What it is, without its node.
    pub fn into_resource(self) -> Resource {
        self.resource
    }
}

impl fmt::Display for NodeResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node/{}/{}", self.node, self.resource)
    }
}

impl FromStr for NodeResource {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        let parts = text.strip_prefix("node/").and_then(|rest| rest.split_once('/'));
        let Some((node, resource)) = parts else { return Err(ResourceError::Form(text.into())) };
        check(text, "node", node)?;
        Ok(Self { node: node.into(), resource: resource.parse()? })
    }
}
