//! What moves in a bank by itself.

use super::Bank;
use crate::live::{Live, Source};
use crate::signal::lag;
use crate::table::Table;

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
