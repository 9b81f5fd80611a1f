//! One scalar of a `configData` map as a `google.protobuf.Any`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use device_model::Scalar;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};

use super::Peer;

const URL_PREFIX: &str = "type.googleapis.com/google.protobuf.";
const WRAPPERS: &str = "a google.protobuf wrapper of a scalar, such as StringValue, Int64Value, DoubleValue or BoolValue";

/// Wraps a scalar so that `peer` reads it.
///
/// Whole numbers go as `Int64Value`; KubeEdge's framework takes that, and a `FloatValue` would lose bits from
/// 2^24 on. A fraction goes to one of ours as `DoubleValue`, to others as the nearest `FloatValue`, or as text
/// where it is too large for 32 bits.
pub fn scalar_to_any(scalar: &Scalar, peer: Peer) -> Any {
    match scalar {
        Scalar::Boolean(truth) => wrap("BoolValue", truth),
        Scalar::Int(number) => wrap("Int64Value", number),
        Scalar::Float(number) if peer == Peer::Edgetwin => wrap("DoubleValue", number),
        Scalar::Float(number) => match nearest_f32(*number) {
            Some(nearest) => wrap("FloatValue", &nearest),
            None => wrap("StringValue", &number.to_string()),
        },
        Scalar::String(text) => wrap("StringValue", text),
    }
}

fn wrap<M: Message>(wrapper: &str, value: &M) -> Any {
    Any { type_url: format!("{URL_PREFIX}{wrapper}"), value: value.encode_to_vec() }
}

fn nearest_f32(number: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest is what is wanted")]
    let nearest = number as f32;
    nearest.is_finite().then_some(nearest)
}

/// Unwraps a scalar of whichever wrapper; `None` for a JSON null.
///
/// KubeEdge sends every number as a 32-bit float: a whole one becomes an integer again, and 0.1 stays 0.1.
/// Octets become base64 in its URL alphabet; a list or an object, which no KubeEdge sends, becomes its JSON text.
///
/// # Errors
/// What is wrong, and what was expected: another message than a wrapper, octets that are none, or no finite number.
pub fn scalar_from_any(any: &Any) -> Result<Option<Scalar>, (String, &'static str)> {
    let wrapper = any.type_url.rsplit('/').next().unwrap_or_default();
    let unreadable = |error: prost::DecodeError| (format!("{wrapper}: {error}"), WRAPPERS);
    let octets = any.value.as_slice();
    let scalar = match wrapper.strip_prefix("google.protobuf.").unwrap_or_default() {
        "BoolValue" => Scalar::Boolean(bool::decode(octets).map_err(unreadable)?),
        "Int32Value" => Scalar::Int(i32::decode(octets).map_err(unreadable)?.into()),
        "UInt32Value" => Scalar::Int(u32::decode(octets).map_err(unreadable)?.into()),
        "Int64Value" => Scalar::Int(i64::decode(octets).map_err(unreadable)?),
        "UInt64Value" => {
            let number = u64::decode(octets).map_err(unreadable)?;
            // Readers of a config take a quoted number, so that one too large for i64 loses no bit.
            i64::try_from(number).map_or_else(|_| Scalar::String(number.to_string()), Scalar::Int)
        }
        "FloatValue" => {
            let number = f32::decode(octets).map_err(unreadable)?;
            // Through the shortest text: 0.1 as f32 is 0.1 to whoever wrote it, not 0.10000000149011612.
            finite(number.to_string().parse().unwrap_or(f64::NAN))?
        }
        "DoubleValue" => finite(f64::decode(octets).map_err(unreadable)?)?,
        "StringValue" => Scalar::String(String::decode(octets).map_err(unreadable)?),
        "BytesValue" => {
            let bytes = Vec::<u8>::decode(octets).map_err(unreadable)?;
            Scalar::String(URL_SAFE_NO_PAD.encode(bytes))
        }
        "Value" => match Value::decode(octets).map_err(unreadable)?.kind {
            None | Some(Kind::NullValue(_)) => return Ok(None),
            Some(Kind::BoolValue(truth)) => Scalar::Boolean(truth),
            Some(Kind::NumberValue(number)) => finite(number)?,
            Some(Kind::StringValue(text)) => Scalar::String(text),
            Some(Kind::ListValue(list)) => Scalar::String(list_json(list).to_string()),
            Some(Kind::StructValue(object)) => Scalar::String(object_json(object).to_string()),
        },
        "Struct" => {
            Scalar::String(object_json(Struct::decode(octets).map_err(unreadable)?).to_string())
        }
        "ListValue" => {
            Scalar::String(list_json(ListValue::decode(octets).map_err(unreadable)?).to_string())
        }
        _ => return Err((format!("type {:?}", any.type_url), WRAPPERS)),
    };
    Ok(Some(scalar))
}

fn finite(number: f64) -> Result<Scalar, (String, &'static str)> {
    if number.is_finite() {
        Ok(Scalar::number(number))
    } else {
        Err((format!("the number {number}"), "a finite number"))
    }
}

fn object_json(object: Struct) -> Json {
    let members = object.fields.into_iter().map(|(key, value)| (key, value_json(value)));
    Json::Object(members.collect::<Map<_, _>>())
}

fn list_json(list: ListValue) -> Json {
    Json::Array(list.values.into_iter().map(value_json).collect())
}

/// Nested as deep as prost decodes, which is 100 levels. A number that is not finite becomes null.
fn value_json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(truth)) => Json::Bool(truth),
        Some(Kind::NumberValue(number)) => match Scalar::number(number) {
            Scalar::Int(whole) => whole.into(),
            _ => Number::from_f64(number).map_or(Json::Null, Json::Number),
        },
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => list_json(list),
        Some(Kind::StructValue(object)) => object_json(object),
    }
}
