//! Faults as text, for the command line: `kind` or `kind:key=value,key=value`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::{Fault, FaultKind};

/// The text is no fault; the message says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The word before the colon is none of ours.
    #[error(
        "fault {0:?}: write one of delay, late, silence, exception, wrong-crc, truncate, wrong-transaction, garbage, \
         echo, merge, reset, reboot, one-connection; keys follow a colon, as in silence:unit=3"
    )]
    UnknownKind(String),
    /// A part behind the colon is no `key=value`, or its key does not belong there.
    #[error("fault {kind}: {part:?} does not belong here; write {allowed}, separated by commas")]
    UnknownKey {
        /// The word before the colon.
        kind: &'static str,
        /// What was found.
        part: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// The value of a key cannot be read.
    #[error("fault {kind}: {key}={value}: {remedy}")]
    BadValue {
        /// The word before the colon.
        kind: &'static str,
        /// Which key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        remedy: &'static str,
    },
    /// `delay`, `late`, `merge` and `reboot` need a time.
    #[error("fault {0}: say how long, as in {0}:ms=200")]
    NoTime(&'static str),
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let kind = match word.trim() {
            "delay" => FaultKind::Delay(Duration::ZERO),
            "silence" => FaultKind::Silence,
            // 04, server device failure, is what a broken device says.
            "exception" => FaultKind::Exception(4),
            "wrong-crc" => FaultKind::WrongCrc,
            "truncate" => FaultKind::Truncate,
            "late" => FaultKind::Late(Duration::ZERO),
            "wrong-transaction" => FaultKind::WrongTransaction,
            "garbage" => FaultKind::Garbage(Duration::ZERO),
            "echo" => FaultKind::Echo,
            "merge" => FaultKind::Merge(Duration::ZERO),
            "reset" => FaultKind::Reset,
            "reboot" => FaultKind::Reboot(Duration::ZERO),
            "one-connection" => FaultKind::OneConnection,
            other => return Err(FaultError::UnknownKind(other.into())),
        };
        let mut fault = Self::new(kind);
        for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            fault.take(part)?;
        }
        match fault.kind.time() {
            Some(Duration::ZERO) if !matches!(kind, FaultKind::Garbage(_)) => {
                Err(FaultError::NoTime(kind.as_str()))
            }
            _ => Ok(fault),
        }
    }
}

impl FaultKind {
    /// The time that belongs to it, for those that have one.
    fn time(self) -> Option<Duration> {
        match self {
            Self::Delay(time)
            | Self::Late(time)
            | Self::Garbage(time)
            | Self::Merge(time)
            | Self::Reboot(time) => Some(time),
            _ => None,
        }
    }
}

impl Fault {
    fn take(&mut self, part: &str) -> Result<(), FaultError> {
        let kind = self.kind.as_str();
        let unknown =
            || FaultError::UnknownKey { kind, part: part.into(), allowed: self.allowed() };
        let (key, value) = part.split_once('=').ok_or_else(unknown)?;
        let number = |key, range: RangeInclusive<u64>, remedy| {
            let number = value.trim().parse::<u64>().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| FaultError::BadValue { kind, key, value: value.into(), remedy })
        };
        let byte = |key, range, remedy| {
            number(key, range, remedy).map(|number| u8::try_from(number).unwrap_or(u8::MAX))
        };
        let at_least_one = |key| number(key, 1..=u64::MAX, "write a whole number from 1");
        let one_connection = self.kind == FaultKind::OneConnection;
        match (key.trim(), self.kind) {
            ("unit", _) if !one_connection => {
                self.unit = Some(byte("unit", 0..=255, "write a unit from 0 to 255")?);
            }
            ("function", _) if !one_connection => {
                self.function =
                    Some(byte("function", 1..=127, "write a function code from 1 to 127")?);
            }
            ("count", _) if !one_connection => self.count = Some(at_least_one("count")?),
            ("every", _) if !one_connection => self.every = Some(at_least_one("every")?),
            ("code", FaultKind::Exception(_)) => {
                self.kind = FaultKind::Exception(byte(
                    "code",
                    1..=255,
                    "write an exception code, 1 to 255",
                )?);
            }
            ("ms", with_time) if with_time.time().is_some() => {
                // An hour is longer than any client waits.
                let time = number("ms", 1..=3_600_000, "write milliseconds from 1 to 3600000")?;
                let time = Duration::from_millis(time);
                self.kind = match self.kind {
                    FaultKind::Late(_) => FaultKind::Late(time),
                    FaultKind::Garbage(_) => FaultKind::Garbage(time),
                    FaultKind::Merge(_) => FaultKind::Merge(time),
                    FaultKind::Reboot(_) => FaultKind::Reboot(time),
                    _ => FaultKind::Delay(time),
                };
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }

    fn allowed(&self) -> &'static str {
        match self.kind {
            kind if kind.time().is_some() => "ms=, unit=, function=, count=, every=",
            FaultKind::Exception(_) => "code=, unit=, function=, count=, every=",
            FaultKind::OneConnection => "nothing after the word",
            _ => "unit=, function=, count=, every=",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        let millis = |time: Duration| ("ms", u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let own = match self.kind {
            FaultKind::Exception(code) => Some(("code", code.into())),
            FaultKind::Garbage(Duration::ZERO) => None,
            kind => kind.time().map(millis),
        };
        let rest = [
            ("unit", self.unit.map(u64::from)),
            ("function", self.function.map(u64::from)),
            ("count", self.count),
            ("every", self.every),
        ];
        let keys = own.into_iter().chain(rest.into_iter().filter_map(|(key, v)| Some((key, v?))));
        for (index, (key, value)) in keys.enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { ':' } else { ',' })?;
        }
        Ok(())
    }
}
