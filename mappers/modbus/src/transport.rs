//! The wire itself: one request, one answer, one at a time.
//!
//! A late answer is never taken for the next one. On TCP the transaction id tells them apart; on a line, which has
//! none, silence does: see [`rtu`].

mod mbap;
mod rtu;
mod serial;
mod socket;

use std::time::Duration;

use bytes::BytesMut;
use mapper_sdk::{FrameTap, SessionFault};
use rmodbus::ModbusProto;
use serial::SerialPort;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use crate::endpoint::{Endpoint, Unit, Wire};
use crate::frame::{Ask, Verdict};
use mbap::Mbap;
use rtu::{Pace, Rtu};

/// Bytes of the longest frame of any kind, which is one on TCP.
const LONGEST_FRAME: usize = 260;

/// An open wire.
pub(crate) enum Transport {
    /// Modbus TCP.
    Tcp(Mbap<TcpStream>),
    /// RTU frames over TCP.
    RtuOverTcp(Rtu<TcpStream>),
    /// RTU frames on a serial line.
    Serial(Rtu<SerialPort>),
}

/// What a unit answered. The data are in the transport's buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// What was read.
    Data(&'a [u8]),
    /// Written.
    Done,
    /// Refused, with this exception code.
    Exception(u8),
    /// Something that is no answer to the request, though it came as one.
    Malformed,
}

impl<'a> From<Verdict<'a>> for Answer<'a> {
    fn from(verdict: Verdict<'a>) -> Self {
        match verdict {
            Verdict::Data(data) => Self::Data(data),
            Verdict::Done => Self::Done,
            Verdict::Exception(code) => Self::Exception(code),
            Verdict::Foreign => Self::Malformed,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The wire is gone or out of step.
    Lost(String),
    /// The unit kept silent.
    Silent(String),
    /// The answer came damaged or cut, and no other will come. A read may be tried again at once.
    Garbled(String),
}

impl From<NoAnswer> for SessionFault {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Lost(cause) => Self::lost(cause),
            NoAnswer::Silent(cause) | NoAnswer::Garbled(cause) => Self::silent(cause),
        }
    }
}

impl Transport {
    /// Opens the wire; the caller bounds the time.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, NoAnswer> {
        let pause = endpoint.request_gap;
        Ok(match &endpoint.wire {
            Wire::Tcp { host, port } => {
                let stream = socket::connect(host, *port).await?;
                Self::Tcp(Mbap::new(stream, pause.unwrap_or(Duration::ZERO)))
            }
            Wire::RtuOverTcp { host, port } => {
                let stream = socket::connect(host, *port).await?;
                let pace = Pace::of_stream(pause.unwrap_or(Duration::ZERO));
                Self::RtuOverTcp(Rtu::new(stream, pace))
            }
            Wire::Rtu(line) => Self::Serial(Rtu::new(serial::open(line)?, Pace::of(line, pause))),
        })
    }

    /// Sends `ask` to `unit` and waits for its answer. If the call is dropped, the answer counts as late.
    pub(crate) async fn exchange(
        &mut self,
        unit: &Unit,
        ask: &Ask<'_>,
    ) -> Result<Answer<'_>, NoAnswer> {
        match self {
            Self::Tcp(wire) => wire.exchange(unit.id, unit.timeout, ask).await,
            Self::RtuOverTcp(wire) => wire.exchange(unit.id, unit.timeout, ask).await,
            Self::Serial(wire) => wire.exchange(unit.id, unit.timeout, ask).await,
        }
    }

    /// Shows each frame from now on.
    pub(crate) fn show(&mut self, frames: FrameTap) {
        match self {
            Self::Tcp(wire) => wire.show(frames),
            Self::RtuOverTcp(wire) => wire.show(frames),
            Self::Serial(wire) => wire.show(frames),
        }
    }

    /// Answers that came too late, or belonged to nobody, and were thrown away.
    pub(crate) fn discarded(&self) -> u64 {
        match self {
            Self::Tcp(wire) => wire.discarded(),
            Self::RtuOverTcp(wire) => wire.discarded(),
            Self::Serial(wire) => wire.discarded(),
        }
    }
}

/// A frame for `ask`; an error here would be a request larger than the protocol's, which no visitor makes.
fn frame(
    ask: &Ask<'_>,
    proto: ModbusProto,
    transaction: u16,
    unit: u8,
    outbox: &mut Vec<u8>,
) -> Result<(), NoAnswer> {
    ask.frame(proto, transaction, unit, outbox)
        .map(|_| ())
        .map_err(|error| NoAnswer::Lost(format!("the request makes no frame: {error}")))
}

/// Waits for bytes and puts them behind those in `inbox`. Cancel safe.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    inbox: &mut BytesMut,
) -> Result<(), NoAnswer> {
    inbox.reserve(LONGEST_FRAME);
    match stream.read_buf(inbox).await {
        Ok(0) => Err(NoAnswer::Lost("closed by the device".into())),
        Ok(_) => Ok(()),
        Err(error) => Err(lost("receive", &error)),
    }
}

fn lost(what: &str, error: &std::io::Error) -> NoAnswer {
    NoAnswer::Lost(format!("{what}: {error}"))
}
