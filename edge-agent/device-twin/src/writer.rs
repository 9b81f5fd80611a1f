//! Who wrote a desired value, and which life of a device it was written for.

use std::fmt;
use std::sync::Arc;

/// Identity of one life of a device (its *incarnation*): the UID that an API server gave it, or a random one.
///
/// A device that is removed and made again has the same name and another UID, so that late messages of its former
/// life can be told from new ones (rules R25 and R26). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

impl Uid {
    /// A UID that came from outside.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// A fresh one, for a device that no API server knows.
    pub fn random() -> Self {
        Self::new(&uuid::Uuid::new_v4().to_string())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who desires a value. Text form: `cloud`, `manifest`, `local:<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// The cloud, through the link of this node.
    Cloud,
    /// A file of the manifests folder.
    Manifest,
    /// An application or a person on this machine, by name (`api`, `mqtt`).
    Local(Arc<str>),
}

impl Writer {
    /// A local writer of that name.
    pub fn local(name: &str) -> Self {
        Self::Local(name.into())
    }

    /// The writer with that text form; a text of no known form counts as a local writer's name.
    pub fn from_text(text: &str) -> Self {
        match text {
            "cloud" => Self::Cloud,
            "manifest" => Self::Manifest,
            other => Self::local(other.strip_prefix("local:").unwrap_or(other)),
        }
    }
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud => f.write_str("cloud"),
            Self::Manifest => f.write_str("manifest"),
            Self::Local(name) => write!(f, "local:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_reads_back_from_its_text() {
        for writer in [Writer::Cloud, Writer::Manifest, Writer::local("api"), Writer::local("")] {
            assert_eq!(Writer::from_text(&writer.to_string()), writer);
        }
    }

    #[test]
    fn two_random_uids_differ() {
        assert_ne!(Uid::random(), Uid::random());
    }
}
