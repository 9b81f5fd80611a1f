//! What the simulation was asked, as others see it.

mod tally;

pub(crate) use tally::{Tally, UnitTally};

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::table::Table;

/// Everything counted since the start, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Requests received, for units that are simulated and others.
    pub requests: u64,
    /// Requests answered, exceptions among them.
    pub answers: u64,
    /// Answers that were exceptions.
    pub exceptions: u64,
    /// Requests that a fault hit.
    pub faults: u64,
    /// Addresses asked for, reads and writes together.
    pub addresses: u64,
    /// Requests for units that are not simulated.
    pub strangers: u64,
    /// The same by unit.
    pub units: BTreeMap<u8, UnitCounters>,
    /// TCP connections.
    pub connections: ConnectionCounters,
    /// Requests that changed something.
    pub write_requests: u64,
    /// The last of them, oldest first; at most [`Counters::WRITES_KEPT`].
    pub writes: Vec<Write>,
    /// Pieces of input that were no request: wrong CRC, wrong header, cut off.
    pub bad_frames: u64,
    /// Requests that began while a frame was still on the line.
    pub overlapping_frames: u64,
    /// Shortest silence on a serial line between the end of a frame and the next request, in microseconds.
    #[serde(rename = "smallestGapMicros", serialize_with = "micros")]
    pub smallest_gap: Option<Duration>,
}

impl Counters {
    /// How many writes are remembered.
    pub const WRITES_KEPT: usize = 256;

    /// The counters of `unit`; zeros for one that was never asked.
    pub fn unit(&self, unit: u8) -> UnitCounters {
        self.units.get(&unit).cloned().unwrap_or_default()
    }
}

/// What one unit was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitCounters {
    /// Requests received.
    pub requests: u64,
    /// The same by function code; 0 stands for all codes that the simulation does not offer.
    pub functions: BTreeMap<u8, u64>,
    /// Addresses asked for.
    pub addresses: u64,
    /// Answers that were exceptions.
    pub exceptions: u64,
}

/// What happened to TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCounters {
    /// Taken and served.
    pub accepted: u64,
    /// Closed at once because of the fault `one-connection`.
    pub refused: u64,
    /// Open now.
    pub current: u64,
    /// Most that were open at a time.
    pub max: u64,
}

/// A request that changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Which unit.
    pub unit: u8,
    /// Which table.
    pub table: Table,
    /// First address.
    pub address: u16,
    /// What was written; bits as 0 and 1.
    pub values: Vec<u16>,
}

fn micros<S: serde::Serializer>(gap: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    gap.map(|gap| u64::try_from(gap.as_micros()).unwrap_or(u64::MAX)).serialize(to)
}
