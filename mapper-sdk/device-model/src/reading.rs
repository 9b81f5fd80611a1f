//! What a device said: value, quality and times.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Value};

/// How far a reading may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The device gave this value.
    Good,
    /// There is a value, but something about it is doubtful; the code says what.
    Uncertain,
    /// There is no value; the code says why. A twin keeps the last good one beside it.
    Bad,
}

impl Quality {
    /// The lower-case word used on every wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
        }
    }

    /// The quality of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Good, Self::Uncertain, Self::Bad]
            .into_iter()
            .find(|quality| quality.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a reading has its quality. One catalogue for all protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the documentation; `meaning` explains each")]
pub enum QualityCode {
    Ok,
    Stale,
    Restored,
    Clamped,
    Converted,
    OutOfRange,
    ClockSkew,
    Simulated,
    NoCommunication,
    Timeout,
    ProtocolException,
    NotFound,
    NotWritable,
    ConfigError,
    SensorFailure,
    NoData,
}

impl QualityCode {
    /// Every code.
    pub const ALL: [Self; 16] = [
        Self::Ok,
        Self::Stale,
        Self::Restored,
        Self::Clamped,
        Self::Converted,
        Self::OutOfRange,
        Self::ClockSkew,
        Self::Simulated,
        Self::NoCommunication,
        Self::Timeout,
        Self::ProtocolException,
        Self::NotFound,
        Self::NotWritable,
        Self::ConfigError,
        Self::SensorFailure,
        Self::NoData,
    ];

    /// The word used on every wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Restored => "restored",
            Self::Clamped => "clamped",
            Self::Converted => "converted",
            Self::OutOfRange => "out_of_range",
            Self::ClockSkew => "clock_skew",
            Self::Simulated => "simulated",
            Self::NoCommunication => "no_communication",
            Self::Timeout => "timeout",
            Self::ProtocolException => "protocol_exception",
            Self::NotFound => "not_found",
            Self::NotWritable => "not_writable",
            Self::ConfigError => "config_error",
            Self::SensorFailure => "sensor_failure",
            Self::NoData => "no_data",
        }
    }

    /// One line for a person.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "as the device gave it",
            Self::Stale => "no fresh reading for longer than staleAfter",
            Self::Restored => "from before a restart, not read again yet",
            Self::Clamped => "limited to the range of its type",
            Self::Converted => "precision was lost in conversion",
            Self::OutOfRange => "outside the model's minimum and maximum",
            Self::ClockSkew => "the device's clock is far from the gateway's",
            Self::Simulated => "made by a simulator",
            Self::NoCommunication => "the device cannot be reached",
            Self::Timeout => "the device did not answer in time",
            Self::ProtocolException => "the device refused the request",
            Self::NotFound => "the device has no such point",
            Self::NotWritable => "the point cannot be written",
            Self::ConfigError => "the property's configuration is wrong",
            Self::SensorFailure => "the device reports a broken sensor",
            Self::NoData => "the device sent its marker for no value",
        }
    }

    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for QualityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One reading of one property.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The value; none exactly when the quality is [`Quality::Bad`].
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why.
    pub code: QualityCode,
    /// The device's own time for the value, if it has one.
    pub source_time: Option<Timestamp>,
    /// When the mapper had the device's answer.
    pub sample_time: Timestamp,
}

impl Reading {
    /// A good reading, taken at `sample_time`.
    pub const fn good(value: Value, sample_time: Timestamp) -> Self {
        Self {
            value: Some(value),
            quality: Quality::Good,
            code: QualityCode::Ok,
            source_time: None,
            sample_time,
        }
    }

    /// A reading with a value and a doubt.
    pub const fn uncertain(value: Value, code: QualityCode, sample_time: Timestamp) -> Self {
        Self {
            value: Some(value),
            quality: Quality::Uncertain,
            code,
            source_time: None,
            sample_time,
        }
    }

    /// No value, and why.
    pub const fn bad(code: QualityCode, sample_time: Timestamp) -> Self {
        Self { value: None, quality: Quality::Bad, code, source_time: None, sample_time }
    }

    /// Whether both say the same, times aside (rule R3).
    pub fn same_as(&self, other: &Self) -> bool {
        let values = match (&self.value, &other.value) {
            (Some(a), Some(b)) => a.same_as(b),
            (None, None) => true,
            _ => false,
        };
        values && self.quality == other.quality && self.code == other.code
    }
}

/// Whether a device can be reached. The words are KubeEdge's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// It answers.
    Online,
    /// It does not answer.
    Offline,
    /// It answers, but some of its properties cannot be read.
    Unhealthy,
    /// Nobody can tell: its mapper is not there.
    #[default]
    Unknown,
}

impl DeviceState {
    /// The lower-case word used on every wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }

    /// The state of that name, in any case; `ok` is KubeEdge's other word for online and `disconnected` its
    /// mapper framework's for offline.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "online" | "ok" => Self::Online,
            "offline" | "disconnected" => Self::Offline,
            "unhealthy" => Self::Unhealthy,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for code in QualityCode::ALL {
            assert_eq!(QualityCode::from_name(code.as_str()), Some(code));
        }
        assert_eq!(DeviceState::from_name("OK"), Some(DeviceState::Online));
        assert_eq!(DeviceState::from_name("broken"), None);
    }
}
