//! The protocol data unit: a function code and its parameters, the same on every wire.

use std::fmt;

use crate::Table;

/// Longest PDU that any wire carries, function code included (specification section 4.1).
pub const MAX_PDU: usize = 253;

/// Why a unit refuses a request (specification section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// 01: the unit does not know the function.
    IllegalFunction,
    /// 02: no such register, coil or input.
    IllegalDataAddress,
    /// 03: a quantity or value that the function does not allow.
    IllegalDataValue,
    /// 0B: a gateway has no such unit behind it.
    GatewayTargetSilent,
    /// Any other code, for fault injection.
    Other(u8),
}

impl Exception {
    /// The code on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::IllegalFunction => 1,
            Self::IllegalDataAddress => 2,
            Self::IllegalDataValue => 3,
            Self::GatewayTargetSilent => 0x0B,
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exception {:02X}", self.code())
    }
}

/// The two bytes of a refusal of `function`.
pub fn exception_pdu(function: u8, exception: Exception) -> [u8; 2] {
    [function | 0x80, exception.code()]
}

/// What a client asks of one unit. Slices borrow from the received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// FC 1 and 2: 1 to 2000 bits.
    ReadBits {
        /// [`Table::Coils`] or [`Table::Discrete`].
        table: Table,
        /// First address.
        start: u16,
        /// How many.
        count: u16,
    },
    /// FC 3 and 4: 1 to 125 words.
    ReadWords {
        /// [`Table::Holding`] or [`Table::Input`].
        table: Table,
        /// First address.
        start: u16,
        /// How many.
        count: u16,
    },
    /// FC 5.
    WriteCoil {
        /// Which coil.
        address: u16,
        /// On or off.
        on: bool,
    },
    /// FC 6.
    WriteWord {
        /// Which holding register.
        address: u16,
        /// Its new word.
        word: u16,
    },
    /// FC 15: 1 to 1968 coils.
    WriteCoils {
        /// First address.
        start: u16,
        /// How many.
        count: u16,
        /// Eight to a byte, the first coil in the lowest bit of the first byte.
        bits: &'a [u8],
    },
    /// FC 16: 1 to 123 words.
    WriteWords {
        /// First address.
        start: u16,
        /// Two bytes a word, high byte first.
        words: &'a [u8],
    },
    /// FC 22: `word = (word & and) | (or & !and)`.
    MaskWord {
        /// Which holding register.
        address: u16,
        /// Bits that stay.
        and: u16,
        /// Bits that are set where they do not stay.
        or: u16,
    },
    /// FC 23: the write is done before the read.
    ReadWriteWords {
        /// First address to read.
        read_start: u16,
        /// How many to read, 1 to 125.
        read_count: u16,
        /// First address to write.
        write_start: u16,
        /// Two bytes a word, 1 to 121 words.
        words: &'a [u8],
    },
}

