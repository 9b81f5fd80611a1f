//! Requests, and what an answer says to one. Pure.
//!
//! The `rmodbus` crate builds the request frames, knows the length of an RTU answer and its checksum. Whether an
//! answer belongs to a request is judged here, to the byte: that crate takes any other function for an
//! exception, any byte count for right, and no TCP frame above 255 bytes.

use rmodbus::client::ModbusRequest;
use rmodbus::{ErrorKind, ModbusProto};

use crate::place::Place;
use crate::plan::Span;
use crate::table::Table;

/// One request to a unit.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Functions 1 to 4.
    Read(Span),
    /// Function 5 or 6; a bit is 0 or 1.
    WriteOne {
        /// Which one.
        place: Place,
        /// Its new content.
        word: u16,
    },
    /// Function 15 or 16.
    WriteMany {
        /// The first one.
        place: Place,
        /// Their new content; of bits one word each, 0 or 1.
        words: &'a [u16],
    },
}

/// What an answer says, its frame taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The bytes that were read; their number is right.
    Data(&'a [u8]),
    /// Written.
    Done,
    /// The unit refuses, with this exception code.
    Exception(u8),
    /// No answer to this request.
    Foreign,
}

impl Ask<'_> {
    /// Function code.
    pub fn function(&self) -> u8 {
        match self {
            Self::Read(span) => span.start.table.read_function(),
            Self::WriteOne { place, .. } if place.table.is_bits() => 5,
            Self::WriteOne { .. } => 6,
            Self::WriteMany { place, .. } if place.table.is_bits() => 15,
            Self::WriteMany { .. } => 16,
        }
    }

    /// First register or bit.
    pub fn place(&self) -> Place {
        match self {
            Self::Read(span) => span.start,
            Self::WriteOne { place, .. } | Self::WriteMany { place, .. } => *place,
        }
    }

    /// How many registers or bits.
    pub fn count(&self) -> usize {
        match self {
            Self::Read(span) => span.count.into(),
            Self::WriteOne { .. } => 1,
            Self::WriteMany { words, .. } => words.len(),
        }
    }

    /// Whether nothing happens to the device.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    /// Bytes of data in the answer to a read.
    fn data_length(&self) -> usize {
        if self.place().table.is_bits() { self.count().div_ceil(8) } else { self.count() * 2 }
    }

    /// Length of the answer without frame: function code and what follows.
    pub fn answer_length(&self) -> usize {
        if self.is_read() { 2 + self.data_length() } else { 5 }
    }

    /// Writes the whole frame to `frame`, which is emptied first.
    ///
    /// # Errors
    /// The request is larger than a frame.
    pub fn frame(
        &self,
        proto: ModbusProto,
        transaction: u16,
        unit: u8,
        frame: &mut Vec<u8>,
    ) -> Result<ModbusRequest, ErrorKind> {
        let mut request = ModbusRequest::new(unit, proto);
        request.tr_id = transaction;
        match *self {
            Self::Read(Span { start: Place { table, address }, count }) => match table {
                Table::Coils => request.generate_get_coils(address, count, frame),
                Table::DiscreteInputs => request.generate_get_discretes(address, count, frame),
                Table::InputRegisters => request.generate_get_inputs(address, count, frame),
                Table::HoldingRegisters => request.generate_get_holdings(address, count, frame),
            },
            Self::WriteOne { place, word } if place.table.is_bits() => {
                request.generate_set_coil(place.address, u8::from(word != 0), frame)
            }
            Self::WriteOne { place, word } => {
                request.generate_set_holding(place.address, word, frame)
            }
            Self::WriteMany { place, words } if place.table.is_bits() => {
                let bits: Vec<u8> = words.iter().map(|word| u8::from(*word != 0)).collect();
                request.generate_set_coils_bulk(place.address, &bits, frame)
            }
            Self::WriteMany { place, words } => {
                request.generate_set_holdings_bulk(place.address, words, frame)
            }
        }?;
        Ok(request)
    }

    /// What `answer` (function code first, no frame) says to this request.
    pub fn judge<'b>(&self, answer: &'b [u8]) -> Verdict<'b> {
        let function = self.function();
        let Some((&first, rest)) = answer.split_first() else { return Verdict::Foreign };
        if first == function | 0x80 {
            return match rest {
                [code] => Verdict::Exception(*code),
                _ => Verdict::Foreign,
            };
        }
        if first != function {
            return Verdict::Foreign;
        }
        let right = match self {
            Self::Read(_) => {
                let data = rest.get(1..).unwrap_or_default();
                let counted = rest.first().is_some_and(|count| usize::from(*count) == data.len());
                if counted && data.len() == self.data_length() {
                    return Verdict::Data(data);
                }
                false
            }
            // The answer repeats the address, and the value or the count.
            Self::WriteOne { place, word } => {
                let on = if *word != 0 { 0xFF00 } else { 0 };
                let word = if place.table.is_bits() { on } else { *word };
                rest == echo(place.address, word)
            }
            Self::WriteMany { place, words } => {
                u16::try_from(words.len()).is_ok_and(|count| rest == echo(place.address, count))
            }
        };
        if right { Verdict::Done } else { Verdict::Foreign }
    }
}

fn echo(address: u16, word: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (address.to_be_bytes(), word.to_be_bytes());
    [a, b, c, d]
}

/// Length of the RTU frame that begins here: `Ok(None)` while too little of it is there.
///
/// # Errors
/// This is no beginning of an answer.
pub fn rtu_length(bytes: &[u8]) -> Result<Option<usize>, Garbage> {
    match rmodbus::guess_response_frame_len(bytes, ModbusProto::Rtu) {
        Ok(length) => Ok(Some(length.into())),
        Err(ErrorKind::OOB) => Ok(None),
        Err(_) => Err(Garbage),
    }
}

/// Length of the TCP frame that begins here, header included: `Ok(None)` while too little of it is there.
///
/// # Errors
/// This is no beginning of a Modbus TCP frame: the stream is out of step.
pub fn tcp_length(bytes: &[u8]) -> Result<Option<usize>, Garbage> {
    let Some(&[_, _, p, q, high, low]) = bytes.first_chunk() else { return Ok(None) };
    let length = u16::from_be_bytes([high, low]);
    // Unit and function at least; 254 is the largest PDU and the unit.
    if (p, q) != (0, 0) || !(2..=254).contains(&length) {
        return Err(Garbage);
    }
    Ok(Some(6 + usize::from(length)))
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// Whether the checksum of an RTU frame is right.
pub fn checksum_is_right(frame: &[u8]) -> bool {
    // Asked for the checksum alone, as if from the right unit: the verdict on the rest is ours.
    let Some(&unit) = frame.first() else { return false };
    frame.len() >= 5
        && !matches!(
            ModbusRequest::new(unit, ModbusProto::Rtu).parse_ok(frame),
            Err(ErrorKind::FrameCRCError)
        )
}

/// Puts the registers or bits of `data` into `words`, one word each.
pub fn unpack(span: &Span, data: &[u8], words: &mut Vec<u16>) {
    words.clear();
    if span.start.table.is_bits() {
        let bit = |index: u16| {
            let octet = data.get(usize::from(index / 8)).copied().unwrap_or(0);
            u16::from(octet >> (index % 8) & 1)
        };
        words.extend((0..span.count).map(bit));
    } else {
        words.extend(data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])));
    }
}

#[cfg(test)]
mod tests;
