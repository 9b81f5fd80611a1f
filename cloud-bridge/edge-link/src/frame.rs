//! Messages as octets: one line of JSON each.

use device_model::Timestamp;
use serde_json::{Map, Value};

use crate::message::{Header, Message, MessageId, Route};

/// The most octets that one message may have, unless a configuration says otherwise: 32 MiB. KubeEdge knows no limit
/// on this channel; an object in etcd has 1.5 MiB at most, a list of devices may have more.
pub const FRAME_LIMIT: usize = 32 << 20;

/// What was wrong with a frame. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// End the connection: the peer sends more than is kept in memory.
    #[error("the message has {octets} octets, the limit is {limit}; send less, or raise the limit")]
    TooLarge {
        /// How many came.
        octets: usize,
        /// How many may.
        limit: usize,
    },
    /// End the connection, as KubeEdge's programs do: what comes next cannot be trusted either.
    #[error("the message is no JSON at line {line}, column {column}: {reason}; send one object")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 where the text ends too early.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// Drop the message and go on: it is JSON, and not a message.
    #[error("{field} = {value}: not {wanted}; send {wanted}")]
    Shape {
        /// `header.timestamp`, or `message` for the whole.
        field: &'static str,
        /// Its beginning.
        value: String,
        /// What belongs there.
        wanted: &'static str,
    },
}

/// Reads one message of at most `limit` octets, with or without the newline at its end.
///
/// Members that are missing, null or empty are absent; members that are not known are ignored; of one that is there
/// twice the last counts. KubeEdge's programs read in the same way.
///
/// # Errors
/// Too large, no JSON, or another shape; the error says what the caller does next.
pub fn read(frame: &[u8], limit: usize) -> Result<Message, FrameError> {
    if frame.len() > limit {
        return Err(FrameError::TooLarge { octets: frame.len(), limit });
    }
    let value = serde_json::from_slice(frame).map_err(|error| {
        let text = error.to_string();
        FrameError::NotJson {
            line: error.line(),
            column: error.column(),
            reason: text.split(" at line ").next().unwrap_or_default().to_owned(),
        }
    })?;
    let mut message = members("message", value)?;
    let content = message.remove("content").unwrap_or_default();
    let mut header = members("header", message.remove("header").unwrap_or_default())?;
    let mut route = members("route", message.remove("route").unwrap_or_default())?;
    let id = |text: Option<String>| text.as_deref().and_then(MessageId::new);
    Ok(Message {
        header: Header {
            id: id(text(&mut header, "msg_id", "header.msg_id")?),
            parent: id(text(&mut header, "parent_msg_id", "header.parent_msg_id")?),
            timestamp: Timestamp::from_millis(
                number(&mut header, "timestamp", "header.timestamp")?.unwrap_or(0),
            ),
            resource_version: text(&mut header, "resourceversion", "header.resourceversion")?,
            sync: flag(&mut header, "sync", "header.sync")?,
            kind: text(&mut header, "type", "header.type")?,
            order: order(&mut header)?,
        },
        route: Route {
            source: text(&mut route, "source", "route.source")?,
            destination: text(&mut route, "destination", "route.destination")?,
            group: text(&mut route, "group", "route.group")?,
            operation: text(&mut route, "operation", "route.operation")?,
            resource: text(&mut route, "resource", "route.resource")?,
        },
        content,
    })
}

/// Writes `message` as one line, newline included.
#[expect(clippy::expect_used, reason = "all keys are text, and nothing is written but memory")]
pub fn write(message: &Message) -> Vec<u8> {
    let mut frame = serde_json::to_vec(message).expect("a message is JSON by construction");
    frame.push(b'\n');
    frame
}

fn members(field: &'static str, value: Value) -> Result<Map<String, Value>, FrameError> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Null if field != "message" => Ok(Map::new()),
        other => Err(shape(field, &other, "an object")),
    }
}

fn text(
    members: &mut Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<Option<String>, FrameError> {
    match members.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(other) => Err(shape(field, &other, "a text")),
    }
}

fn number(
    members: &mut Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<Option<i64>, FrameError> {
    match members.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(other) => {
            other.as_i64().map(Some).ok_or_else(|| shape(field, &other, "whole milliseconds"))
        }
    }
}

fn order(members: &mut Map<String, Value>) -> Result<Option<u64>, FrameError> {
    let Some(value) = members.remove("edgetwin_order") else { return Ok(None) };
    match value.as_u64() {
        Some(order) => Ok(Some(order)),
        None => Err(shape("header.edgetwin_order", &value, "a whole number")),
    }
}

fn flag(
    members: &mut Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<bool, FrameError> {
    match members.remove(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(other) => Err(shape(field, &other, "true or false")),
    }
}

/// At most so many characters of what was wrong are shown.
const SHOWN: usize = 60;

fn shape(field: &'static str, value: &Value, wanted: &'static str) -> FrameError {
    let value = match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string().chars().take(SHOWN).collect(),
    };
    FrameError::Shape { field, value, wanted }
}