impl<'a> Request<'a> {
    /// Reads a request PDU.
    ///
    /// # Errors
    /// The exception that a conforming unit answers with: 01 for a function that is not offered, 03 for a wrong
    /// quantity, value or length.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, Exception> {
        let (&function, body) = pdu.split_first().ok_or(Exception::IllegalFunction)?;
        match function {
            1 | 2 => {
                let (start, count) = pair(body)?;
                let table = if function == 1 { Table::Coils } else { Table::Discrete };
                in_range(count, 2000)?;
                Ok(Self::ReadBits { table, start, count })
            }
            3 | 4 => {
                let (start, count) = pair(body)?;
                let table = if function == 3 { Table::Holding } else { Table::Input };
                in_range(count, 125)?;
                Ok(Self::ReadWords { table, start, count })
            }
            5 => match pair(body)? {
                (address, 0xFF00) => Ok(Self::WriteCoil { address, on: true }),
                (address, 0x0000) => Ok(Self::WriteCoil { address, on: false }),
                _ => Err(Exception::IllegalDataValue),
            },
            6 => pair(body).map(|(address, word)| Self::WriteWord { address, word }),
            15 => {
                let ((start, count), bits) = counted(body)?;
                in_range(count, 1968)?;
                if bits.len() != usize::from(count).div_ceil(8) {
                    return Err(Exception::IllegalDataValue);
                }
                Ok(Self::WriteCoils { start, count, bits })
            }
            16 => {
                let ((start, count), words) = counted(body)?;
                in_range(count, 123)?;
                if words.len() != usize::from(count) * 2 {
                    return Err(Exception::IllegalDataValue);
                }
                Ok(Self::WriteWords { start, words })
            }
            22 => match *body {
                [a1, a0, m1, m0, o1, o0] => Ok(Self::MaskWord {
                    address: u16::from_be_bytes([a1, a0]),
                    and: u16::from_be_bytes([m1, m0]),
                    or: u16::from_be_bytes([o1, o0]),
                }),
                _ => Err(Exception::IllegalDataValue),
            },
            23 => {
                let (read, write) = body.split_at_checked(4).ok_or(Exception::IllegalDataValue)?;
                let (read_start, read_count) = pair(read)?;
                let ((write_start, write_count), words) = counted(write)?;
                in_range(read_count, 125)?;
                in_range(write_count, 121)?;
                if words.len() != usize::from(write_count) * 2 {
                    return Err(Exception::IllegalDataValue);
                }
                Ok(Self::ReadWriteWords { read_start, read_count, write_start, words })
            }
            _ => Err(Exception::IllegalFunction),
        }
    }

    /// The function code of this request.
    pub fn function(&self) -> u8 {
        match self {
            Self::ReadBits { table: Table::Discrete, .. } => 2,
            Self::ReadBits { .. } => 1,
            Self::ReadWords { table: Table::Input, .. } => 4,
            Self::ReadWords { .. } => 3,
            Self::WriteCoil { .. } => 5,
            Self::WriteWord { .. } => 6,
            Self::WriteCoils { .. } => 15,
            Self::WriteWords { .. } => 16,
            Self::MaskWord { .. } => 22,
            Self::ReadWriteWords { .. } => 23,
        }
    }

    /// How many addresses it reads and writes, together.
    pub fn addresses(&self) -> u64 {
        let half = |words: &[u8]| u64::try_from(words.len() / 2).unwrap_or_default();
        match *self {
            Self::ReadBits { count, .. }
            | Self::ReadWords { count, .. }
            | Self::WriteCoils { count, .. } => u64::from(count),
            Self::WriteCoil { .. } | Self::WriteWord { .. } | Self::MaskWord { .. } => 1,
            Self::WriteWords { words, .. } => half(words),
            Self::ReadWriteWords { read_count, words, .. } => u64::from(read_count) + half(words),
        }
    }

    /// Whether it changes the unit; only such requests may be broadcast.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::ReadBits { .. } | Self::ReadWords { .. })
    }

    /// Appends the PDU to `out`, for clients in tests. Quantities are written as they stand, right or wrong.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.function());
        let put = |out: &mut Vec<u8>, words: &[u16]| {
            out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        };
        let counted = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(bytes);
        };
        let half = |words: &[u8]| u16::try_from(words.len() / 2).unwrap_or(u16::MAX);
        match *self {
            Self::ReadBits { start, count, .. } | Self::ReadWords { start, count, .. } => {
                put(out, &[start, count]);
            }
            Self::WriteCoil { address, on } => put(out, &[address, if on { 0xFF00 } else { 0 }]),
            Self::WriteWord { address, word } => put(out, &[address, word]),
            Self::WriteCoils { start, count, bits } => {
                put(out, &[start, count]);
                counted(out, bits);
            }
            Self::WriteWords { start, words } => {
                put(out, &[start, half(words)]);
                counted(out, words);
            }
            Self::MaskWord { address, and, or } => put(out, &[address, and, or]),
            Self::ReadWriteWords { read_start, read_count, write_start, words } => {
                put(out, &[read_start, read_count, write_start, half(words)]);
                counted(out, words);
            }
        }
    }
}

/// Two words and nothing else.
fn pair(body: &[u8]) -> Result<(u16, u16), Exception> {
    match *body {
        [a1, a0, b1, b0] => Ok((u16::from_be_bytes([a1, a0]), u16::from_be_bytes([b1, b0]))),
        _ => Err(Exception::IllegalDataValue),
    }
}

/// Start, quantity, byte count, and exactly that many bytes.
fn counted(body: &[u8]) -> Result<((u16, u16), &[u8]), Exception> {
    let (head, rest) = body.split_at_checked(4).ok_or(Exception::IllegalDataValue)?;
    match rest.split_first() {
        Some((&length, bytes)) if bytes.len() == usize::from(length) => Ok((pair(head)?, bytes)),
        _ => Err(Exception::IllegalDataValue),
    }
}

fn in_range(count: u16, most: u16) -> Result<(), Exception> {
    if (1..=most).contains(&count) { Ok(()) } else { Err(Exception::IllegalDataValue) }
}
