//! The runs over a store, as an object of it: where each begins to number what it tells.

use device_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Object, ObjectKey, Store, StoreError};

/// Numbers of a second.
const BITS: u32 = 20;
/// Seconds that a run begins at least behind the one before it: 2^32 numbers. The clock alone brings more, where there is
/// one; a machine without a battery begins every run in the same second.
const APART: u64 = 1 << 12;
/// Numbers stay below 2^53, which a JSON reader with floating point numbers tells apart (RFC 8259, section 6).
const LAST: u64 = (1 << (53 - BITS)) - 1;

/// Runs that there may have been since a backup was made.
const SINCE_BACKUP: u64 = 1024;
/// Seconds until the year 2200: a clock that is beyond says nothing, and must not use up the numbers.
const BEYOND: u64 = 7_258_118_400;

/// A run of an agent over a store. Its numbers begin above those of every run before it, unless that gave more than 2^32
/// and the clock has not gone on since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// Seconds since 1970, by the clock if that went on since the last run.
    second: u64,
}

impl Run {
    /// The kind of the store's object.
    pub const KIND: &str = "Run";

    /// One that follows no other, by the clock alone.
    pub fn first(now: Timestamp) -> Self {
        let second = u64::try_from(now.as_millis() / 1000).unwrap_or(0);
        Self { second: if second < BEYOND { second } else { 0 } }
    }

    /// The one that begins `now` over `store`, which does not hold it yet.
    ///
    /// # Errors
    /// The store cannot be read; the error says what to do.
    pub fn next(store: &mut impl Store, now: Timestamp) -> Result<Self, StoreError> {
        let last = store.object(&Self::key())?.and_then(|object| Self::read(&object));
        let by_clock = Self::first(now);
        Ok(last.map_or(by_clock, |last| last.behind(1).max(by_clock)))
    }

    /// The last one over a store that was replaced by a backup of it, or of another: above what is in either, and above
    /// the runs that there may have been since `backup` was made.
    pub(crate) fn restored(backup: &[Object], replaced: &[Object]) -> Option<Self> {
        let last = |objects: &[Object]| objects.iter().filter_map(Self::read).max();
        last(backup).map(|last| last.behind(SINCE_BACKUP)).max(last(replaced))
    }

    /// One that begins behind so many after this one.
    fn behind(self, runs: u64) -> Self {
        Self { second: self.second.saturating_add(runs * APART).min(LAST) }
    }

    /// One that cannot be read is worth no more than none.
    fn read(object: &Object) -> Option<Self> {
        if object.key != Self::key() {
            return None;
        }
        serde_json::from_slice(&object.body).ok()
    }

    /// It as an object, which the next run needs.
    #[expect(clippy::expect_used, reason = "a number")]
    pub fn object(self) -> Object {
        Object {
            key: Self::key(),
            uid: String::new(),
            resource_version: String::new(),
            body: serde_json::to_vec(&self).expect("a number can be said in JSON"),
        }
    }

    /// The number before its first.
    pub fn start(self) -> u64 {
        self.second << BITS
    }

    fn key() -> ObjectKey {
        ObjectKey { kind: Self::KIND.into(), namespace: "".into(), name: "last".into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::MemoryStore;

    proptest! {
        #[test]
        fn each_run_begins_above_the_one_before_it_whatever_the_clock_says(
            clocks in proptest::collection::vec(any::<i64>().prop_map(|time| time >> 20), 2..20),
        ) {
            let mut store = MemoryStore::new();
            let mut last = None;
            for now in clocks {
                let run = Run::next(&mut store, Timestamp::from_millis(now)).unwrap();
                store.put_object(&run.object()).unwrap();
                let start = run.start();
                prop_assert!(start < 1 << 53);
                if let Some(last) = last.replace(start) {
                    prop_assert!(start >= last + (1 << 32) || start == LAST << BITS, "{last} {start}");
                }
            }
        }
    }

    #[test]
    fn a_run_that_cannot_be_read_counts_for_none() {
        let mut store = MemoryStore::new();
        let now = Timestamp::from_millis(1_795_262_400_000);
        let mut object = Run::first(now).object();
        object.body.truncate(3);
        store.put_object(&object).unwrap();
        assert_eq!(Run::next(&mut store, now).unwrap(), Run::first(now));
        assert_eq!(Run::first(Timestamp::from_millis(-1)).start(), 0);
    }

    #[test]
    fn a_clock_beyond_reason_uses_no_numbers_up() {
        let (mut store, now) = (MemoryStore::new(), Timestamp::from_millis(1_795_262_400_000));
        store.put_object(&Run::first(now).object()).unwrap();
        // The year 2242, and the end of all years.
        for absurd in [8_589_934_592_000, i64::MAX] {
            let run = Run::next(&mut store, Timestamp::from_millis(absurd)).unwrap();
            assert_eq!(run, Run::first(now).behind(1));
        }
        assert_eq!(
            Run::next(&mut MemoryStore::new(), Timestamp::from_millis(i64::MAX)).unwrap().start(),
            0
        );
    }
}
