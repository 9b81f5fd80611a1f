//! The cloud's number of each desired value, so that a gateway can tell a new wish from one that it knows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use device_model::PropertyName;
use serde::{Deserialize, Serialize};

/// How many octets of a text's SHA-256 tell it from another.
const OCTETS: usize = 8;

/// The number of one desired value: the `metadata.generation` of its Device at which it was first seen (rule S6). It
/// rises with each new value of one life of a device, and is the same wherever it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    /// The generation.
    #[serde(rename = "v")]
    pub(crate) version: u64,
    /// The beginning of the SHA-256 of the text that has this number.
    #[serde(rename = "h")]
    hash: Arc<str>,
}

/// The numbers of a device's desired values. As JSON it is kept in an annotation of the device's DeviceStatus: a bridge
/// that starts goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Numbers(BTreeMap<PropertyName, Number>);

impl Numbers {
    /// The annotation of a DeviceStatus.
    pub(crate) const ANNOTATION: &str = "edgetwin.io/desired-versions";

    /// The numbers of `texts` in a Device of that generation. A text that had a number before, in `known`, keeps it.
    pub(crate) fn of<'a>(
        texts: impl IntoIterator<Item = (&'a PropertyName, &'a str)>,
        generation: u64,
        known: &Self,
    ) -> Self {
        let number = |(name, text): (&PropertyName, &str)| {
            let hash = hash(text);
            let kept = known.0.get(name).filter(|known| known.hash == hash).cloned();
            (name.clone(), kept.unwrap_or(Number { version: generation, hash }))
        };
        Self(texts.into_iter().map(number).collect())
    }

    /// What a gateway is told: each property's number.
    pub(crate) fn versions(&self) -> BTreeMap<&str, u64> {
        self.0.iter().map(|(name, number)| (name.as_str(), number.version)).collect()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of the annotation.
    pub(crate) fn to_annotation(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the annotation says; nothing where it is not understood.
    pub(crate) fn from_annotation(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

fn hash(text: &str) -> Arc<str> {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut hash = String::with_capacity(2 * OCTETS);
    for octet in &digest.as_ref()[..OCTETS] {
        // Writing to memory does not fail.
        let _ = write!(hash, "{octet:02x}");
    }
    hash.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(texts: &[(&str, &str)], generation: u64, known: &Numbers) -> Numbers {
        let names: Vec<_> =
            texts.iter().map(|(name, _)| PropertyName::new(name).unwrap()).collect();
        Numbers::of(names.iter().zip(texts.iter().map(|(_, text)| *text)), generation, known)
    }

    #[test]
    fn a_text_keeps_its_number_and_another_one_takes_that_of_the_generation() {
        let first = numbers(&[("speed", "10"), ("mode", "auto")], 3, &Numbers::default());
        let second = numbers(&[("speed", "11"), ("mode", "auto")], 4, &first);
        assert_eq!(second.versions(), [("mode", 3), ("speed", 4)].into());
        let back = numbers(&[("speed", "10"), ("mode", "auto")], 5, &second);
        assert_eq!(back.versions(), [("mode", 3), ("speed", 5)].into());
    }

    #[test]
    fn numbers_read_back_from_their_annotation_and_nonsense_is_no_number() {
        let numbers = numbers(&[("speed", "10")], 3, &Numbers::default());
        assert_eq!(Numbers::from_annotation(&numbers.to_annotation()), numbers);
        assert_eq!(Numbers::from_annotation("[1,2"), Numbers::default());
    }
}
