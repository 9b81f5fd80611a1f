//! Any octets as a message of a client of the event bus, a topic in the first line and the payload below it: they are
//! read or refused with a reason, and what was read reads the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use payload::{Unreadable, Update, Wish};
use serde_json::{Map, Value as Json, json};
use topic::Topic;

// The agent keeps them to itself, and the rest of it would take minutes to build with a sanitizer.
#[allow(dead_code)]
#[path = "../../src/eventbus/payload.rs"]
mod payload;
#[allow(dead_code)]
#[path = "../../src/eventbus/topic.rs"]
mod topic;

fn written(update: &Update) -> Json {
    let side = |text: &Option<String>| text.as_ref().map(|text| json!({"value": text}));
    let wish = |wish: &Wish| match wish {
        Wish::Remove => Json::Null,
        Wish::Values { actual, expected } => {
            json!({"actual": side(actual), "expected": side(expected)})
        }
    };
    let twin: Map<_, _> = update.twins.iter().map(|(name, of)| (name.clone(), wish(of))).collect();
    json!({"event_id": update.event_id, "twin": twin})
}

fn refused(unreadable: &Unreadable) {
    assert!(!unreadable.reason.is_empty());
}

/// Reads `octets`, and again what `write` makes of what was read.
fn twice<T: PartialEq + std::fmt::Debug>(
    octets: &[u8],
    read: impl Fn(&[u8]) -> Result<T, Unreadable>,
    write: impl Fn(&T) -> Json,
) {
    match read(octets) {
        Ok(first) => {
            let again = read(write(&first).to_string().as_bytes());
            assert_eq!(again.as_ref(), Ok(&first));
        }
        Err(unreadable) => refused(&unreadable),
    }
}

fuzz_target!(|octets: &[u8]| {
    let mut halves = octets.splitn(2, |octet| *octet == b'\n');
    let (topic, payload) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let asked = std::str::from_utf8(topic).ok().and_then(topic::parse);
    if let Some(Topic::TwinUpdate(address)) = asked
        && let Some(id) = address.id()
    {
        assert_eq!(topic::of(&id, "twin/update").as_bytes(), topic);
    }
    // Each payload on each topic.
    twice(payload, payload::update, written);
    twice(payload, payload::get, |event_id| json!({"event_id": event_id}));
    twice(payload, payload::state, |word| json!({"state": word}));
});
