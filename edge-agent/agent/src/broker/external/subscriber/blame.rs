//! There are brokers that end the connection of whoever asks for what it may not hear, or tells them that it is over. Which
//! filter that was is found out, so that the others, and the agent's own topics, do not suffer from it for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::subscriptions::Asked;

/// Filters in one packet: there are brokers that take no more.
const TOGETHER: usize = 8;
/// For how long a filter is not asked for that ended a connection, the first time and at most.
const REST: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// What is known of filters that a connection did not outlive.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// In the packet that was not answered.
    asking: Vec<Asked>,
    /// In such a packet before: they are asked for alone, after all others.
    suspects: BTreeSet<Asked>,
    /// Alone in it, twice: until when they rest, and for how long that was.
    resting: BTreeMap<Asked, (Instant, Duration)>,
}

impl Blame {
    /// The packets in which to ask for `missing`.
    pub(super) fn packets(&self, missing: &[Asked], now: Instant) -> Vec<Vec<Asked>> {
        let rests =
            |filter: &&Asked| self.resting.get(*filter).is_some_and(|(until, _)| *until > now);
        let awake = missing.iter().filter(|filter| !rests(filter)).cloned();
        let (suspects, others): (Vec<_>, Vec<_>) =
            awake.partition(|filter| self.suspects.contains(filter));
        let others = others.chunks(TOGETHER).map(<[_]>::to_vec);
        others.chain(suspects.into_iter().map(|one| vec![one])).collect()
    }

    /// When the next of `missing` has rested.
    pub(super) fn next(&self, missing: &[Asked], now: Instant) -> Option<Instant> {
        let ends = missing.iter().filter_map(|filter| Some(self.resting.get(filter)?.0));
        ends.filter(|end| *end > now).min()
    }

    /// These are asked for.
    pub(super) fn ask(&mut self, filters: &[Asked]) {
        self.asking = filters.to_vec();
    }

    /// The broker answered, whatever it said.
    pub(super) fn answered(&mut self) {
        for filter in self.asking.drain(..) {
            self.suspects.remove(&filter);
            self.resting.remove(&filter);
        }
    }

    /// Forgets all others.
    pub(super) fn keep(&mut self, still: impl Fn(&Asked) -> bool) {
        self.suspects.retain(&still);
        self.resting.retain(|filter, _| still(filter));
    }

    /// The connection ended. The filter that did it, if that is sure.
    pub(super) fn ended(&mut self, now: Instant) -> Option<Asked> {
        let asking = std::mem::take(&mut self.asking);
        match asking.as_slice() {
            [alone] if self.suspects.contains(alone) => {
                let last = self.resting.get(alone).map(|(_, rest)| *rest);
                let rest = last.map_or(REST.0, |rest| (rest * 2).min(REST.1));
                self.resting.insert(alone.clone(), (now + rest, rest));
                Some(alone.clone())
            }
            _ => {
                self.suspects.extend(asking);
                None
            }
        }
    }

    /// Those that rest.
    pub(super) fn resting(&self, now: Instant) -> impl Iterator<Item = &Asked> {
        self.resting.iter().filter(move |(_, (until, _))| *until > now).map(|(filter, _)| filter)
    }
}

#[cfg(test)]
mod tests {
    use device_twin::store::TopicFilter;

    use super::*;

    fn asked(filter: &str) -> Asked {
        Asked { filter: TopicFilter::new(filter).unwrap(), number: 1 }
    }

    /// Connections until each filter was asked for: the one that ends them is `bad`. How many there were.
    fn connect(blame: &mut Blame, wanted: &[Asked], bad: &Asked, now: Instant) -> usize {
        for count in 1..20 {
            let mut broken = false;
            for packet in blame.packets(wanted, now) {
                blame.ask(&packet);
                broken = packet.contains(bad);
                if broken {
                    break;
                }
                blame.answered();
            }
            if !broken {
                return count;
            }
            let refused = blame.ended(now);
            assert!(refused.is_none_or(|refused| refused == *bad));
        }
        panic!("no connection stands");
    }

    #[test]
    fn the_filter_that_ends_connections_is_found_and_rests_longer_each_time() {
        let filters: Vec<_> = (0..20).map(|number| asked(&format!("f/{number}"))).collect();
        let (mut blame, bad, mut now) = (Blame::default(), &filters[11], Instant::now());
        // Among seven others, alone, and the one that stands.
        assert_eq!(connect(&mut blame, &filters, bad, now), 3);
        assert_eq!(blame.resting(now).collect::<Vec<_>>(), [bad]);
        let mut rests = Vec::new();
        for _ in 0..8 {
            let end = blame.next(&filters, now).unwrap();
            rests.push((end - now).as_secs());
            now = end;
            assert_eq!(connect(&mut blame, &filters, bad, now), 2, "it is asked for once more");
        }
        assert_eq!(rests, [10, 20, 40, 80, 160, 320, 600, 600]);
        // The same filter, ended and added again, is another.
        let again = Asked { number: 2, ..bad.clone() };
        assert_eq!(blame.packets(&[again], now).len(), 1);
        blame.ask(std::slice::from_ref(bad));
        blame.answered();
        assert_eq!((blame.resting(now).count(), blame.next(&filters, now)), (0, None));
    }

    #[test]
    fn a_connection_that_ends_by_itself_refuses_nothing() {
        let (mut blame, now) = (Blame::default(), Instant::now());
        let filters: Vec<_> = ["a", "b"].into_iter().map(asked).collect();
        assert_eq!(blame.ended(now), None);
        blame.ask(&filters);
        assert_eq!(blame.ended(now), None);
        assert_eq!(blame.packets(&filters, now).len(), 2, "each by itself");
        for filter in &filters {
            blame.ask(std::slice::from_ref(filter));
            blame.answered();
        }
        assert_eq!(blame.packets(&filters, now).len(), 1);
        assert_eq!(blame.ended(now), None);
    }
}
