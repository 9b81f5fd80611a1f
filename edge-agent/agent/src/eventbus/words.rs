//! What we publish: KubeEdge's members, in its order and with Go's escapes; ours are extra members.

use std::collections::BTreeMap;
use std::io;

use device_model::{DataType, DeviceState, PropertyName, Timestamp};
use device_twin::{Acknowledged, Desired, Reported, Twin, TwinProperty};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::api::view::Doubt;

/// `twin/update/result` and `twin/get/result`.
#[derive(Debug, Serialize)]
pub(super) struct ResultMessage<'a> {
    pub(super) event_id: &'a str,
    pub(super) timestamp: i64,
    pub(super) twin: BTreeMap<&'a str, Option<TwinWords>>,
    #[serde(flatten)]
    pub(super) revision: Option<Revision>,
}

/// An answer that refuses.
#[derive(Debug, Serialize)]
pub(super) struct ErrorMessage<'a> {
    pub(super) event_id: &'a str,
    pub(super) timestamp: i64,
    pub(super) code: u16,
    pub(super) reason: &'a str,
}

/// `twin/update/document`.
#[derive(Debug, Serialize)]
pub(super) struct DocumentMessage<'a> {
    pub(super) event_id: &'a str,
    pub(super) timestamp: i64,
    pub(super) twin: BTreeMap<&'a str, LastAndCurrent>,
    #[serde(flatten)]
    pub(super) revision: Option<Revision>,
}

/// One property before and after.
#[derive(Debug, Serialize)]
pub(super) struct LastAndCurrent {
    pub(super) last: Option<TwinWords>,
    pub(super) current: Option<TwinWords>,
}

/// `twin/update/delta`.
#[derive(Debug, Serialize)]
pub(super) struct DeltaMessage<'a> {
    pub(super) event_id: String,
    pub(super) timestamp: i64,
    pub(super) twin: BTreeMap<&'a str, TwinWords>,
    pub(super) delta: BTreeMap<&'a str, String>,
    #[serde(flatten)]
    pub(super) revision: Option<Revision>,
}

/// `state/update/result`.
#[derive(Debug, Serialize)]
pub(super) struct StateMessage<'a> {
    pub(super) event_id: String,
    pub(super) timestamp: i64,
    pub(super) device: StateWords<'a>,
}

/// The device in it.
#[derive(Debug, Serialize)]
pub(super) struct StateWords<'a> {
    pub(super) name: &'a str,
    pub(super) state: &'a str,
    #[serde(rename = "lastOnlineTime", skip_serializing_if = "Option::is_none")]
    pub(super) last_online: Option<String>,
}

/// `membership/get/result`.
#[derive(Debug, Serialize)]
pub(super) struct MembershipMessage<'a> {
    pub(super) event_id: &'a str,
    pub(super) timestamp: i64,
    pub(super) devices: Vec<DeviceWords<'a>>,
}

/// `membership/updated`.
#[derive(Debug, Serialize)]
pub(super) struct MembershipChange<'a> {
    pub(super) event_id: String,
    pub(super) timestamp: i64,
    pub(super) added_devices: Option<[DeviceWords<'a>; 1]>,
    pub(super) removed_devices: Option<[DeviceWords<'a>; 1]>,
}

/// A device in either.
#[derive(Debug, Serialize)]
pub(super) struct DeviceWords<'a> {
    pub(super) id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<DeviceState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_online: Option<String>,
}

/// Which state of which life of a device: an extra of ours.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Revision {
    pub(super) rev: u64,
    pub(super) uid: String,
}

/// One property.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TwinWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<ValueWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<ValueWords>,
    /// Always: what a model defines need not have a value.
    optional: bool,
    metadata: TypeWords,
}

/// One side of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ValueWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    metadata: ValueMetadata,
}

#[derive(Clone, Debug, Serialize)]
struct TypeWords {
    #[serde(rename = "type")]
    data_type: &'static str,
}

/// `timestamp` is KubeEdge's, the others ours.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueMetadata {
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_timestamp: Option<i64>,
}

impl TwinWords {
    /// Both sides, or `None` for a property that nobody said anything about yet.
    pub(super) fn of(state: &TwinProperty, data_type: DataType) -> Option<Self> {
        let expected = expected(state);
        let actual = actual(state);
        (expected.is_some() || actual.is_some()).then(|| Self::sides(expected, actual, data_type))
    }

    /// These sides.
    pub(super) fn sides(
        expected: Option<ValueWords>,
        actual: Option<ValueWords>,
        data_type: DataType,
    ) -> Self {
        let metadata = TypeWords { data_type: data_type.lower() };
        Self { expected, actual, optional: true, metadata }
    }
}

