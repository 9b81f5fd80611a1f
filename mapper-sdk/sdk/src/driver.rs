//! What a protocol author writes: a [`Driver`] that connects, and a [`Session`] that reads and writes.
//!
//! Everything else (the loop, back-off, deadlines, writes before reads, reports) is the SDK's. A session is
//! used by one task at a time, so it needs no lock. A call that outlives [`Driver::deadline`] is dropped, and
//! the session with it.

use std::fmt;
use std::future::{Future, pending};
use std::hash::Hash;
use std::time::Duration;

use device_model::{
    AckCode, Device, DeviceId, Problem, Property, Quality, QualityCode, Timestamp, Value,
};

use crate::frames::FrameTap;

/// One protocol: how to find a device, and how to connect to the wire it hangs on.
pub trait Driver: Send + Sync + 'static {
    /// The `protocolName` of the devices this driver takes.
    const PROTOCOL: &'static str;

    /// Whether sessions show their frames to the tap that [`Session::show`] brings.
    const FRAMES: bool = false;

    /// One wire: a host and port, a serial line. Devices with an equal endpoint share one session.
    type Endpoint: Clone + Eq + Hash + fmt::Debug + fmt::Display + Send + Sync + 'static;
    /// Which device on the wire.
    type Unit: Clone + PartialEq + fmt::Debug + Send + Sync + 'static;
    /// How one property is reached.
    type Visitor: Clone + PartialEq + fmt::Debug + Send + Sync + 'static;
    /// An open connection.
    type Session: Session<Unit = Self::Unit, Visitor = Self::Visitor>;

    /// Splits a device's `protocol.configData` into its wire and its place on it. Called when a device comes or is
    /// described differently, not when only a desired value changed.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration. The device then goes unhealthy, and nothing else does.
    fn address(&self, device: &Device) -> Result<(Self::Endpoint, Self::Unit), Vec<Problem>>;

    /// The device is no longer on that wire: it was removed, or moved to another one. A driver that keeps something
    /// for each device of a wire forgets it here.
    fn left(&self, device: &DeviceId, endpoint: &Self::Endpoint) {
        let _ = (device, endpoint);
    }

    /// How `property` is reached.
    ///
    /// # Errors
    /// What is wrong with its visitor. The property is then reported as Bad/config_error; the device's other
    /// properties work.
    fn visitor(&self, device: &Device, property: &Property) -> Result<Self::Visitor, Problem>;

    /// Groups the visitors that one transaction on the wire can read: indices into `visitors`, each exactly once.
    /// Called when devices change, not per cycle. As a default all of them are one group.
    fn plan(&self, unit: &Self::Unit, visitors: &[&Self::Visitor]) -> Vec<Vec<usize>> {
        let _ = unit;
        vec![(0..visitors.len()).collect()]
    }

    /// Longest time that one transaction on this wire may take, the driver's own retries included. It is a net
    /// below the driver's own time-outs: a call that takes longer is dropped, and the session with it.
    fn deadline(&self, endpoint: &Self::Endpoint) -> Duration {
        let _ = endpoint;
        Duration::from_secs(10)
    }

    /// Opens the wire. The SDK bounds the time, and tries again for ever under back-off.
    fn connect(
        &self,
        endpoint: &Self::Endpoint,
    ) -> impl Future<Output = Result<Self::Session, SessionFault>> + Send;
}

