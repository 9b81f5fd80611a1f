//! Values of a unit that move by themselves.

use crate::encoding::{Encoding, RawType};
use crate::signal::Signal;
use crate::table::Table;

/// A value that moves.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    /// Where it is shown.
    pub(crate) table: Table,
    /// First address.
    pub(crate) address: u16,
    /// How it is shown.
    pub(crate) encoding: Encoding,
    /// What moves it.
    pub(crate) source: Source,
}

/// What moves a value.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A waveform.
    Signal(Signal),
    /// Another value of the same unit, with a lag.
    Follow {
        /// Table of the other value.
        table: Table,
        /// Its first address.
        address: u16,
        /// Its encoding.
        encoding: Encoding,
        /// Seconds for two thirds of the way; 0 follows at once.
        time_constant: f64,
        /// Where the lag stands, and since when.
        state: Option<(f64, f64)>,
    },
    /// Nothing any more: somebody wrote there.
    Stopped,
}

impl Live {
    pub(crate) fn overlaps(&self, table: Table, start: u16, count: u16) -> bool {
        let (first, last) = (u32::from(self.address), u32::from(self.address) + self.width());
        self.table == table
            && first < u32::from(start) + u32::from(count)
            && u32::from(start) < last
    }

    fn width(&self) -> u32 {
        if self.table.is_bits() { 1 } else { self.encoding.raw.words().into() }
    }

    /// Registers differ, bits of one register too.
    pub(crate) fn seed(&self, unit: u64) -> u64 {
        let bit = match self.encoding.raw {
            RawType::Bits { first, .. } => first.into(),
            _ => 0,
        };
        let table = u64::from(u8::from(self.table.is_bits()))
            | u64::from(u8::from(matches!(self.table, Table::Input | Table::Discrete))) << 1;
        unit.rotate_left(32) ^ (table << 24) ^ (u64::from(self.address) << 8) ^ bit
    }
}
