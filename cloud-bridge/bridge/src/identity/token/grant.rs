//! What a token is good for, and whether it still is. Pure.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

use super::Secret;
use crate::identity::NodeName;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// SHA-256 of the secret.
    #[serde(serialize_with = "hash_as_text", deserialize_with = "hash_from_text")]
    pub hash: [u8; 32],
    /// Who may use it.
    pub scope: Scope,
    /// When it ends.
    pub expires: Timestamp,
    /// How many more certificates it is good for.
    pub uses: u32,
    /// When it was made.
    pub created: Timestamp,
}

/// For which nodes a token is: one name, or all that begin with what stands before a `*`, such as `line-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// That node alone.
    Node(NodeName),
    /// Each node whose name begins so, and goes on.
    Pool(String),
}

/// Why a text is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is neither a node's name nor the beginning of names with * at its end; write edge-1 or line-*"
)]
pub struct ScopeError(String);

/// Why a token is not taken. What is said to the outside does not tell apart what was never there and what was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// There is none of that id, or the secret is another.
    #[error("the token is unknown, or was revoked; make a new one with `edgetwin token create`")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired; make a new one with `edgetwin token create`")]
    Expired,
    /// It was used as often as it may be.
    #[error(
        "the token is used up; make a new one with `edgetwin token create`, with more --uses for more nodes"
    )]
    UsedUp,
    /// It is for others.
    #[error("the token is for another node; make one for this name with `edgetwin token create`")]
    OtherNode,
}

impl TokenRefusal {
    /// One word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_token",
            Self::Expired => "expired_token",
            Self::UsedUp => "used_up_token",
            Self::OtherNode => "token_for_other_node",
        }
    }
}

impl Grant {
    /// Reads what [`Grant::write`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    /// As it is kept: JSON.
    ///
    /// # Errors
    /// The library refuses.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// What is left of it after `node` used it with `secret` at `now`.
    ///
    /// # Errors
    /// It may not.
    pub fn used(
        &self,
        secret: &Secret,
        node: &NodeName,
        now: Timestamp,
    ) -> Result<Self, TokenRefusal> {
        // First of all: who does not know the secret learns nothing else.
        if !bool::from(self.hash.ct_eq(&secret.hash())) {
            return Err(TokenRefusal::Unknown);
        }
        if now >= self.expires {
            return Err(TokenRefusal::Expired);
        }
        if !self.scope.holds(node) {
            return Err(TokenRefusal::OtherNode);
        }
        let uses = self.uses.checked_sub(1).ok_or(TokenRefusal::UsedUp)?;
        Ok(Self { uses, ..self.clone() })
    }
}

impl Scope {
    /// Whether `node` is meant.
    pub fn holds(&self, node: &NodeName) -> bool {
        match self {
            Self::Node(name) => name == node,
            Self::Pool(start) => {
                node.as_str().strip_prefix(start.as_str()).is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let wrong = || ScopeError(text.into());
        match text.strip_suffix('*') {
            // With a letter for what follows it must be a name. Nothing before the star would be every node.
            Some(start) if !start.is_empty() => {
                format!("{start}x").parse::<NodeName>().map_err(|_| wrong())?;
                Ok(Self::Pool(start.into()))
            }
            Some(_) => Err(wrong()),
            None => text.parse().map(Self::Node).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => name.fmt(f),
            Self::Pool(start) => write!(f, "{start}*"),
        }
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn hash_as_text<S: Serializer>(hash: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(hash))
}

fn hash_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let octets = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
    octets.try_into().map_err(|_| serde::de::Error::custom("a hash has 32 octets"))
}
