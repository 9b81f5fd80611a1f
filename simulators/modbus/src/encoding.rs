//! How a number or a text stands in registers: type, byte and word order, scale.

use std::str::FromStr;

/// The type of the raw value in the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawType {
    /// Signed, one register.
    I16,
    /// Unsigned, one register.
    U16,
    /// Signed, two registers.
    I32,
    /// Unsigned, two registers.
    U32,
    /// Signed, four registers.
    I64,
    /// Unsigned, four registers.
    U64,
    /// IEEE 754 single, two registers.
    F32,
    /// IEEE 754 double, four registers.
    F64,
    /// A field of `count` bits in one register, the lowest being bit `first`.
    Bits {
        /// 0 is the lowest bit.
        first: u8,
        /// 1 to 16.
        count: u8,
    },
    /// Text or bytes, two to a register.
    Bytes {
        /// How many registers.
        words: u16,
    },
}

impl RawType {
    /// How many registers it takes.
    pub fn words(self) -> u16 {
        match self {
            Self::I16 | Self::U16 | Self::Bits { .. } => 1,
            Self::I32 | Self::U32 | Self::F32 => 2,
            Self::I64 | Self::U64 | Self::F64 => 4,
            Self::Bytes { words } => words,
        }
    }
}

/// Where each byte of a value stands on the wire.
///
/// The letters of the text form name the bytes of the value, `A` the most significant, in the order in
/// which the wire carries them. Four letters describe any width: whether the bytes of each register are swapped, and
/// whether the registers are reversed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The two bytes of each register change places (`BADC`).
    pub swap_bytes: bool,
    /// The registers come in reverse (`CDAB`).
    pub swap_words: bool,
    /// Any other order of eight bytes; it has the last word for 64-bit values.
    pub permutation: Option<[u8; 8]>,
}

impl Order {
    /// Which byte of a value of `words` registers stands at `position` on the wire.
    fn source(self, position: usize, words: usize) -> usize {
        if let (Some(permutation), 4) = (self.permutation, words) {
            return permutation.get(position).copied().map_or(position, usize::from);
        }
        let word = if self.swap_words { words - 1 - position / 2 } else { position / 2 };
        word * 2 + if self.swap_bytes { 1 - position % 2 } else { position % 2 }
    }
}

/// The text is no byte order.
#[derive(Debug, thiserror::Error)]
#[error("write ABCD, BADC, CDAB or DCBA, or for 64 bits any order of the letters A to H")]
pub struct UnknownOrder;

impl FromStr for Order {
    type Err = UnknownOrder;

    fn from_str(text: &str) -> Result<Self, UnknownOrder> {
        let plain = |swap_bytes, swap_words| Self { swap_bytes, swap_words, permutation: None };
        let upper = text.to_ascii_uppercase();
        match upper.as_str() {
            "AB" | "ABCD" | "ABCDEFGH" => return Ok(plain(false, false)),
            "BA" | "BADC" | "BADCFEHG" => return Ok(plain(true, false)),
            "CDAB" | "GHEFCDAB" => return Ok(plain(false, true)),
            "DCBA" | "HGFEDCBA" => return Ok(plain(true, true)),
            _ => {}
        }
        let letters: [u8; 8] = upper.as_bytes().try_into().map_err(|_| UnknownOrder)?;
        let mut sorted = letters;
        sorted.sort_unstable();
        if sorted != *b"ABCDEFGH" {
            return Err(UnknownOrder);
        }
        Ok(Self { permutation: Some(letters.map(|letter| letter - b'A')), ..Self::default() })
    }
}

/// How a property's value stands in registers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoding {
    /// Type of the raw value.
    pub raw: RawType,
    /// Byte and word order.
    pub order: Order,
    /// `value = raw * scale + offset`.
    pub scale: f64,
    /// `value = raw * scale + offset`.
    pub offset: f64,
}

impl From<RawType> for Encoding {
    /// In the order ABCD and without scale.
    fn from(raw: RawType) -> Self {
        Self { raw, order: Order::default(), scale: 1.0, offset: 0.0 }
    }
}

impl Encoding {
    /// Writes `value` into `registers`, which must be [`RawType::words`] long. A value beyond the range of the raw type
    /// becomes the nearest one that fits; text and bytes take no numbers and stay as they are.
    pub fn store(&self, value: f64, registers: &mut [u16]) {
        let raw = (value - self.offset) / self.scale;
        match self.raw {
            RawType::F32 => self.place(&nearest_f32(raw).to_be_bytes(), registers),
            RawType::F64 => self.place(&raw.to_be_bytes(), registers),
            _ => self.store_raw(nearest_integer(raw), registers),
        }
    }

