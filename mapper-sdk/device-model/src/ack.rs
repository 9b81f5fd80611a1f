//! What became of a desired value (rules R14 and R15).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Generation;

/// How far a desired value got. Wire form: the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckCode {
    /// 102: the mapper has it.
    Received,
    /// 202: the write is on the wire.
    Applying,
    /// 424: the device cannot be reached; it will be tried again.
    Unreachable,
    /// 200: written; not read back.
    Applied,
    /// 209: written and read back within tolerance.
    Verified,
    /// 203: written, but the device uses a value of its own.
    OwnValue,
    /// 400: against the model's type, range or enumeration.
    Invalid,
    /// 403: read-only or locked.
    Forbidden,
    /// 404: the device has no such point.
    NotFound,
    /// 409: a newer desired value took its place before it was written.
    Superseded,
    /// 410: it expired before it was written.
    Expired,
    /// 500: the device answered with an error, or the outcome is unknown.
    DeviceError,
    /// 504: no answer after the last try.
    Timeout,
}

impl AckCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::Received,
        Self::Applying,
        Self::Unreachable,
        Self::Applied,
        Self::Verified,
        Self::OwnValue,
        Self::Invalid,
        Self::Forbidden,
        Self::NotFound,
        Self::Superseded,
        Self::Expired,
        Self::DeviceError,
        Self::Timeout,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Received => 102,
            Self::Applying => 202,
            Self::Unreachable => 424,
            Self::Applied => 200,
            Self::Verified => 209,
            Self::OwnValue => 203,
            Self::Invalid => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Superseded => 409,
            Self::Expired => 410,
            Self::DeviceError => 500,
            Self::Timeout => 504,
        }
    }

    /// The code of that number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// One word for tables and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Applying => "applying",
            Self::Unreachable => "unreachable",
            Self::Applied => "applied",
            Self::Verified => "verified",
            Self::OwnValue => "own-value",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::DeviceError => "device-error",
            Self::Timeout => "timeout",
        }
    }

    /// Whether nothing more will happen to this desired value, but for a read-back (rule R15).
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Received | Self::Applying | Self::Unreachable)
    }

    /// Whether the device took the value.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Applied | Self::Verified)
    }

    /// Whether `self` may be followed by `next` for the same desired value (rule R15): received, applying,
    /// unreachable, then a final code; applied may still become verified, own value or device error.
    /// A repeated code is allowed, so that its detail may change.
    pub const fn may_become(self, next: Self) -> bool {
        const fn rank(code: AckCode) -> u8 {
            match code {
                AckCode::Received => 0,
                AckCode::Applying => 1,
                AckCode::Unreachable => 2,
                _ => 3,
            }
        }
        match (self, next) {
            // Each new try goes from unreachable back to the wire.
            (Self::Unreachable, Self::Applying) => true,
            (
                Self::Applied,
                Self::Applied | Self::Verified | Self::OwnValue | Self::DeviceError,
            ) => true,
            _ if self.is_final() => self.number() == next.number(),
            _ => rank(next) >= rank(self),
        }
    }
}

impl fmt::Display for AckCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for AckCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for AckCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        Self::from_number(number)
            .ok_or_else(|| serde::de::Error::custom(format!("{number} is no acknowledgement code")))
    }
}

/// What a mapper says about one desired value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The generation of the desired value that this is about.
    pub generation: Generation,
    /// How far it got.
    pub code: AckCode,
    /// One line for a person; empty when there is nothing to add.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_move_forward_alone() {
        use AckCode::{Applied, Applying, DeviceError, Received, Unreachable, Verified};
        assert!(Received.may_become(Applying));
        assert!(!Applying.may_become(Received));
        assert!(Unreachable.may_become(Applying));
        assert!(Applied.may_become(Verified));
        assert!(Applied.may_become(DeviceError));
        assert!(!Verified.may_become(Applied));
        for code in AckCode::ALL {
            assert_eq!(AckCode::from_number(code.number()), Some(code));
            assert!(code.may_become(code));
        }
    }
}
