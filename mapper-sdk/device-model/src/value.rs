//! One typed value and its text form.
//!
//! [`Value::parse`] and [`Value`]'s `Display` are inverse. That text is *the* form of a value in DMI
//! messages, MQTT payloads and custom resources, so it keeps to characters that a real EdgeCore accepts:
//! no exponent, no `+`, base64 in its URL alphabet without padding.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The type of a property, named as in the DeviceModel resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DataType {
    /// Signed 64-bit integer.
    Int,
    /// 32-bit float, so that 0.1 prints as `0.1`.
    Float,
    /// 64-bit float.
    Double,
    /// UTF-8 text.
    String,
    /// `true` or `false`.
    Boolean,
    /// Octets; base64 in the text form.
    Bytes,
}

impl DataType {
    /// The name used by MQTT payloads and DMI metadata (`int`, `float`, …).
    pub const fn lower(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Float => "float",
            Self::Double => "double",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Bytes => "bytes",
        }
    }

    /// Takes the CRD name in any case, and the short words `bool` and `integer` that mappers use.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "int" | "integer" => Self::Int,
            "float" => Self::Float,
            "double" => Self::Double,
            "string" => Self::String,
            "boolean" | "bool" => Self::Boolean,
            "bytes" => Self::Bytes,
            _ => return None,
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "INT",
            Self::Float => "FLOAT",
            Self::Double => "DOUBLE",
            Self::String => "STRING",
            Self::Boolean => "BOOLEAN",
            Self::Bytes => "BYTES",
        })
    }
}

/// Who may change a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Access {
    /// The device alone.
    ReadOnly,
    /// The device, and whoever desires a value.
    ReadWrite,
}

/// One value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Signed 64-bit integer.
    Int(i64),
    /// 32-bit float.
    Float(f32),
    /// 64-bit float.
    Double(f64),
    /// UTF-8 text.
    String(String),
    /// Truth.
    Boolean(bool),
    /// Octets.
    Bytes(Vec<u8>),
}

/// The text is not a value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct ParseValueError {
    /// What was given, at most 64 characters of it.
    pub text: String,
    /// What would have been accepted, for example `a whole number from -2^63 to 2^63-1`.
    pub expected: &'static str,
}

impl Value {
    /// Reads the text form of a value of type `data_type`.
    ///
    /// Numbers may have spaces around them; an integer may be written as `5.0`, since KubeEdge carries numbers
    /// as floats. Bytes may be base64 in either alphabet, padded or not.
    ///
    /// # Errors
    /// The text is not of that type, or out of its range.
    pub fn parse(data_type: DataType, text: &str) -> Result<Self, ParseValueError> {
        let refuse = |expected| ParseValueError { text: text.chars().take(64).collect(), expected };
        match data_type {
            DataType::Int => parse_int(text.trim())
                .map(Self::Int)
                .ok_or_else(|| refuse("a whole number from -2^63 to 2^63-1")),
            DataType::Float => text
                .trim()
                .parse::<f32>()
                .ok()
                .filter(|number| number.is_finite() || !text.contains(|c: char| c.is_ascii_digit()))
                .map(Self::Float)
                .ok_or_else(|| refuse("a number that fits 32 bits, such as 21.5")),
            DataType::Double => text
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() || !text.contains(|c: char| c.is_ascii_digit()))
                .map(Self::Double)
                .ok_or_else(|| refuse("a number, such as 21.5")),
            DataType::String => Ok(Self::String(text.into())),
            DataType::Boolean => match text.trim() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(Self::Boolean(true)),
                "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(Self::Boolean(false)),
                _ => Err(refuse("true or false")),
            },
            DataType::Bytes => URL_SAFE_NO_PAD
                .decode(text)
                .or_else(|_| URL_SAFE.decode(text))
                .or_else(|_| STANDARD.decode(text))
                .map(Self::Bytes)
                .map_err(|_| refuse("base64")),
        }
    }

    /// The type of this value.
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::Int(_) => DataType::Int,
            Self::Float(_) => DataType::Float,
            Self::Double(_) => DataType::Double,
            Self::String(_) => DataType::String,
            Self::Boolean(_) => DataType::Boolean,
            Self::Bytes(_) => DataType::Bytes,
        }
    }

    /// The value as a number, for limits and deadbands; `None` for text and octets. A boolean is 0 or 1.
    #[expect(clippy::cast_precision_loss, reason = "limits and deadbands need no 64 exact bits")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            // Through the decimal text, so that 0.1f32 compares with 0.1 as a person reads it.
            Self::Float(number) => Some(number.to_string().parse().unwrap_or(f64::NAN)),
            Self::Double(number) => Some(*number),
            Self::Boolean(truth) => Some(f64::from(u8::from(*truth))),
            Self::String(_) | Self::Bytes(_) => None,
        }
    }

    /// Whether both mean the same: same type, equal content, and NaN equals NaN (rule R3).
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::Double(a), Self::Double(b)) => a == b || (a.is_nan() && b.is_nan()),
            (a, b) => a == b,
        }
    }

    /// Whether `self`, as a device shows it, is within `tolerance` of `wanted`. With no tolerance, or for text, whether
    /// they are the same; floats then may differ by what scaling to a register and back costs: a millionth of a FLOAT,
    /// a billionth of a DOUBLE.
    pub fn within(&self, wanted: &Self, tolerance: Option<f64>) -> bool {
        if self.same_as(wanted) {
            return true;
        }
        let rounding = match wanted {
            Self::Float(number) if number.is_finite() => Some(f64::from(number.abs()) * 1e-6),
            Self::Double(number) if number.is_finite() => Some(number.abs() * 1e-9),
            _ => None,
        };
        match (tolerance.or(rounding), self.as_f64(), wanted.as_f64()) {
            (Some(tolerance), Some(a), Some(b)) if self.data_type() == wanted.data_type() => {
                (a - b).abs() <= tolerance
            }
            _ => false,
        }
    }
}

