//! What the registers of one property hold, before scaling.

use crate::order::Order;

/// Content of the registers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Raw {
    /// Bits of a bit table, the first one lowest.
    Row,
    /// A number over 1, 2 or 4 whole registers.
    Number {
        /// Its type.
        number: Number,
        /// Byte order on the wire.
        order: Order,
    },
    /// Some bits of one register: `bits` from bit `first` (0 is the lowest) on.
    Field {
        /// Lowest bit.
        first: u8,
        /// How many, 1 to 16.
        bits: u8,
        /// Two's complement.
        signed: bool,
        /// Byte order of the register.
        order: Order,
    },
    /// Two octets per register.
    Octets {
        /// UTF-8 text that ends at the first NUL, spaces at its end cut off.
        text: bool,
        /// Low octet of a register first.
        swap_bytes: bool,
        /// Last register first.
        swap_registers: bool,
    },
}

/// Type of a number that fills whole registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Number {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Number {
    /// The number type of that name: `u16`, `uint16` and so on, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "u16" | "uint16" | "word" => Self::U16,
            "i16" | "int16" | "short" => Self::I16,
            "u32" | "uint32" | "dword" => Self::U32,
            "i32" | "int32" => Self::I32,
            "u64" | "uint64" => Self::U64,
            "i64" | "int64" => Self::I64,
            "f32" | "float32" | "float" => Self::F32,
            "f64" | "float64" | "double" => Self::F64,
            _ => return None,
        })
    }

    /// The short name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Width in bytes: 2, 4 or 8.
    pub const fn bytes(self) -> u8 {
        match self {
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether it has a fraction.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    const fn is_signed(self) -> bool {
        matches!(self, Self::I16 | Self::I32 | Self::I64)
    }
}

/// An integer type of up to 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Integer {
    pub(crate) bits: u8,
    pub(crate) signed: bool,
}

impl Integer {
    /// The integer whose low bits are `pattern`.
    pub(crate) fn value(self, pattern: u64) -> i128 {
        let value = i128::from(pattern);
        let sign = 1_i128 << (self.bits - 1);
        if self.signed && value & sign != 0 { value - (sign << 1) } else { value }
    }

    /// The bit pattern of `value`, if it is in range.
    pub(crate) fn pattern(self, value: i128) -> Option<u64> {
        let (low, high) = self.range();
        if value < low || value > high {
            return None;
        }
        u64::try_from(value & ((1_i128 << self.bits) - 1)).ok()
    }

    /// Smallest and largest.
    pub(crate) fn range(self) -> (i128, i128) {
        let all = 1_i128 << self.bits;
        if self.signed { (-all / 2, all / 2 - 1) } else { (0, all - 1) }
    }
}

impl Raw {
    /// The name that `rawType` has for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Row => "bit",
            Self::Number { number, .. } => number.name(),
            Self::Field { .. } => "bits",
            Self::Octets { text: true, .. } => "string",
            Self::Octets { text: false, .. } => "bytes",
        }
    }

    /// The integer type, if it is one; `width` is the number of bits of a row.
    pub(crate) fn integer(&self, width: u16) -> Option<Integer> {
        match *self {
            Self::Row => {
                let bits = u8::try_from(width).ok().filter(|bits| *bits <= 64)?;
                Some(Integer { bits, signed: false })
            }
            Self::Number { number, .. } if !number.is_float() => {
                Some(Integer { bits: number.bytes() * 8, signed: number.is_signed() })
            }
            Self::Field { bits, signed, .. } => Some(Integer { bits, signed }),
            _ => None,
        }
    }

    /// Bit pattern of a raw value written as text: hexadecimal, or decimal of this type.
    pub(crate) fn pattern(&self, text: &str, width: u16) -> Option<u64> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let bits = match (self, self.integer(width)) {
            (_, Some(integer)) => integer.bits,
            (Self::Number { number, .. }, None) => number.bytes() * 8,
            _ => return None,
        };
        if let Some(hex) = hex {
            let pattern = u64::from_str_radix(hex, 16).ok()?;
            return (i128::from(pattern) < 1_i128 << bits).then_some(pattern);
        }
        match (self, self.integer(width)) {
            (_, Some(integer)) => integer.pattern(text.parse().ok()?),
            (Self::Number { number: Number::F32, .. }, None) => {
                Some(text.parse::<f32>().ok()?.to_bits().into())
            }
            _ => Some(text.parse::<f64>().ok()?.to_bits()),
        }
    }
}