    /// Writes an integer as it stands, without scale and without the rounding of an `f64`.
    pub fn store_raw(&self, raw: i128, registers: &mut [u16]) {
        let fit = |low: i128, high: i128| raw.clamp(low, high).to_be_bytes();
        // Unsigned registers take negative numbers in two's complement, as devices do.
        let bytes = match self.raw {
            RawType::I16 => fit(i16::MIN.into(), i16::MAX.into()),
            RawType::U16 => fit(i16::MIN.into(), u16::MAX.into()),
            RawType::I32 => fit(i32::MIN.into(), i32::MAX.into()),
            RawType::U32 => fit(i32::MIN.into(), u32::MAX.into()),
            RawType::I64 => fit(i64::MIN.into(), i64::MAX.into()),
            RawType::U64 => fit(i64::MIN.into(), u64::MAX.into()),
            RawType::Bits { first, count } => {
                if let [register] = registers {
                    let mask = bit_mask(first, count);
                    let raw = raw.clamp(0, i128::from(u16::MAX));
                    let field = u16::try_from(raw).unwrap_or(u16::MAX);
                    let natural = self.natural(*register);
                    *register = self
                        .natural((natural & !mask) | (field.unbounded_shl(first.into()) & mask));
                }
                return;
            }
            RawType::F32 | RawType::F64 | RawType::Bytes { .. } => return,
        };
        let length = registers.len() * 2;
        self.place(bytes.get(bytes.len().saturating_sub(length)..).unwrap_or_default(), registers);
    }

    /// Writes text or bytes, cut or filled with zeros to the length of `registers`.
    pub fn store_bytes(&self, text: &[u8], registers: &mut [u16]) {
        let mut bytes = vec![0; registers.len() * 2];
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = *from;
        }
        self.place(&bytes, registers);
    }

    /// The value that stands in `registers`; 0 for text and bytes.
    pub fn load(&self, registers: &[u16]) -> f64 {
        let mut bytes = [0; 8];
        let words = registers.len().min(4);
        for position in 0..words * 2 {
            let pair = registers.get(position / 2).copied().unwrap_or_default().to_be_bytes();
            let from = self.order.source(position, words);
            if let (Some(to), Some(byte)) = (bytes.get_mut(from), pair.get(position % 2)) {
                *to = *byte;
            }
        }
        let [a, b, c, d, ..] = bytes;
        let raw = match self.raw {
            RawType::I16 => i16::from_be_bytes([a, b]).into(),
            RawType::U16 => u16::from_be_bytes([a, b]).into(),
            RawType::I32 => i32::from_be_bytes([a, b, c, d]).into(),
            RawType::U32 => u32::from_be_bytes([a, b, c, d]).into(),
            RawType::I64 => nearest_f64(i64::from_be_bytes(bytes).into()),
            RawType::U64 => nearest_f64(u64::from_be_bytes(bytes).into()),
            RawType::F32 => f32::from_be_bytes([a, b, c, d]).into(),
            RawType::F64 => f64::from_be_bytes(bytes),
            RawType::Bits { first, count } => (u16::from_be_bytes([a, b]) & bit_mask(first, count))
                .unbounded_shr(first.into())
                .into(),
            RawType::Bytes { .. } => return 0.0,
        };
        raw * self.scale + self.offset
    }

    fn natural(&self, register: u16) -> u16 {
        if self.order.swap_bytes { register.swap_bytes() } else { register }
    }

    /// Puts the bytes of a value, most significant first, where the order wants them.
    fn place(&self, bytes: &[u8], registers: &mut [u16]) {
        let words = registers.len();
        for (index, register) in registers.iter_mut().enumerate() {
            let byte = |position| {
                bytes.get(self.order.source(position, words)).copied().unwrap_or_default()
            };
            *register = u16::from_be_bytes([byte(index * 2), byte(index * 2 + 1)]);
        }
    }
}

fn bit_mask(first: u8, count: u8) -> u16 {
    let ones = if count >= 16 { u16::MAX } else { (1 << count) - 1 };
    ones.unbounded_shl(first.into())
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest, saturates, NaN is 0")]
fn nearest_integer(value: f64) -> i128 {
    value.round() as i128
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest single")]
fn nearest_f32(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "a waveform or a check needs no more than 53 bits")]
fn nearest_f64(value: i128) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
