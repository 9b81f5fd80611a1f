//! One reported value as octets: mostly 8 to 16.
//!
//! row and revision as varints; one octet with quality, type and what follows; the times as differences to the frame's
//! base; the value. What is usual takes no room: code `ok`, no time of the device, received at the frame's base.

use device_model::{Quality, QualityCode, Timestamp, Value};
use integer_encoding::VarInt;

use crate::Reported;

/// A reported value and the row of its property.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) row: u32,
    pub(super) reported: Reported,
}

/// The first octet: quality in the two lowest bits, the value's kind in three, then these.
const KIND: u8 = 2;
const HAS_CODE: u8 = 1 << 5;
const HAS_SOURCE_TIME: u8 = 1 << 6;
const RECEIVED_APART: u8 = 1 << 7;

const NONE: u8 = 0;
const INT: u8 = 1;
const FLOAT: u8 = 2;
const DOUBLE: u8 = 3;
const STRING: u8 = 4;
const BYTES: u8 = 5;
const FALSE: u8 = 6;
const TRUE: u8 = 7;

const QUALITIES: [Quality; 3] = [Quality::Good, Quality::Uncertain, Quality::Bad];

/// Appends one record to `out`; `base` is the frame's time.
pub(super) fn encode(row: u32, reported: &Reported, base: Timestamp, out: &mut Vec<u8>) {
    let Reported { value, quality, code, source_time, sample_time, received_at, pv } = reported;
    let quality = QUALITIES.iter().zip(0..).find(|(one, _)| *one == quality).map_or(0, |(_, n)| n);
    let kind = match value {
        None => NONE,
        Some(Value::Int(_)) => INT,
        Some(Value::Float(_)) => FLOAT,
        Some(Value::Double(_)) => DOUBLE,
        Some(Value::String(_)) => STRING,
        Some(Value::Bytes(_)) => BYTES,
        Some(Value::Boolean(false)) => FALSE,
        Some(Value::Boolean(true)) => TRUE,
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let has_code = *code != QualityCode::Ok;
    number(row, out);
    number(*pv, out);
    out.push(
        quality
            | kind << KIND
            | flag(has_code, HAS_CODE)
            | flag(source_time.is_some(), HAS_SOURCE_TIME)
            | flag(*received_at != base, RECEIVED_APART),
    );
    if has_code {
        let number = QualityCode::ALL.iter().zip(0..).find(|(one, _)| *one == code);
        out.push(number.map_or(0, |(_, number)| number));
    }
    let time = |time: Timestamp, out: &mut Vec<u8>| {
        number(time.as_millis().wrapping_sub(base.as_millis()), out);
    };
    if *received_at != base {
        time(*received_at, out);
    }
    time(*sample_time, out);
    if let Some(source_time) = source_time {
        time(*source_time, out);
    }
    match value {
        None | Some(Value::Boolean(_)) => {}
        Some(Value::Int(int)) => number(*int, out),
        Some(Value::Float(float)) => out.extend(float.to_le_bytes()),
        Some(Value::Double(double)) => out.extend(double.to_le_bytes()),
        Some(Value::String(text)) => octets(text.as_bytes(), out),
        Some(Value::Bytes(bytes)) => octets(bytes, out),
    }
}

pub(super) fn number<N: VarInt>(number: N, out: &mut Vec<u8>) {
    let mut room = [0; 10];
    let length = number.encode_var(&mut room);
    out.extend_from_slice(&room[..length]);
}

fn octets(octets: &[u8], out: &mut Vec<u8>) {
    number(octets.len(), out);
    out.extend_from_slice(octets);
}

/// Reads what [`encode`] wrote, from its beginning on. Every octet may be anything.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next record; `None`: these octets are none.
    pub(super) fn record(&mut self, base: Timestamp) -> Option<Record> {
        let row = self.number()?;
        let pv = self.number()?;
        let first = self.octet()?;
        let quality = *QUALITIES.get(usize::from(first & 0b11))?;
        let code = match first & HAS_CODE {
            0 => QualityCode::Ok,
            _ => *QualityCode::ALL.get(usize::from(self.octet()?))?,
        };
        let received_at = match first & RECEIVED_APART {
            0 => base,
            _ => self.time(base)?,
        };
        let sample_time = self.time(base)?;
        let source_time = match first & HAS_SOURCE_TIME {
            0 => None,
            _ => Some(self.time(base)?),
        };
        let value = match first >> KIND & 0b111 {
            NONE => None,
            INT => Some(Value::Int(self.number()?)),
            FLOAT => Some(Value::Float(f32::from_le_bytes(self.array()?))),
            DOUBLE => Some(Value::Double(f64::from_le_bytes(self.array()?))),
            STRING => Some(Value::String(std::str::from_utf8(self.octets()?).ok()?.into())),
            BYTES => Some(Value::Bytes(self.octets()?.into())),
            FALSE => Some(Value::Boolean(false)),
            _ => Some(Value::Boolean(true)),
        };
        let reported = Reported { value, quality, code, source_time, sample_time, received_at, pv };
        Some(Record { row, reported })
    }

    pub(super) fn number<N: VarInt>(&mut self) -> Option<N> {
        let (number, length) = N::decode_var(self.0)?;
        self.take(length)?;
        Some(number)
    }

    fn time(&mut self, base: Timestamp) -> Option<Timestamp> {
        let apart: i64 = self.number()?;
        Some(Timestamp::from_millis(base.as_millis().wrapping_add(apart)))
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            Just(None),
            any::<i64>().prop_map(|int| Some(Value::Int(int))),
            any::<f32>().prop_map(|float| Some(Value::Float(float))),
            any::<f64>().prop_map(|double| Some(Value::Double(double))),
            ".{0,8}".prop_map(|text| Some(Value::String(text))),
            any::<bool>().prop_map(|truth| Some(Value::Boolean(truth))),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(|it| Some(Value::Bytes(it))),
        ]
    }

    prop_compose! {
        fn reported()(
            value in value(), quality in 0..3_usize, code in 0..16_usize, pv in any::<u64>(),
            source in any::<Option<i64>>(), sample in any::<i64>(), received in any::<i64>(),
        ) -> Reported {
            Reported {
                value, quality: QUALITIES[quality], code: QualityCode::ALL[code], pv,
                source_time: source.map(Timestamp::from_millis),
                sample_time: Timestamp::from_millis(sample),
                received_at: Timestamp::from_millis(received),
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(row in any::<u32>(), reported in reported(), base in any::<i64>()) {
            let base = Timestamp::from_millis(base);
            let mut out = Vec::new();
            encode(row, &reported, base, &mut out);
            let mut reader = Reader(&out);
            let read = reader.record(base).unwrap();
            prop_assert!(reader.0.is_empty());
            // Debug text, since NaN differs from itself.
            let wanted = Record { row, reported };
            prop_assert_eq!(format!("{read:?}"), format!("{wanted:?}"));
        }

        #[test]
        fn any_octets_are_a_record_or_none(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader(&octets);
            while reader.record(Timestamp::from_millis(0)).is_some() {}
        }
    }

    #[test]
    fn a_changed_number_takes_sixteen_octets_at_most() {
        let at = Timestamp::from_millis(1_800_000_000_000);
        for value in [Value::Int(1450), Value::Float(21.5), Value::Double(0.1)] {
            let reported = Reported {
                value: Some(value),
                quality: Quality::Good,
                code: QualityCode::Ok,
                source_time: None,
                sample_time: Timestamp::from_millis(at.as_millis() - 900),
                received_at: at,
                pv: 100_000,
            };
            let mut out = Vec::new();
            encode(9_999, &reported, at, &mut out);
            assert!(out.len() <= 16, "{} octets: {reported:?}", out.len());
        }
    }
}
