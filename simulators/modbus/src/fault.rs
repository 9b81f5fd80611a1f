//! Faults: what goes wrong, with which requests, how often.

mod active;
mod text;

pub use text::FaultError;

pub(crate) use active::{Effects, Faults};

use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `delay:ms=200`: the answer comes later, and nothing else is done on that connection or line until then.
    Delay(Duration),
    /// `silence`: the unit is dead: it does nothing and answers nothing.
    Silence,
    /// `exception:code=4`: the unit refuses, and does nothing.
    Exception(u8),
    /// `wrong-crc`: the answer is damaged on its way. On TCP, which has no CRC, its protocol identifier is wrong.
    WrongCrc,
    /// `truncate`: only the first half of the answer comes.
    Truncate,
    /// `late:ms=1500`: the answer comes later, while other requests are answered in the meantime: it arrives when the
    /// client has given it up and waits for another one.
    Late(Duration),
    /// `wrong-transaction`: the answer bears another transaction id; on a line, whose frames have none, the number
    /// of another unit.
    WrongTransaction,
    /// `garbage`: bytes that are no frame come right before the answer; with `garbage:ms=300` they come at once, and the
    /// answer so much later, while nothing else is done on that connection or line.
    Garbage(Duration),
    /// `echo`: the request comes back before the answer, as from an RS-485 adapter that hears itself.
    Echo,
    /// `merge:ms=300`: the answer waits for the next one and comes in one piece with it; alone if that time passes.
    Merge(Duration),
    /// `reset`: the unit does what it was asked and resets the TCP connection in place of an answer. On a
    /// serial line the answer is lost.
    Reset,
    /// `reboot:ms=2000`: in place of an answer the whole simulation restarts. Its connections are reset; for that
    /// time nothing listens and nobody answers; then the registers hold again what they held at the start.
    Reboot(Duration),
    /// `one-connection`: while there is a TCP connection, further ones are closed at once.
    OneConnection,
}

impl FaultKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delay(_) => "delay",
            Self::Silence => "silence",
            Self::Exception(_) => "exception",
            Self::WrongCrc => "wrong-crc",
            Self::Truncate => "truncate",
            Self::Late(_) => "late",
            Self::WrongTransaction => "wrong-transaction",
            Self::Garbage(_) => "garbage",
            Self::Echo => "echo",
            Self::Merge(_) => "merge",
            Self::Reset => "reset",
            Self::Reboot(_) => "reboot",
            Self::OneConnection => "one-connection",
        }
    }
}

/// A fault and the requests that it hits.
///
/// ```
/// use sim_modbus::{Fault, FaultKind};
///
/// let fault: Fault = "exception:unit=3,function=16,code=6,every=10".parse()?;
/// assert_eq!(fault, Fault::new(FaultKind::Exception(6)).unit(3).function(16).every(10));
/// # Ok::<(), sim_modbus::FaultError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Only with requests for this unit.
    pub unit: Option<u8>,
    /// Only with requests with this function code.
    pub function: Option<u8>,
    /// Only with so many requests, then no more.
    pub count: Option<u64>,
    /// Only with each so-many-th request; 1 is each.
    pub every: Option<u64>,
}

impl Fault {
    /// A fault that hits every request.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, unit: None, function: None, count: None, every: None }
    }

    /// Only with requests for `unit`.
    #[must_use]
    pub fn unit(self, unit: u8) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// Only with requests with this function code.
    #[must_use]
    pub fn function(self, function: u8) -> Self {
        Self { function: Some(function), ..self }
    }

    /// Only `count` times.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// Only with the n-th, the 2n-th, … of the requests that the other conditions let through.
    #[must_use]
    pub fn every(self, nth: u64) -> Self {
        Self { every: Some(nth), ..self }
    }
}

#[cfg(test)]
mod tests;
