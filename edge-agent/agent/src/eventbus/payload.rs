//! What clients publish, read as Go would read it: keys in any letter case, unknown ones passed over, numbers
//! whole, values strings.

use serde_json::{Map, Value as Json};

/// Largest number of properties in one message.
const PROPERTIES: usize = 512;
/// The words for a device's state, for whoever wrote none of them.
pub(super) const STATES: &str = "write online, offline, ok, unhealthy or unknown";
const OBJECT: &str = "send an object, if only {}";
const SIDES: &str = "write {\"expected\":{\"value\":\"…\"}}, or actual, or null to withdraw a wish";

/// A message that cannot be read: why, and its event id if that could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) event_id: String,
    pub(crate) reason: String,
}

/// `twin/update`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Update {
    pub(crate) event_id: String,
    /// In the order of their names.
    pub(crate) twins: Vec<(String, Wish)>,
}

/// What an update says about one property.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    /// `null`: nothing is wanted of it any more.
    Remove,
    /// A reported value, a desired one, both or neither.
    Values { actual: Option<String>, expected: Option<String> },
}

/// Reads `twin/update`.
pub(crate) fn update(bytes: &[u8]) -> Result<Update, Unreadable> {
    let (event_id, object) = message(bytes)?;
    let refuse = |reason: String| Unreadable { event_id: event_id.clone(), reason };
    let twin = match member(&object, "twin") {
        Some(Json::Object(twin)) => twin,
        None | Some(Json::Null) => {
            return Err(refuse("twin is missing; send an object of properties".into()));
        }
        Some(_) => {
            return Err(refuse("twin is not an object; send an object of properties".into()));
        }
    };
    if twin.len() > PROPERTIES {
        return Err(refuse(format!(
            "twin holds more than {PROPERTIES} properties; send several messages"
        )));
    }
    let mut twins = Vec::with_capacity(twin.len());
    for (name, wish) in twin {
        let wish = match wish {
            Json::Null => Wish::Remove,
            Json::Object(parts) => Wish::Values {
                actual: value(parts, name, "actual").map_err(refuse)?,
                expected: value(parts, name, "expected").map_err(refuse)?,
            },
            _ => return Err(refuse(format!("twin.{name} is neither an object nor null; {SIDES}"))),
        };
        twins.push((name.clone(), wish));
    }
    twins.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Update { event_id, twins })
}

/// Reads `twin/get` and `membership/get`: the event id is all that counts.
pub(crate) fn get(bytes: &[u8]) -> Result<String, Unreadable> {
    message(bytes).map(|(event_id, _)| event_id)
}

/// Reads `state/update`: the word as it came.
pub(crate) fn state(bytes: &[u8]) -> Result<String, Unreadable> {
    let (event_id, object) = message(bytes)?;
    match member(&object, "state") {
        Some(Json::String(word)) => Ok(word.clone()),
        _ => Err(Unreadable { event_id, reason: format!("state is missing; {STATES}") }),
    }
}

fn message(bytes: &[u8]) -> Result<(String, Map<String, Json>), Unreadable> {
    let refuse = |event_id: &str, reason: String| Unreadable { event_id: event_id.into(), reason };
    let json: Json = serde_json::from_slice(bytes)
        .map_err(|error| refuse("", format!("the payload is not JSON: {error}; {OBJECT}")))?;
    let Json::Object(object) = json else {
        return Err(refuse("", format!("the payload is not a JSON object; {OBJECT}")));
    };
    let event_id = match member(&object, "event_id") {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(id)) => id.clone(),
        Some(_) => return Err(refuse("", "event_id is not a string; write it in quotes".into())),
    };
    match member(&object, "timestamp") {
        None | Some(Json::Null) => {}
        Some(Json::Number(number)) if number.is_i64() => {}
        Some(_) => {
            return Err(refuse(
                &event_id,
                "timestamp is not a whole number of milliseconds; leave it out, it is not used"
                    .into(),
            ));
        }
    }
    Ok((event_id, object))
}

/// The text in `parts.<side>.value`.
fn value(parts: &Map<String, Json>, name: &str, side: &str) -> Result<Option<String>, String> {
    match member(parts, side) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(twin_value)) => match member(twin_value, "value") {
            Some(Json::String(text)) => Ok(Some(text.clone())),
            None | Some(Json::Null) => {
                Err(format!("twin.{name}.{side}.value is missing; write it in quotes"))
            }
            Some(other) => Err(format!(
                "twin.{name}.{side}.value is not a string; write it in quotes: \"{other}\""
            )),
        },
        Some(_) => Err(format!("twin.{name}.{side} is not an object; write {{\"value\":\"…\"}}")),
    }
}

/// The member of that name, in any letter case; the exact one first.
fn member<'a>(object: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    object.get(name).or_else(|| {
        object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn actual(text: &str) -> Wish {
        Wish::Values { actual: Some(text.into()), expected: None }
    }

    #[test]
    fn keys_are_read_in_any_case() {
        let read = update(br#"{"EVENT_ID":"i","Twin":{"cs":{"Actual":{"VALUE":"1"}}}}"#).unwrap();
        assert_eq!(read, Update { event_id: "i".into(), twins: vec![("cs".into(), actual("1"))] });
        assert_eq!(state(br#"{"State":"offline"}"#).unwrap(), "offline");
    }

    #[test]
    fn what_cannot_be_read_is_named_and_keeps_its_event_id() {
        for (text, part) in [
            (r#"{"event_id":"e"}"#, "twin is missing"),
            (r#"{"event_id":"e","twin":null}"#, "twin is missing"),
            (r#"{"event_id":"e","twin":{"num":{"actual":{"value":21}}}}"#, "in quotes: \"21\""),
            (
                r#"{"event_id":"e","twin":{"num":{"actual":{}}}}"#,
                "twin.num.actual.value is missing; write it in quotes",
            ),
            (r#"{"event_id":"e","twin":{"num":7}}"#, "twin.num is neither"),
            (r#"{"event_id":"e","timestamp":"1","twin":{}}"#, "timestamp is not a whole"),
            (r#"{"event_id":"e","timestamp":1.5,"twin":{}}"#, "timestamp is not a whole"),
        ] {
            let refused = update(text.as_bytes()).unwrap_err();
            assert_eq!(refused.event_id, "e", "{text}");
            assert!(refused.reason.contains(part), "{text}: {}", refused.reason);
        }
        assert!(update(b"{").unwrap_err().reason.contains("not JSON"));
        assert!(get(b"").unwrap_err().reason.contains("not JSON"));
    }

    #[test]
    fn an_update_may_be_empty_or_remove() {
        assert_eq!(update(br#"{"twin":{}}"#).unwrap().twins, vec![]);
        assert_eq!(update(br#"{"twin":{"a":null}}"#).unwrap().twins, [("a".into(), Wish::Remove)]);
        let neither = Wish::Values { actual: None, expected: None };
        assert_eq!(update(br#"{"twin":{"a":{}}}"#).unwrap().twins, [("a".into(), neither)]);
    }

    fn json() -> impl Strategy<Value = Json> {
        let key = "(twin|Twin|event_id|timestamp|actual|expected|value|state|metadata|[a-z]{0,3})";
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            ".{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(key, inner, 0..5)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (update(&bytes), get(&bytes), state(&bytes));
        }

        #[test]
        fn no_json_panics(json in json()) {
            let bytes = json.to_string().into_bytes();
            let _ = (update(&bytes), get(&bytes), state(&bytes));
        }
    }
}
