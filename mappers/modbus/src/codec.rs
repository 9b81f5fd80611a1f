//! Registers to values and back. Pure: no input makes it panic, and [`decode`] undoes [`encode`].
//!
//! A bit of a bit table comes as a word of its own, 0 or 1.

use device_model::{AckCode, DataType, QualityCode, Value};
use mapper_sdk::{PropertyFault, ReadResult, Sample};

use crate::raw::{Integer, Number, Raw};
use crate::scale::{Scale, to_integer};
use crate::visitor::Visitor;

/// What goes into the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// All of them.
    Words(Vec<u16>),
    /// Some bits of one register; the others stay as the device has them.
    Field {
        /// The bits that change.
        mask: u16,
        /// Their new state; 0 elsewhere.
        bits: u16,
    },
}

impl Encoded {
    /// The words, where the device holds `before` now.
    pub fn over(self, before: u16) -> Vec<u16> {
        match self {
            Self::Words(words) => words,
            Self::Field { mask, bits } => vec![before & !mask | bits],
        }
    }
}

/// The value that `words` hold.
///
/// # Errors
/// `Refused` with `no_data` for one of the visitor's `invalidValues` and for a NaN; `Undecodable` if the words make
/// no value of the property's type.
pub fn decode(visitor: &Visitor, words: &[u16]) -> ReadResult {
    if words.len() != usize::from(visitor.width) {
        let detail = format!("{} words where {} belong", words.len(), visitor.width);
        return Err(PropertyFault::undecodable(detail));
    }
    let value = match visitor.raw {
        Raw::Octets { text, swap_bytes, swap_registers } => {
            octets(words, text, swap_bytes, swap_registers)
        }
        Raw::Row if visitor.data_type == DataType::Bytes => Ok(Value::Bytes(pack(words))),
        Raw::Row => {
            let pattern = words
                .iter()
                .take(64)
                .rev()
                .fold(0, |pattern, word| pattern << 1 | u64::from(word & 1));
            number(visitor, pattern)
        }
        Raw::Number { order, .. } => number(visitor, order.gather(words)),
        Raw::Field { first, bits, order, .. } => {
            let pattern = order.gather(words) >> first & ((1 << bits) - 1);
            number(visitor, pattern)
        }
    };
    value.map(Sample::from)
}

/// The number with this bit pattern, scaled.
fn number(visitor: &Visitor, pattern: u64) -> Result<Value, PropertyFault> {
    if visitor.invalid.contains(&pattern) {
        return Err(no_data(format!("the register holds {pattern:#06x}")));
    }
    if let Some(integer) = visitor.raw.integer(visitor.width) {
        return from_integer(visitor, integer.value(pattern));
    }
    let raw = match visitor.raw {
        Raw::Number { number: Number::F32, .. } => f64::from(f32::from_bits(low_half(pattern))),
        _ => f64::from_bits(pattern),
    };
    if raw.is_nan() {
        return Err(no_data("the register holds NaN".into()));
    }
    from_float(visitor, shortest(visitor, raw, pattern))
}