/// The desired side.
pub(super) fn expected(state: &TwinProperty) -> Option<ValueWords> {
    let desired: &Desired = state.desired.as_deref()?;
    let mut metadata = ValueMetadata {
        timestamp: desired.set_at.as_millis(),
        clock: Doubt::of(desired.set_at).map(Doubt::as_str),
        version: Some(desired.generation.0),
        ..ValueMetadata::default()
    };
    if let Some(Acknowledged { generation, code, detail, at }) = state.ack.as_deref() {
        metadata.ack_code = Some(code.number());
        metadata.ack_version = Some(generation.0);
        metadata.ack_detail = (!detail.is_empty()).then(|| detail.to_string());
        metadata.ack_timestamp = Some(at.as_millis());
    }
    Some(ValueWords { value: Some(desired.value.to_string()), metadata })
}

/// The reported side. With bad quality it holds the last good value, marked as bad.
pub(super) fn actual(state: &TwinProperty) -> Option<ValueWords> {
    let reported: &Reported = state.reported.as_ref()?;
    let metadata = ValueMetadata {
        timestamp: reported.sample_time.as_millis(),
        source_timestamp: reported.source_time.map(Timestamp::as_millis),
        received_timestamp: Some(reported.received_at.as_millis()),
        clock: Doubt::of(reported.received_at).map(Doubt::as_str),
        quality: Some(reported.quality.as_str()),
        quality_code: Some(reported.code.as_str()),
        ..ValueMetadata::default()
    };
    Some(ValueWords { value: reported.value.as_ref().map(ToString::to_string), metadata })
}

/// A value as a client said it, where the twin did not change.
pub(super) fn said(text: &str, at: Timestamp) -> ValueWords {
    let metadata = ValueMetadata { timestamp: at.as_millis(), ..ValueMetadata::default() };
    ValueWords { value: Some(text.into()), metadata }
}

/// All properties of `twin` that somebody said something about.
pub(super) fn twin(twin: &Twin) -> BTreeMap<&str, Option<TwinWords>> {
    twin.properties()
        .filter_map(|(property, state)| {
            let words = TwinWords::of(state, property.data_type)?;
            Some((property.name.as_str(), Some(words)))
        })
        .collect()
}

/// The delta of `twin` beside every property that something is desired of; `None` if there is no delta.
pub(super) fn delta(twin: &Twin, at: Timestamp) -> Option<DeltaMessage<'_>> {
    let delta: BTreeMap<_, _> =
        twin.delta().map(|delta| (delta.name.as_str(), delta.value.to_string())).collect();
    if delta.is_empty() {
        return None;
    }
    let desired = twin.properties().filter(|(_, state)| state.desired.is_some());
    let words = desired.filter_map(|(property, state)| {
        Some((property.name.as_str(), TwinWords::of(state, property.data_type)?))
    });
    Some(DeltaMessage {
        event_id: uuid::Uuid::new_v4().to_string(),
        timestamp: at.as_millis(),
        twin: words.collect(),
        delta,
        revision: Some(Revision { rev: twin.rev(), uid: twin.uid().to_string() }),
    })
}

/// The type of a property that a change speaks of.
pub(super) fn data_type(device: &device_model::Device, name: &PropertyName) -> DataType {
    device.property(name.as_str()).map_or(DataType::String, |property| property.data_type)
}

/// JSON as Go's encoder writes it: `<`, `>`, `&` and the two line separators escaped.
pub(super) fn to_json(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    // Maps with text keys and no failing writer: nothing in these types can fail.
    if message.serialize(&mut serializer).is_err() {
        bytes.clear();
    }
    bytes
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut start = 0;
        for (index, c) in fragment.char_indices() {
            let escape = match c {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[start..index])?;
            writer.write_all(escape.as_bytes())?;
            start = index + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_go_does_and_keys_are_sorted() {
        let twin = ["z<", "a&b"]
            .into_iter()
            .map(|name| (name, Some(TwinWords::sides(None, None, DataType::Int))))
            .collect();
        let message = ResultMessage { event_id: "é>\n", timestamp: 5, twin, revision: None };
        assert_eq!(
            String::from_utf8(to_json(&message)).unwrap(),
            r#"{"event_id":"é\u003e\n","timestamp":5,"twin":{"a\u0026b":{"optional":true,"metadata":{"type":"int"}},"z\u003c":{"optional":true,"metadata":{"type":"int"}}}}"#
        );
    }

    #[test]
    fn an_error_has_code_and_reason_alone() {
        let message = ErrorMessage { event_id: "e5", timestamp: 7, code: 400, reason: "no" };
        assert_eq!(
            to_json(&message),
            br#"{"event_id":"e5","timestamp":7,"code":400,"reason":"no"}"#
        );
    }
}