/// An open connection to one wire.
pub trait Session: Send + 'static {
    /// Which device on the wire.
    type Unit: Sync;
    /// How one property is reached.
    type Visitor: Sync;

    /// One transaction: reads a group of the plan. One result per visitor, in order.
    fn read(
        &mut self,
        unit: &Self::Unit,
        group: &[&Self::Visitor],
    ) -> impl Future<Output = Result<Vec<ReadResult>, SessionFault>> + Send;

    /// One transaction: writes a value that fits the model. The inner error is the device's refusal.
    fn write(
        &mut self,
        unit: &Self::Unit,
        visitor: &Self::Visitor,
        value: &Value,
    ) -> impl Future<Output = Result<Result<(), PropertyFault>, SessionFault>> + Send;

    /// Reads what a write had for an effect. Drivers of devices that show a setpoint at another address
    /// override this.
    fn read_back(
        &mut self,
        unit: &Self::Unit,
        visitor: &Self::Visitor,
    ) -> impl Future<Output = Result<ReadResult, SessionFault>> + Send {
        async move {
            let results = self.read(unit, &[visitor]).await?;
            Ok(results.into_iter().next().unwrap_or_else(|| {
                Err(PropertyFault::undecodable("the driver gave no result for the property"))
            }))
        }
    }

    /// Subscribes to changes of a property, under `tag`. `Ok(false)`: the protocol cannot, the SDK polls.
    fn watch(
        &mut self,
        unit: &Self::Unit,
        visitor: &Self::Visitor,
        tag: Tag,
    ) -> impl Future<Output = Result<bool, SessionFault>> + Send {
        let _ = (unit, visitor, tag);
        std::future::ready(Ok(false))
    }

    /// The next change of a watched property. Must be cancel safe: a dropped call loses no change.
    fn changed(&mut self) -> impl Future<Output = Result<(Tag, ReadResult), SessionFault>> + Send {
        pending()
    }

    /// From now on the session shows each frame that goes over the wire to `frames`. Called once, at its beginning.
    fn show(&mut self, frames: FrameTap) {
        let _ = frames;
    }

    /// Answers that came too late, or belonged to nobody, and were thrown away since the session began.
    fn discarded(&self) -> u64 {
        0
    }

    /// Says good-bye to the peer where the protocol has a word for it. Must not block.
    fn close(self)
    where
        Self: Sized,
    {
    }
}

/// Names a watched property between [`Session::watch`] and [`Session::changed`]. Chosen by the SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

/// One value as a device gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Of the property's type.
    pub value: Value,
    /// [`Quality::Good`], or [`Quality::Uncertain`] where the device says so.
    pub quality: Quality,
    /// Why.
    pub code: QualityCode,
    /// The device's own time for the value, if it has one.
    pub source_time: Option<Timestamp>,
}

impl From<Value> for Sample {
    fn from(value: Value) -> Self {
        Self { value, quality: Quality::Good, code: QualityCode::Ok, source_time: None }
    }
}

/// What reading one property gave.
pub type ReadResult = Result<Sample, PropertyFault>;

/// Text for a person: what happened on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<String>> From<T> for Cause {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// A request had no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionFault {
    /// The wire is gone, or out of step: the SDK closes the session, backs off and connects again. All devices of
    /// the endpoint go offline.
    #[error("connection lost: {0}")]
    Lost(Cause),
    /// This unit does not answer, the wire is fine: the SDK lets the unit rest and goes on with the others.
    #[error("no answer: {0}")]
    Silent(Cause),
}

impl SessionFault {
    /// The wire is gone. Takes any error.
    pub fn lost(cause: impl fmt::Display) -> Self {
        Self::Lost(Cause(cause.to_string()))
    }

    /// The unit does not answer.
    pub fn silent(cause: impl fmt::Display) -> Self {
        Self::Silent(Cause(cause.to_string()))
    }
}

/// One property could not be read or written; the session and the device's other properties are fine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyFault {
    /// The device answered with an error.
    #[error("refused by the device: {detail}")]
    Refused {
        /// Quality code of the reading.
        code: QualityCode,
        /// Acknowledgement of a write: Forbidden, NotFound, Invalid or DeviceError.
        ack: AckCode,
        /// What the device said.
        detail: String,
    },
    /// The answer is no value of the property's type.
    #[error("the answer makes no value: {detail}")]
    Undecodable {
        /// What is wrong with it.
        detail: String,
    },
}

impl PropertyFault {
    /// The answer makes no value.
    pub fn undecodable(detail: impl Into<String>) -> Self {
        Self::Undecodable { detail: detail.into() }
    }

    /// The code of a Bad reading of this property.
    pub const fn quality_code(&self) -> QualityCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Undecodable { .. } => QualityCode::ConfigError,
        }
    }

    /// The acknowledgement of a write that ended so.
    pub const fn ack_code(&self) -> AckCode {
        match self {
            Self::Refused { ack, .. } => *ack,
            Self::Undecodable { .. } => AckCode::DeviceError,
        }
    }
}
