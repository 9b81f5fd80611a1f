//! What must be there after a power cut, and what may be missing.

use std::time::Duration;

use serde::Serialize;

use crate::load::{Found, PROPERTIES, Said};

/// What cuts took, summed over all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Losses {
    /// Property values, desired values and acknowledgements that the agent took.
    pub acknowledged: u64,
    /// Desired values among them.
    pub desired: u64,
    /// Desired values that were taken and are not there.
    pub lost_desired: u64,
    /// Acknowledgements that were taken and are not there.
    pub lost_acknowledgements: u64,
    /// Reports that were taken and are not there.
    pub lost_reports: u64,
    /// From the oldest of them to the power cut, in milliseconds.
    pub longest_reported_span_ms: u64,
    /// Devices of which a part of a report is there.
    pub torn: u64,
    /// Devices that show a number which nobody reported or desired.
    pub invented: u64,
    /// Devices whose revision went back behind what was synced.
    pub revisions_back: u64,
    /// Devices that began another life, or whose store did.
    pub other_lives: u64,
}

impl Losses {
    /// Those of another disk, too.
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            acknowledged,
            desired,
            lost_desired,
            lost_acknowledgements,
            lost_reports,
            longest_reported_span_ms,
            torn,
            invented,
            revisions_back,
            other_lives,
        } = other;
        self.acknowledged += acknowledged;
        self.desired += desired;
        self.lost_desired += lost_desired;
        self.lost_acknowledgements += lost_acknowledgements;
        self.lost_reports += lost_reports;
        self.longest_reported_span_ms =
            self.longest_reported_span_ms.max(*longest_reported_span_ms);
        self.torn += torn;
        self.invented += invented;
        self.revisions_back += revisions_back;
        self.other_lives += other_lives;
    }
}

/// One device: how it was found, and what was taken since.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    found: Found,
    /// Reports, with the load's time.
    reported: Vec<(i64, Duration)>,
    desired: (i64, u64),
    rev: u64,
    acknowledged: u64,
}

impl Witness {
    pub(super) fn new(found: Found) -> Self {
        let (desired, rev, acknowledged) = (found.desired, found.rev, found.acknowledged);
        Self { found, reported: Vec::new(), desired, rev, acknowledged }
    }

    /// Notes what was taken.
    pub(super) fn hear(&mut self, said: &Said, losses: &mut Losses) {
        match *said {
            Said::Reported { number, at, .. } => {
                self.reported.push((number, Duration::from_millis(at)));
                // A text, too.
                losses.acknowledged += PROPERTIES as u64 + 1;
            }
            Said::Desired { number, version, rev, .. } => {
                self.desired = (number, version);
                self.rev = rev;
                losses.acknowledged += 1;
                losses.desired += 1;
            }
            Said::Acknowledged { version, .. } => {
                self.acknowledged = version;
                losses.acknowledged += 1;
            }
            Said::Found(_) | Said::Refused { .. } => {}
        }
    }

    /// Compares with how the device is after power was cut, `cut` after the start of the load.
    pub(super) fn judge(&self, now: &Found, cut: Duration, losses: &mut Losses) {
        let (number, version) = self.desired;
        losses.lost_desired += u64::from(now.desired < self.desired);
        // The next one may have been under way.
        let next = [(number, version), (number + 1, version + 1)];
        let expected = now.desired < self.desired || next.contains(&now.desired);
        // Its generation tells that the acknowledged one was replaced.
        let replaced = now.desired.1 > self.acknowledged;
        losses.lost_acknowledgements +=
            u64::from(now.acknowledged < self.acknowledged && !replaced);
        losses.revisions_back += u64::from(now.rev < self.rev);
        losses.other_lives += u64::from(now.life != self.found.life);
        losses.torn += u64::from(now.reported.len() > 1);
        let there = now.reported.iter().min().copied().unwrap_or_default();
        let before = self.found.reported.iter().max().copied().unwrap_or_default();
        let last = self.reported.last().map_or(before, |(number, _)| *number);
        let known = now.reported.iter().all(|number| *number <= last + 1);
        losses.invented += u64::from(!known || !expected);
        let missing = self.reported.iter().filter(|(number, _)| *number > there);
        losses.lost_reports += missing.clone().count() as u64;
        let first = missing.map(|(_, at)| *at).next();
        let span = match first {
            // What the disk had at the start has always been there.
            _ if there < before => Duration::MAX,
            Some(at) => cut.saturating_sub(at),
            None => Duration::ZERO,
        };
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        losses.longest_reported_span_ms = losses.longest_reported_span_ms.max(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Duration = Duration::from_millis(3000);

    fn found(number: i64, desired: (i64, u64), acknowledged: u64, rev: u64) -> Found {
        let life = (1, "a".to_owned());
        Found { device: 0, life, rev, reported: vec![number], desired, acknowledged }
    }

    /// Reports 11 to 13 a second apart, then a wish.
    fn witness() -> Witness {
        let mut witness = Witness::new(found(10, (5, 7), 7, 100));
        let losses = &mut Losses::default();
        for (number, at) in [(11, 500), (12, 1500), (13, 2500)] {
            witness.hear(&Said::Reported { device: 0, number, at }, losses);
        }
        witness.hear(&Said::Desired { device: 0, number: 6, version: 8, rev: 130 }, losses);
        witness.hear(&Said::Acknowledged { device: 0, version: 8 }, losses);
        assert_eq!((losses.acknowledged, losses.desired), (3 * (PROPERTIES as u64 + 1) + 2, 1));
        witness
    }

    fn judged(now: &Found) -> Losses {
        let mut losses = Losses::default();
        witness().judge(now, CUT, &mut losses);
        losses
    }

    #[test]
    fn what_was_taken_and_what_was_under_way_may_be_there() {
        assert_eq!(judged(&found(13, (6, 8), 8, 130)), Losses::default());
        assert_eq!(judged(&found(14, (7, 9), 0, 131)), Losses::default());
    }

    #[test]
    fn the_last_reports_may_be_missing_and_the_oldest_of_them_counts() {
        let lost = Losses { lost_reports: 2, longest_reported_span_ms: 1500, ..Losses::default() };
        assert_eq!(judged(&found(11, (6, 8), 8, 130)), lost);
        let lost = judged(&found(9, (6, 8), 8, 130));
        assert_eq!(lost.longest_reported_span_ms, u64::MAX, "it was found at the start");
    }

    #[test]
    fn everything_else_is_missed() {
        let lost = judged(&found(13, (5, 7), 7, 129));
        let told = (lost.lost_desired, lost.lost_acknowledgements, lost.revisions_back);
        assert_eq!(told, (1, 1, 1));
        assert_eq!(judged(&found(13, (6, 8), 0, 130)).lost_acknowledgements, 1);
        assert_eq!(judged(&found(15, (6, 8), 8, 130)).invented, 1);
        assert_eq!(judged(&found(13, (9, 9), 8, 130)).invented, 1);
        let mut torn = found(13, (6, 8), 8, 130);
        torn.reported.push(12);
        torn.life.0 = 2;
        let lost = judged(&torn);
        assert_eq!((lost.torn, lost.other_lives, lost.lost_reports), (1, 1, 1));
    }
}
