//! One value or word to and from a column.

use device_model::{
    AckCode, DataType, DeviceId, DeviceState, PropertyName, Quality, QualityCode, Timestamp, Value,
};
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::Failure;

/// A version as SQLite's integer; versions stay below 2^53.
pub(super) fn int(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// A version back from SQLite's integer.
pub(super) fn version(column: i64) -> Result<u64, Failure> {
    u64::try_from(column).map_err(|_| Failure::Damaged(format!("{column} is no version")))
}

pub(super) fn time(time: Timestamp) -> i64 {
    time.as_millis()
}

/// The column for a value.
pub(super) fn column(value: &Value) -> ToSqlOutput<'_> {
    let real = |number: f64| {
        if number.is_finite() {
            ToSqlOutput::Owned(rusqlite::types::Value::Real(number))
        } else {
            ToSqlOutput::Owned(rusqlite::types::Value::Text(number.to_string()))
        }
    };
    match value {
        Value::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
        Value::Float(number) => real(f64::from(*number)),
        Value::Double(number) => real(*number),
        Value::String(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        Value::Boolean(truth) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*truth))),
        Value::Bytes(octets) => ToSqlOutput::Borrowed(ValueRef::Blob(octets)),
    }
}

/// The value in a column; `None`: the column is null.
pub(super) fn value(data_type: DataType, column: ValueRef<'_>) -> Result<Option<Value>, Failure> {
    let value = match (data_type, column) {
        (_, ValueRef::Null) => return Ok(None),
        (DataType::Int, ValueRef::Integer(number)) => Value::Int(number),
        #[expect(clippy::cast_possible_truncation, reason = "it was widened from 32 bits")]
        (DataType::Float, ValueRef::Real(number)) => Value::Float(number as f32),
        (DataType::Double, ValueRef::Real(number)) => Value::Double(number),
        (DataType::Float | DataType::Double, ValueRef::Text(text)) => {
            let text = std::str::from_utf8(text).unwrap_or_default();
            Value::parse(data_type, text).map_err(|error| Failure::Damaged(error.to_string()))?
        }
        (DataType::String, ValueRef::Text(text)) => {
            let text = std::str::from_utf8(text);
            Value::String(text.map_err(|error| Failure::Damaged(error.to_string()))?.into())
        }
        (DataType::Boolean, ValueRef::Integer(number)) => Value::Boolean(number != 0),
        (DataType::Bytes, ValueRef::Blob(octets)) => Value::Bytes(octets.into()),
        (data_type, other) => {
            let found = other.data_type();
            return Err(Failure::Damaged(format!("a column of {found} for a {data_type}")));
        }
    };
    Ok(Some(value))
}

fn word<T>(known: Option<T>, text: &str) -> Result<T, Failure> {
    known.ok_or_else(|| Failure::Damaged(format!("unknown word \"{text}\"")))
}

pub(super) fn state(text: &str) -> Result<DeviceState, Failure> {
    word(DeviceState::from_name(text), text)
}

pub(super) fn quality(text: &str) -> Result<Quality, Failure> {
    word(Quality::from_name(text), text)
}

pub(super) fn quality_code(text: &str) -> Result<QualityCode, Failure> {
    word(QualityCode::from_name(text), text)
}

pub(super) fn data_type(text: &str) -> Result<DataType, Failure> {
    word(DataType::from_name(text), text)
}

pub(super) fn ack_code(number: i64) -> Result<AckCode, Failure> {
    let code = u16::try_from(number).ok().and_then(AckCode::from_number);
    code.ok_or_else(|| Failure::Damaged(format!("{number} is no acknowledgement code")))
}

pub(super) fn device_id(namespace: &str, name: &str) -> Result<DeviceId, Failure> {
    DeviceId::new(namespace, name).map_err(|error| Failure::Damaged(error.to_string()))
}

pub(super) fn property_name(text: &str) -> Result<PropertyName, Failure> {
    PropertyName::new(text).map_err(|error| Failure::Damaged(error.to_string()))
}
