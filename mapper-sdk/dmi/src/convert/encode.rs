//! A mapper's reports as octets, written straight from its readings.
//!
//! Reports are most of what a mapper does, and building protobuf messages first costs it more than all the rest: a
//! string for each name and value, a map for each time. Field numbers are those of `proto/dmi.proto`; that generated
//! code reads back what is written here is a property test.

use std::borrow::Cow;
use std::io::Write;

use device_model::{Ack, DeviceId, PropertyName, Quality, QualityCode, Reading, Value};
use prost::encoding::{WireType, encode_varint, encoded_len_varint};

use super::{Peer, TwinReport, words};

/// One property's part of a report, borrowed from whoever holds it; see [`TwinReport`].
#[derive(Clone, Debug)]
pub struct TwinRef<'a> {
    /// Which property.
    pub property: &'a PropertyName,
    /// What was read, if this tells it.
    pub reading: Option<&'a Reading>,
    /// What became of a desired value, if this tells it.
    pub ack: Option<&'a Ack>,
    /// Text of the desired value that the mapper acts on.
    pub observed: Option<Cow<'a, str>>,
}

impl<'a> From<&'a TwinReport> for TwinRef<'a> {
    fn from(twin: &'a TwinReport) -> Self {
        Self {
            property: &twin.property,
            reading: twin.reading.as_ref(),
            ack: twin.ack.as_ref(),
            observed: twin.observed.as_deref().map(Cow::Borrowed),
        }
    }
}

/// A `ReportDeviceStatusRequest` as it goes to the wire; [`crate::connect::report`] sends it.
///
/// What a reader takes for granted is left out: that a reading is good and, to our agent, which knows it from the
/// model, the type. Our agent gets times as numbers; everybody else gets words.
#[derive(Clone, Debug)]
pub struct EncodedReport {
    octets: Vec<u8>,
    peer: Peer,
}

impl EncodedReport {
    /// An empty one for `peer`.
    pub const fn new(peer: Peer) -> Self {
        Self { octets: Vec::new(), peer }
    }

    /// Adds a report on `device`, unless `twins` is empty. Says whether it did. A second device is for our agent
    /// alone: others would not see it.
    pub fn push<'a>(
        &mut self,
        device: &DeviceId,
        twins: impl IntoIterator<Item = TwinRef<'a>>,
    ) -> bool {
        let (start, peer) = (self.octets.len(), self.peer);
        let mut any = false;
        let write = |out: &mut Vec<u8>| {
            text(out, 1, device.name());
            field(out, 2, |status| {
                for twin in twins {
                    any = true;
                    field(status, 1, |out| write_twin(out, &twin, peer));
                }
            });
            text(out, 3, device.namespace());
        };
        match start {
            0 => write(&mut self.octets),
            _ => field(&mut self.octets, 1000, write),
        }
        if !any {
            self.octets.truncate(start);
        }
        any
    }

    /// Whether it reports on no device.
    pub const fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The message's octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets
    }
}

fn write_twin(out: &mut Vec<u8>, twin: &TwinRef, peer: Peer) {
    text(out, 1, twin.property.as_str());
    // EdgeCore looks into both members without asking whether they are there.
    if twin.observed.is_some() || peer == Peer::KubeEdge {
        field(out, 2, |out| text(out, 1, twin.observed.as_deref().unwrap_or_default()));
    }
    field(out, 3, |out| {
        match twin.reading {
            Some(reading) => write_reading(out, reading, peer),
            None => word(out, words::ACK_ONLY, "true"),
        }
        if let Some(ack) = twin.ack {
            word(out, words::ACK_CODE, ack.code.number());
            word(out, words::ACK_VERSION, ack.generation);
            if !ack.detail.is_empty() {
                word(out, words::ACK_DETAIL, &ack.detail);
            }
        }
    });
}

fn write_reading(out: &mut Vec<u8>, reading: &Reading, peer: Peer) {
    if let Some(value) = &reading.value {
        match value {
            // Most values by far, and twice as fast.
            Value::Int(number) => text(out, 1, itoa::Buffer::new().format(*number)),
            value => display(out, 1, value),
        }
        if peer == Peer::KubeEdge {
            word(out, words::TYPE, value.data_type().lower());
        }
    }
    let sampled = reading.sample_time.as_millis();
    match u64::try_from(sampled) {
        // A zero is what a message has that says nothing.
        Ok(sampled) if sampled > 0 && peer == Peer::Edgetwin => {
            key(out, 1000, WireType::Varint);
            varint(out, sampled);
        }
        _ => word(out, words::TIMESTAMP, sampled),
    }
    if (reading.quality, reading.code) != (Quality::Good, QualityCode::Ok) {
        word(out, words::QUALITY, reading.quality.as_str());
        word(out, words::QUALITY_CODE, reading.code.as_str());
    }
    if let Some(time) = reading.source_time {
        word(out, words::SOURCE_TIMESTAMP, time.as_millis());
    }
}

/// An entry of a twin's metadata.
fn word(out: &mut Vec<u8>, key: &str, value: impl std::fmt::Display) {
    field(out, 2, |out| {
        text(out, 1, key);
        display(out, 2, value);
    });
}

fn display(out: &mut Vec<u8>, number: u32, value: impl std::fmt::Display) {
    // Writing to memory does not fail.
    field(out, number, |out| drop(write!(out, "{value}")));
}

fn text(out: &mut Vec<u8>, number: u32, text: &str) {
    key(out, number, WireType::LengthDelimited);
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes a field of which only writing it tells the length.
fn field(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, number, WireType::LengthDelimited);
    // Most are shorter than 128, so that one octet holds their length.
    let start = out.len() + 1;
    out.push(0);
    write(out);
    let length = out.len() - start;
    if let Ok(length) = u8::try_from(length)
        && length < 0x80
    {
        out[start - 1] = length;
        return;
    }
    let more = encoded_len_varint(length as u64) - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + length, start + more);
    encode_varint(length as u64, &mut &mut out[start - 1..start + more]);
}

fn key(out: &mut Vec<u8>, number: u32, kind: WireType) {
    varint(out, u64::from(number << 3 | kind as u32));
}

/// Most are one octet; the others are written in one piece, which `encode_varint` does not do for a vector.
fn varint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(octet) if octet < 0x80 => out.push(octet),
        _ => {
            let mut octets = [0; 10];
            encode_varint(value, &mut octets.as_mut_slice());
            out.extend_from_slice(&octets[..encoded_len_varint(value)]);
        }
    }
}
