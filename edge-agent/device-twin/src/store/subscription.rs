//! Subscriptions to topics of applications, as objects of the store.
//!
//! KubeEdge keeps them in a table of its own (`sub_topics`): what rules of the cloud want to hear of this node.

use std::fmt;
use std::sync::Arc;

use device_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Object, ObjectKey};
use crate::Writer;

/// Filters that a node keeps at most: each message of an application is compared with all of them.
pub const MOST_SUBSCRIPTIONS: usize = 256;

/// A filter of MQTT topics for what applications say to each other: no topic that begins with `$`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

/// Why a text is no filter, and what would be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {remedy}")]
pub struct TopicFilterError {
    /// What is wrong.
    pub why: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

impl TopicFilter {
    /// Longest filter, in characters.
    pub const LONGEST: usize = 256;
    /// Most levels: mosquitto ends the connection of whoever subscribes to more than 200.
    pub const LEVELS: usize = 64;

    /// Takes a filter that any broker can be asked for.
    ///
    /// # Errors
    /// MQTT knows no such filter, or a broker would end the connection for it, or it is for topics that begin with `$`.
    pub fn new(text: &str) -> Result<Self, TopicFilterError> {
        let wrong = |why, remedy| Err(TopicFilterError { why, remedy });
        if text.is_empty() {
            return wrong("it is empty", "write a topic, such as default/alarms or default/#");
        }
        if text.chars().count() > Self::LONGEST {
            return wrong(
                "it is longer than 256 characters",
                "write a shorter one, with a wildcard",
            );
        }
        if text.split('/').count() > Self::LEVELS {
            return wrong("it has more than 64 levels", "write fewer, and # for the last ones");
        }
        if text.starts_with('$') {
            let remedy = "leave it out; the agent serves those under $hw/events by itself";
            return wrong("topics that begin with $ are the agent's and the broker's own", remedy);
        }
        if text.chars().any(unspeakable) {
            return wrong("brokers take no control characters", "write letters, digits and signs");
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return wrong("# stands alone on the last level", "write it as in default/#");
            }
            if level.contains('+') && level != "+" {
                return wrong("+ stands alone on its level", "write it as in default/+/alarms");
            }
        }
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What MQTT allows a broker to end a connection for (3.1.1, section 1.5.3), and mosquitto does.
fn unspeakable(character: char) -> bool {
    let number = u32::from(character);
    character.is_control() || (0xfdd0..=0xfdef).contains(&number) || number & 0xfffe == 0xfffe
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A filter that somebody wants this node to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// To what.
    pub filter: TopicFilter,
    /// Who wants it.
    pub writer: Writer,
    /// Since when.
    pub set_at: Timestamp,
    /// Whether it is over, and a broker that keeps sessions is still to be told.
    pub removed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    writer: String,
    set_at: Timestamp,
    #[serde(default)]
    removed: bool,
}

impl Subscription {
    /// The kind of the store's objects.
    pub const KIND: &str = "Subscription";

    /// Names the object of a filter.
    pub fn key(filter: &TopicFilter) -> ObjectKey {
        ObjectKey { kind: Self::KIND.into(), namespace: "".into(), name: filter.0.clone() }
    }

    /// It as an object.
    #[expect(clippy::expect_used, reason = "a text, a time and a truth")]
    pub fn object(&self) -> Object {
        let Self { filter, writer, set_at, removed } = self;
        let body = Body { writer: writer.to_string(), set_at: *set_at, removed: *removed };
        Object {
            key: Self::key(filter),
            uid: String::new(),
            resource_version: String::new(),
            body: serde_json::to_vec(&body).expect("a subscription can be said in JSON"),
        }
    }

    /// What an object says.
    ///
    /// # Errors
    /// It is none of a subscription; the text says why not.
    pub fn read(object: &Object) -> Result<Self, String> {
        let filter = TopicFilter::new(&object.key.name).map_err(|error| error.to_string())?;
        let body = serde_json::from_slice(&object.body).map_err(|error| error.to_string())?;
        let Body { writer, set_at, removed } = body;
        Ok(Self { filter, writer: Writer::from_text(&writer), set_at, removed })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_filter_is_refused_with_a_remedy() {
        let deep = "a/".repeat(64);
        for (text, why) in [
            ("", "empty"),
            (&*"x".repeat(257), "longer"),
            (&*deep, "64 levels"),
            ("$hw/events/device/+/+/twin/+", "agent's and the broker's own"),
            ("$share/group/a", "agent's and the broker's own"),
            ("a\0b", "control"),
            ("a\u{85}", "control"),
            ("a\u{fffe}", "control"),
            ("a#", "# stands alone"),
            ("#/a", "# stands alone"),
            ("a/b+", "+ stands alone"),
        ] {
            let error = TopicFilter::new(text).unwrap_err();
            assert!(error.to_string().contains(why) && !error.remedy.is_empty(), "{text}: {error}");
        }
        for text in ["#", "+", "/", "+/user/#", "a//b", "default/alarms/+/x", "ä/$b", " "] {
            assert_eq!(TopicFilter::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_subscription_is_read_as_it_was_kept() {
        let mut one = Subscription {
            filter: TopicFilter::new("default/#").unwrap(),
            writer: Writer::Cloud,
            set_at: Timestamp::from_millis(1_795_262_400_000),
            removed: false,
        };
        assert_eq!(Subscription::read(&one.object()).unwrap(), one);
        one.removed = true;
        assert_eq!(Subscription::read(&one.object()).unwrap(), one);
        let mut broken = one.object();
        broken.body.truncate(5);
        assert!(Subscription::read(&broken).is_err());
        broken.key.name = "a#".into();
        assert!(Subscription::read(&broken).unwrap_err().contains("# stands alone"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_is_kept_as_it_is(text in ".*|[a+#/$]{0,9}") {
            if let Ok(filter) = TopicFilter::new(&text) {
                prop_assert_eq!(filter.as_str(), &*text);
                prop_assert!(!text.starts_with('$') && !text.contains('\0'));
            }
        }
    }
}