/// `5`, `-5`, `+5`, and `5.0` or `1e3` where they are exactly whole.
fn parse_int(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    // 2^53: above it a float no longer names one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Double(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
            Self::Boolean(truth) => write!(f, "{truth}"),
            Self::Bytes(octets) => f.write_str(&URL_SAFE_NO_PAD.encode(octets)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            any::<f32>().prop_map(Value::Float),
            any::<f64>().prop_map(Value::Double),
            any::<String>().prop_map(Value::String),
            any::<bool>().prop_map(Value::Boolean),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn a_value_reads_back_from_its_text(value in any_value()) {
            let back = Value::parse(value.data_type(), &value.to_string()).unwrap();
            prop_assert!(back.same_as(&value), "{back:?} is not {value:?}");
        }

        #[test]
        fn no_text_makes_parsing_panic(text in any::<String>(), kind in 0usize..6) {
            let kinds = [DataType::Int, DataType::Float, DataType::Double, DataType::String, DataType::Boolean, DataType::Bytes];
            let _ = Value::parse(kinds[kind], &text);
        }

        #[test]
        fn numbers_keep_to_the_characters_that_edgecore_accepts(number in any::<f64>()) {
            let text = Value::Double(number).to_string();
            prop_assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)), "{text}");
        }
    }

    #[test]
    fn the_limits_survive() {
        for value in [
            Value::Int(i64::MIN),
            Value::Int(i64::MAX),
            Value::Float(0.1),
            Value::Float(f32::MIN_POSITIVE),
            Value::Double(-0.0),
            Value::Double(f64::NAN),
            Value::Double(f64::INFINITY),
            Value::Double(f64::MAX),
        ] {
            let back = Value::parse(value.data_type(), &value.to_string()).unwrap();
            assert!(back.same_as(&value), "{back:?} is not {value:?}");
        }
        assert_eq!(Value::Float(0.1).to_string(), "0.1");
        assert_eq!(Value::Float(0.1).as_f64(), Some(0.1));
    }

    #[test]
    fn an_integer_may_be_written_as_a_whole_float() {
        assert_eq!(Value::parse(DataType::Int, "5.0"), Ok(Value::Int(5)));
        assert!(Value::parse(DataType::Int, "5.5").is_err());
        assert!(Value::parse(DataType::Int, "9223372036854775808").is_err());
    }

    #[test]
    fn a_number_too_large_for_its_type_is_refused() {
        assert!(Value::parse(DataType::Float, "1e39").is_err());
        assert!(Value::parse(DataType::Double, "1e309").is_err());
        assert_eq!(Value::parse(DataType::Float, "inf"), Ok(Value::Float(f32::INFINITY)));
    }

    #[test]
    fn the_error_names_the_text_and_what_would_do() {
        let error = Value::parse(DataType::Int, "fast").unwrap_err();
        assert_eq!(error.to_string(), "\"fast\" is not a whole number from -2^63 to 2^63-1");
    }

    #[test]
    fn tolerance_applies_to_numbers_alone() {
        assert!(Value::Float(20.1).within(&Value::Float(20.0), Some(0.2)));
        assert!(!Value::Float(20.3).within(&Value::Float(20.0), Some(0.2)));
        assert!(Value::Double(0.1 + 0.2).within(&Value::Double(0.3), None), "rounding");
        assert!(!Value::Double(0.1 + 0.2).within(&Value::Double(0.3), Some(0.0)), "as asked for");
        assert!(!Value::Double(0.300_001).within(&Value::Double(0.3), None));
        assert!(!Value::Double(1.0).within(&Value::Double(f64::INFINITY), None));
        assert!(!Value::Int(1_000_000_001).within(&Value::Int(1_000_000_000), None));
        assert!(!Value::String("a".into()).within(&Value::String("b".into()), Some(9.0)));
    }
}
