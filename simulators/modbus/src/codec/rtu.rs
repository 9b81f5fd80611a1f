//! RTU framing: unit, PDU and a CRC, ended by silence on the line.
//!
//! A frame carries no length. A server knows where a request ends from its function code, which is
//! faster than waiting for silence and works on wires without timing (pseudo-terminals, TCP).

use crc::{CRC_16_MODBUS, Crc, Table as Lookup};

use super::MAX_PDU;

const CRC: Crc<u16, Lookup<16>> = Crc::<u16, Lookup<16>>::new(&CRC_16_MODBUS);

/// Longest frame: unit, PDU, CRC (serial line specification, section 2.3).
pub const MAX_FRAME: usize = 1 + MAX_PDU + 2;

/// What stands at the start of a buffer of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'a> {
    /// Bytes are missing.
    Incomplete,
    /// A request with a right CRC.
    Frame {
        /// Which unit; 0 is a broadcast.
        unit: u8,
        /// Function code and parameters.
        pdu: &'a [u8],
        /// How many bytes of the buffer the frame took.
        size: usize,
    },
    /// No request: nothing is known about where it ends but the next silence.
    Noise,
}

/// The CRC of `bytes`; it stands low byte first after them.
pub fn crc(bytes: &[u8]) -> u16 {
    CRC.checksum(bytes)
}

/// Looks for one request at the start of `buffer`.
pub fn scan(buffer: &[u8]) -> Scan<'_> {
    let length = match pdu_length(buffer.get(1..).unwrap_or_default()) {
        Length::Is(length) => length,
        Length::Unknown => return Scan::Noise,
        Length::NotYet => return Scan::Incomplete,
    };
    let size = 1 + length + 2;
    if size > MAX_FRAME {
        return Scan::Noise;
    }
    let Some(frame) = buffer.get(..size) else { return Scan::Incomplete };
    check(frame).map_or(Scan::Noise, |(unit, pdu)| Scan::Frame { unit, pdu, size })
}

/// Takes `frame` as one whole frame, as silence on the line has shown it to be: unit and PDU if the CRC is right.
pub fn check(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (body, sum) = frame.split_last_chunk::<2>()?;
    let (&unit, pdu) = body.split_first()?;
    (!pdu.is_empty() && crc(body) == u16::from_le_bytes(*sum)).then_some((unit, pdu))
}

/// Appends one frame to `out`.
pub fn encode(unit: u8, pdu: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(unit);
    out.extend_from_slice(pdu);
    let sum = crc(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&sum.to_le_bytes());
}

enum Length {
    Is(usize),
    NotYet,
    Unknown,
}

/// How long a request PDU is, as far as its first bytes tell.
fn pdu_length(pdu: &[u8]) -> Length {
    let counted = |at: usize| {
        pdu.get(at).map_or(Length::NotYet, |&bytes| Length::Is(at + 1 + usize::from(bytes)))
    };
    match pdu.first() {
        None => Length::NotYet,
        Some(1..=6) => Length::Is(5),
        Some(15 | 16) => counted(5),
        Some(22) => Length::Is(7),
        Some(23) => counted(9),
        Some(_) => Length::Unknown,
    }
}
