//! Names: which device, which property.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A device's namespace and name; its text form is `namespace/name`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId {
    namespace: Arc<str>,
    name: Arc<str>,
}

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The part is empty.
    #[error("{0} is empty; give it a name such as \"{1}\"")]
    Empty(&'static str, &'static str),
    /// Kubernetes and MQTT topics both exclude these characters.
    #[error("{0} \"{1}\" holds '{2}'; use lower-case letters, digits, '-' and '.'")]
    Character(&'static str, String, char),
    /// There is no single `/` between two parts.
    #[error("\"{0}\" is not namespace/name; write it as \"default/pump\"")]
    Shape(String),
}

/// Kubernetes' limit on object names, in bytes (DNS-1123 subdomain).
const NAME_LIMIT: usize = 253;

fn check(part: &'static str, text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty(part, if part == "namespace" { "default" } else { "pump" }));
    }
    let stranger = text
        .chars()
        .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.')));
    match stranger {
        Some(c) => Err(IdError::Character(part, text.into(), c)),
        None if text.len() > NAME_LIMIT => Err(IdError::Character(part, text.into(), '…')),
        None => Ok(()),
    }
}

impl DeviceId {
    /// Checks both parts against Kubernetes' rule for names.
    ///
    /// # Errors
    /// An empty part, or a character that neither an object name nor an MQTT topic level can hold.
    pub fn new(namespace: &str, name: &str) -> Result<Self, IdError> {
        check("namespace", namespace)?;
        check("name", name)?;
        Ok(Self { namespace: namespace.into(), name: name.into() })
    }

    /// The Kubernetes namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The object's name within its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for DeviceId {
    type Err = IdError;

    /// Takes `namespace/name`.
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            Some((namespace, name)) if !name.contains('/') => Self::new(namespace, name),
            _ => Err(IdError::Shape(text.into())),
        }
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of a property, unique within its device. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PropertyName(Arc<str>);

/// KubeEdge's limit on property names, in bytes.
const PROPERTY_LIMIT: usize = 128;

impl PropertyName {
    /// Checks `text` against KubeEdge's rule: 1 to 128 of `A-Z a-z 0-9 - _ . , : / @ #`.
    ///
    /// # Errors
    /// The text is empty, too long, or holds another character.
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty("property name", "speed"));
        }
        let stranger =
            text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.,:/@#".contains(*c)));
        match stranger {
            Some(c) => Err(IdError::Character("property name", text.into(), c)),
            None if text.len() > PROPERTY_LIMIT => {
                Err(IdError::Character("property name", text.into(), '…'))
            }
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PropertyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for PropertyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PropertyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_reads_back_from_its_text() {
        let id: DeviceId = "demo/pump".parse().unwrap();
        assert_eq!((id.namespace(), id.name()), ("demo", "pump"));
        assert_eq!(id.to_string(), "demo/pump");
    }

    #[test]
    fn a_topic_wildcard_is_no_name() {
        assert!("demo/pu+mp".parse::<DeviceId>().is_err());
        assert!("demo".parse::<DeviceId>().is_err());
        assert!("a/b/c".parse::<DeviceId>().is_err());
        assert!(PropertyName::new("two words").is_err());
    }
}