/// Of the numbers that are written as `pattern`, one with few digits: who desires 21.1 of a 32-bit float is shown 21.1,
/// and not 21.100000381469727.
fn shortest(visitor: &Visitor, raw: f64, pattern: u64) -> f64 {
    let exact = visitor.scale.float_to_float(raw);
    let narrow = matches!(visitor.raw, Raw::Number { number: Number::F32, .. });
    match (visitor.scale, visitor.data_type) {
        (Scale::Identity, _) if !narrow => exact,
        // It goes back into 32 bits.
        (Scale::Identity, DataType::Float) => exact,
        (Scale::Identity, _) => {
            f32::from_bits(low_half(pattern)).to_string().parse().unwrap_or(exact)
        }
        // 32 bits keep 6 significant digits, the first before the point; 64 keep 15, and the arithmetic costs some.
        _ => (if narrow { 5..=15 } else { 11..=15 })
            .filter_map(|digits: usize| format!("{exact:.digits$e}").parse().ok())
            .find(|number| float_pattern(visitor, *number) == Some(pattern))
            .unwrap_or(exact),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low_half(pattern: u64) -> u32 {
    pattern as u32
}

fn from_integer(visitor: &Visitor, raw: i128) -> Result<Value, PropertyFault> {
    Ok(match visitor.data_type {
        DataType::Boolean => Value::Boolean(raw != 0),
        DataType::Int => Value::Int(visitor.scale.integer_to_integer(raw).ok_or_else(|| {
            PropertyFault::undecodable(format!("{raw} scaled does not fit 64 bits; use a DOUBLE"))
        })?),
        DataType::String => match visitor.scale.integer_to_integer(raw) {
            Some(value) if visitor.scale == Scale::Identity => Value::String(value.to_string()),
            _ => Value::String(visitor.scale.integer_to_float(raw).to_string()),
        },
        _ => return from_float(visitor, visitor.scale.integer_to_float(raw)),
    })
}

fn from_float(visitor: &Visitor, value: f64) -> Result<Value, PropertyFault> {
    Ok(match visitor.data_type {
        DataType::Double => Value::Double(value),
        DataType::Float => Value::Float(narrow(value).ok_or_else(|| {
            PropertyFault::undecodable(format!("{value} does not fit a FLOAT; use a DOUBLE"))
        })?),
        DataType::Int => Value::Int(to_integer(value).ok_or_else(|| {
            PropertyFault::undecodable(format!("{value} does not fit an INT; use a DOUBLE"))
        })?),
        DataType::Boolean => Value::Boolean(value != 0.0),
        DataType::String => Value::String(value.to_string()),
        DataType::Bytes => return Err(PropertyFault::undecodable("a number is no BYTES")),
    })
}

/// `value` in 32 bits, unless that makes an infinity of it.
fn narrow(value: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest")]
    let narrow = value as f32;
    (narrow.is_finite() || !value.is_finite()).then_some(narrow)
}

fn octets(
    words: &[u16],
    text: bool,
    swap_bytes: bool,
    swap_registers: bool,
) -> Result<Value, PropertyFault> {
    let mut octets = Vec::with_capacity(words.len() * 2);
    let mut push = |word: &u16| {
        octets.extend(if swap_bytes { word.to_le_bytes() } else { word.to_be_bytes() });
    };
    if swap_registers {
        words.iter().rev().for_each(&mut push);
    } else {
        words.iter().for_each(&mut push);
    }
    if !text {
        return Ok(Value::Bytes(octets));
    }
    if let Some(end) = octets.iter().position(|octet| *octet == 0) {
        octets.truncate(end);
    }
    let mut text = String::from_utf8(octets).map_err(|_| {
        PropertyFault::undecodable("the registers hold no UTF-8 text; use the type BYTES")
    })?;
    text.truncate(text.trim_end_matches(' ').len());
    Ok(Value::String(text))
}

/// Eight bits to an octet, the first lowest.
fn pack(bits: &[u16]) -> Vec<u8> {
    bits.chunks(8)
        .map(|bits| bits.iter().rev().fold(0, |octet, bit| octet << 1 | u8::from(bit & 1 == 1)))
        .collect()
}

/// The words that hold `value`.
///
/// # Errors
/// `Refused` with the acknowledgement Invalid if no content of the registers means `value`, or the nearest that
/// does is out of their range. A scaled number is rounded to the nearest.
pub fn encode(visitor: &Visitor, value: &Value) -> Result<Encoded, PropertyFault> {
    let mut words = Vec::with_capacity(usize::from(visitor.width));
    match (visitor.raw, value) {
        (Raw::Octets { text: true, swap_bytes, swap_registers }, Value::String(value)) => {
            scatter(value.as_bytes(), visitor.width, swap_bytes, swap_registers, &mut words)?;
        }
        (Raw::Octets { text: false, swap_bytes, swap_registers }, Value::Bytes(value)) => {
            if value.len() != usize::from(visitor.width) * 2 {
                return Err(invalid(format!(
                    "{} octets where {} belong",
                    value.len(),
                    visitor.width * 2
                )));
            }
            scatter(value, visitor.width, swap_bytes, swap_registers, &mut words)?;
        }
        (Raw::Row, Value::Bytes(octets)) => {
            if octets.len() != usize::from(visitor.width.div_ceil(8)) {
                let wanted = visitor.width.div_ceil(8);
                return Err(invalid(format!("{} octets where {wanted} belong", octets.len())));
            }
            let bit = |index: u16| octets[usize::from(index / 8)] >> (index % 8) & 1;
            words.extend((0..visitor.width).map(|index| u16::from(bit(index))));
        }
        (Raw::Row, value) => {
            let pattern = pattern(visitor, value)?;
            words.extend(
                (0..visitor.width).map(|index| u16::from(pattern >> index.min(63) & 1 == 1)),
            );
        }
        (Raw::Number { order, .. }, value) => {
            order.scatter(pattern(visitor, value)?, &mut words);
        }
        (Raw::Field { first, bits, order, .. }, value) => {
            let place = |pattern: u64| {
                let mut word = Vec::with_capacity(1);
                order.scatter(pattern << first, &mut word);
                word.first().copied().unwrap_or(0)
            };
            let bits_of = place(pattern(visitor, value)?);
            return Ok(Encoded::Field { mask: place((1 << bits) - 1), bits: bits_of });
        }
        (Raw::Octets { .. }, _) => {
            return Err(invalid(format!("{} is no {}", value.data_type(), visitor.data_type)));
        }
    }
    Ok(Encoded::Words(words))
}

/// Bit pattern of the raw number that means `value`.
fn pattern(visitor: &Visitor, value: &Value) -> Result<u64, PropertyFault> {
    let parsed;
    let value = match value {
        Value::String(text) => {
            parsed = Value::parse(DataType::Int, text)
                .or_else(|_| Value::parse(DataType::Double, text))
                .map_err(|error| invalid(error.to_string()))?;
            &parsed
        }
        value => value,
    };
    let Some(integer) = visitor.raw.integer(visitor.width) else {
        let number = match value {
            // Exactly, and not through its decimal text.
            Value::Float(number) if visitor.scale == Scale::Identity => Some(f64::from(*number)),
            value => value.as_f64(),
        };
        let number = number
            .filter(|number| !number.is_nan())
            .ok_or_else(|| invalid(format!("{value} is no number to write")))?;
        return float_pattern(visitor, number)
            .ok_or_else(|| invalid(format!("{value} does not fit 32 bits")));
    };
    let raw = match value {
        Value::Boolean(truth) => Some(i128::from(*truth)),
        Value::Int(value) => visitor.scale.raw_of_integer(*value),
        value => value.as_f64().and_then(|value| visitor.scale.raw_of_float(value)),
    };
    raw.and_then(|raw| integer.pattern(raw)).ok_or_else(|| out_of_range(visitor, integer, value))
}

/// Bit pattern of the raw float that means `number`; `None` if it does not fit.
fn float_pattern(visitor: &Visitor, number: f64) -> Option<u64> {
    let raw = visitor.scale.raw_float(number);
    if matches!(visitor.raw, Raw::Number { number: Number::F32, .. }) {
        return Some(narrow(raw)?.to_bits().into());
    }
    Some(raw.to_bits())
}

fn scatter(
    octets: &[u8],
    width: u16,
    swap_bytes: bool,
    swap_registers: bool,
    words: &mut Vec<u16>,
) -> Result<(), PropertyFault> {
    let room = usize::from(width) * 2;
    if octets.len() > room {
        return Err(invalid(format!("{} octets do not fit the {room} there are", octets.len())));
    }
    let octet = |index: usize| octets.get(index).copied().unwrap_or(0);
    words.extend((0..usize::from(width)).map(|register| {
        let pair = [octet(register * 2), octet(register * 2 + 1)];
        if swap_bytes { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
    }));
    if swap_registers {
        words.reverse();
    }
    Ok(())
}

fn out_of_range(visitor: &Visitor, integer: Integer, value: &Value) -> PropertyFault {
    let (low, high) = integer.range();
    let (low, high) = (visitor.scale.integer_to_float(low), visitor.scale.integer_to_float(high));
    let (low, high) = (low.min(high), low.max(high));
    let name = visitor.raw.name();
    invalid(format!("{value} is outside of {low} to {high}, which is what the {name} can hold"))
}

fn invalid(detail: String) -> PropertyFault {
    PropertyFault::Refused { code: QualityCode::OutOfRange, ack: AckCode::Invalid, detail }
}

fn no_data(detail: String) -> PropertyFault {
    PropertyFault::Refused { code: QualityCode::NoData, ack: AckCode::DeviceError, detail }
}

#[cfg(test)]
mod tests;
