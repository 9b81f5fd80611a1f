//! What a device means by refusing a request.

use device_model::{AckCode, QualityCode};
use mapper_sdk::PropertyFault;

/// Code of an exception answer (Modbus Application Protocol 1.1b3, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exception(pub(crate) u8);

/// What the caller does about an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The request touches something that is not there: ask for less.
    TooMuch,
    /// The device works on it, or on something else: ask again soon.
    Busy,
    /// A gateway says that the unit behind it does not answer.
    Absent,
    /// No.
    Refused,
}

impl Exception {
    pub(crate) const fn meaning(self) -> Meaning {
        match self.0 {
            2 | 3 => Meaning::TooMuch,
            5 | 6 => Meaning::Busy,
            10 | 11 => Meaning::Absent,
            _ => Meaning::Refused,
        }
    }

    /// The code with its name.
    pub(crate) fn text(self) -> String {
        let name = match self.0 {
            1 => "illegal function",
            2 => "illegal data address",
            3 => "illegal data value",
            4 => "device failure",
            5 => "acknowledge: still at work",
            6 => "device busy",
            8 => "memory parity error",
            10 => "gateway path unavailable",
            11 => "gateway target does not answer",
            _ => "unknown",
        };
        format!("exception {} ({name})", self.0)
    }

    /// The fault of a property at which the device refused the request.
    pub(crate) fn fault(self, at: impl std::fmt::Display) -> PropertyFault {
        let (code, ack) = match self.0 {
            1 => (QualityCode::ProtocolException, AckCode::Forbidden),
            2 => (QualityCode::NotFound, AckCode::NotFound),
            3 => (QualityCode::ProtocolException, AckCode::Invalid),
            _ => (QualityCode::ProtocolException, AckCode::DeviceError),
        };
        PropertyFault::Refused { code, ack, detail: format!("{} at {at}", self.text()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exception_has_its_acknowledgement() {
        for (code, quality, ack) in [
            (1, QualityCode::ProtocolException, AckCode::Forbidden),
            (2, QualityCode::NotFound, AckCode::NotFound),
            (3, QualityCode::ProtocolException, AckCode::Invalid),
            (4, QualityCode::ProtocolException, AckCode::DeviceError),
            (200, QualityCode::ProtocolException, AckCode::DeviceError),
        ] {
            let fault = Exception(code).fault("holding:7");
            assert_eq!((fault.quality_code(), fault.ack_code()), (quality, ack), "{code}");
        }
        assert_eq!(
            Exception(2).fault("holding:7").to_string(),
            "refused by the device: exception 2 (illegal data address) at holding:7"
        );
    }
}
