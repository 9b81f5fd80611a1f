//! What an entry says, in KubeEdge's messages.

use std::collections::BTreeMap;

use device_model::Timestamp;
use device_twin::{Change, Twin, TwinProperty};

use crate::eventbus::words::{
    DocumentMessage, LastAndCurrent, ResultMessage, Revision, TwinWords, actual, data_type,
    expected, said, twin,
};
use crate::feed::{Entry, Touched};

pub(super) fn result<'a>(
    entry: &'a Entry,
    event_id: &'a str,
    touched: &'a [Touched],
) -> ResultMessage<'a> {
    let mut twin = BTreeMap::new();
    for touched in touched {
        let state = newest(entry, &touched.name);
        if touched.removed {
            if state.is_some() {
                twin.insert(touched.name.as_str(), None);
            }
        } else if touched.reported || touched.expected.is_some() {
            let words = match state {
                Some(state) => TwinWords::sides(
                    state.filter(|_| touched.expected.is_some()).and_then(expected),
                    state.filter(|_| touched.reported).and_then(actual),
                    touched.data_type,
                ),
                None => unchanged(touched, entry.at),
            };
            twin.insert(touched.name.as_str(), Some(words));
        }
    }
    let revision = entry.changes.last().map(revision_of);
    ResultMessage { event_id, timestamp: entry.at.as_millis(), twin, revision }
}

/// State of a property after what `entry` changed, if it changed it.
fn newest<'a>(entry: &'a Entry, name: &str) -> Option<Option<&'a TwinProperty>> {
    let changes = entry.changes.iter().rev().flat_map(|change| &change.properties);
    changes.into_iter().find(|one| one.name.as_str() == name).map(|one| one.new.as_ref())
}

/// What was said of a property that was so already.
fn unchanged(touched: &Touched, at: Timestamp) -> TwinWords {
    TwinWords::sides(
        touched.expected.as_deref().map(|text| said(text, at)),
        touched.actual.as_deref().map(|text| said(text, at)),
        touched.data_type,
    )
}

/// Before and after of all that changed, and of what was touched without a change.
pub(super) fn document<'a>(
    event_id: &'a str,
    at: Timestamp,
    changes: impl IntoIterator<Item = &'a Change>,
    touched: &'a [Touched],
) -> DocumentMessage<'a> {
    let mut twin: BTreeMap<&str, LastAndCurrent> = BTreeMap::new();
    let mut revision = None;
    for change in changes {
        for property in &change.properties {
            let data_type = data_type(&change.device, &property.name);
            let words =
                |side: &Option<_>| side.as_ref().and_then(|side| TwinWords::of(side, data_type));
            let both = twin
                .entry(property.name.as_str())
                .or_insert_with(|| LastAndCurrent { last: words(&property.old), current: None });
            both.current = words(&property.new);
        }
        revision = Some(revision_of(change));
    }
    for touched in touched.iter().filter(|one| !one.removed && one.says_something()) {
        twin.entry(&touched.name).or_insert_with(|| LastAndCurrent {
            last: Some(unchanged(touched, at)),
            current: Some(unchanged(touched, at)),
        });
    }
    DocumentMessage { event_id, timestamp: at.as_millis(), twin, revision }
}

/// A document of everything, as nobody knows what was before.
pub(super) fn present_state(of: &Twin, at: Timestamp) -> DocumentMessage<'_> {
    let twin = twin(of).into_iter();
    DocumentMessage {
        event_id: "",
        timestamp: at.as_millis(),
        twin: twin.map(|(name, current)| (name, LastAndCurrent { last: None, current })).collect(),
        revision: Some(revision(of)),
    }
}

pub(super) fn revision(twin: &Twin) -> Revision {
    Revision { rev: twin.rev(), uid: twin.uid().to_string() }
}

fn revision_of(change: &Change) -> Revision {
    Revision { rev: change.rev, uid: change.uid.to_string() }
}

/// RFC 3339 without fractions, as KubeEdge writes it.
pub(super) fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_millis(time.as_millis() / 1000 * 1000).to_string().replace(".000Z", "Z")
}
