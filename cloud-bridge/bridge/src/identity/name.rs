//! The name of a node.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Kubernetes' limit on object names, in octets (DNS-1123 subdomain).
const LIMIT: usize = 253;

/// A node's name, as Kubernetes takes it: lower-case letters, digits, `-` and `.`, with a letter or a digit at both ends of
/// each part. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// Why a text is no node's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no name of a node; use lower-case letters, digits, '-' and '.', at most 253 of them"
)]
pub struct NameError(String);

impl NodeName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a certificate calls the node: `system:node:<name>`, as Kubernetes' node authorizer has it.
    pub fn subject(&self) -> String {
        format!("{SUBJECT_PREFIX}{self}")
    }
}

/// What a node's common name begins with.
pub(super) const SUBJECT_PREFIX: &str = "system:node:";
/// The organization of every node.
pub(super) const NODES: &str = "system:nodes";

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |octet: &u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
        let part = |part: &str| {
            let octets = part.as_bytes();
            octets.first().is_some_and(plain)
                && octets.last().is_some_and(plain)
                && octets.iter().all(|octet| plain(octet) || *octet == b'-')
        };
        if text.len() <= LIMIT && text.split('.').all(part) {
            return Ok(Self(text.into()));
        }
        // Whatever it is, it may come from outside: as much of it as helps.
        Err(NameError(text.chars().take(64).flat_map(char::escape_default).collect()))
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<NodeName> for Arc<str> {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_kubernetes_would_refuse_is_refused() {
        for good in ["edge-1", "a", "7", "line-3.plant.example"] {
            assert_eq!(good.parse::<NodeName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(254);
        for bad in ["", "-a", "a-", "a..b", "Edge", "a_b", "a/b", "é", "a\nb", ".a", &long] {
            let error = bad.parse::<NodeName>().unwrap_err().to_string();
            assert!(error.contains("lower-case letters"), "{bad}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
