//! Values of a bank that move by themselves.

use super::Bank;
use crate::encoding::{Encoding, RawType};
use crate::signal::{Signal, lag};
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
    fn overlaps(&self, table: Table, start: u16, count: u16) -> bool {
        let (first, last) = (u32::from(self.address), u32::from(self.address) + self.width());
        self.table == table
            && first < u32::from(start) + u32::from(count)
            && u32::from(start) < last
    }

    fn width(&self) -> u32 {
        if self.table.is_bits() { 1 } else { self.encoding.raw.words().into() }
    }

    /// Registers differ, bits of one register too.
    fn seed(&self, unit: u64) -> u64 {
        let bit = match self.encoding.raw {
            RawType::Bits { first, .. } => first.into(),
            _ => 0,
        };
        let table = u64::from(u8::from(self.table.is_bits()))
            | u64::from(u8::from(matches!(self.table, Table::Input | Table::Discrete))) << 1;
        unit.rotate_left(32) ^ (table << 24) ^ (u64::from(self.address) << 8) ^ bit
    }
}

impl Bank {
    /// Computes what moves among these addresses.
    pub(super) fn refresh(&mut self, table: Table, start: u16, count: u16, now: f64) {
        self.refresh_where(table, start, count, now, |_| true);
    }

    fn refresh_where(
        &mut self,
        table: Table,
        start: u16,
        count: u16,
        now: f64,
        wanted: impl Fn(&Source) -> bool,
    ) {
        // Moving values have at most four registers, so the first that can matter begins three before.
        let low = start.saturating_sub(3);
        let mut index = self.live.partition_point(|live| (live.table, live.address) < (table, low));
        while let Some(live) = self.live.get(index) {
            if live.table != table || u32::from(live.address) >= u32::from(start) + u32::from(count)
            {
                break;
            }
            if wanted(&live.source) {
                self.advance(index, now);
            }
            index += 1;
        }
    }

    /// What is written stays: stops what moves among these addresses. Before that, values that follow
    /// them take the step up to `now` towards the old value.
    pub(super) fn release(&mut self, table: Table, start: u16, count: u16, now: f64) {
        for index in 0..self.live.len() {
            let Some(live) = self.live.get_mut(index) else { break };
            if live.overlaps(table, start, count) {
                live.source = Source::Stopped;
            } else if matches!(live.source, Source::Follow { .. }) {
                self.advance(index, now);
            }
        }
    }

    fn advance(&mut self, index: usize, now: f64) {
        let Some(live) = self.live.get(index) else { return };
        let (to, address, encoding) = (live.table, live.address, live.encoding);
        let value = match live.source {
            Source::Signal(signal) => signal.at(now, live.seed(self.seed)),
            Source::Follow { table, address: from, encoding: of, time_constant, state } => {
                // Nothing follows a follower (see `Layout`), so waveforms are all that can move the goal.
                self.refresh_where(table, from, of.raw.words(), now, |source| {
                    matches!(source, Source::Signal(_))
                });
                let goal = self.number(table, from, &of);
                let (value, since) =
                    state.unwrap_or_else(|| (self.number(to, address, &encoding), now));
                let value = lag(value, goal, now - since, time_constant);
                if let Some(Live { source: Source::Follow { state, .. }, .. }) =
                    self.live.get_mut(index)
                {
                    *state = Some((value, now));
                }
                value
            }
            Source::Stopped => return,
        };
        self.put(to, address, &encoding, value);
    }
}
