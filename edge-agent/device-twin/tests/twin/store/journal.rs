//! The database with its journal against the store in memory, through random histories of commits, folds, restarts and
//! torn ends.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use device_model::{DataType, DeviceId, PropertyName, Quality, QualityCode, Value};
use device_twin::store::{Row, Stored};
use device_twin::{Durability, MemoryStore, Reported, SqliteStore, Store, TwinProperty, Uid};
use proptest::prelude::*;

use crate::fixture::at;

/// Two pages: a few dozen commits fill it.
const SMALL: u64 = 8192;
const ROWS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Values of some rows; a text of that length makes a long frame.
    Report {
        rows: Vec<u32>,
        length: usize,
        synced: bool,
    },
    /// The last value again, read later.
    Refresh(u32),
    /// A desired value, and a reported one of another row beside it.
    Mixed(u32, u32),
    /// A property goes and another one gets its row.
    Replace(u32),
    Sync,
    /// The process ends without a word.
    Restart,
    /// The same with power: what was written last is torn there.
    Tear {
        flip: bool,
        place: prop::sample::Index,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let row = 1..=ROWS;
    prop_oneof![
        8 => (prop::collection::vec(row.clone(), 1..4), prop_oneof![4 => 0..40_usize, 1 => 500..9000_usize], any::<bool>())
            .prop_map(|(rows, length, synced)| Step::Report { rows, length, synced }),
        2 => row.clone().prop_map(Step::Refresh),
        2 => (row.clone(), row.clone()).prop_map(|(desired, reported)| Step::Mixed(desired, reported)),
        1 => row.prop_map(Step::Replace),
        1 => Just(Step::Sync),
        1 => Just(Step::Restart),
        2 => (any::<bool>(), any::<prop::sample::Index>()).prop_map(|(flip, place)| Step::Tear { flip, place }),
    ]
}

fn device() -> DeviceId {
    "demo/pump".parse().unwrap()
}

fn reported(pv: u64, time: i64, length: usize) -> Reported {
    let text = format!("{pv}-{}", "x".repeat(length));
    Reported {
        value: Some(Value::String(text)),
        quality: if pv.is_multiple_of(3) { Quality::Uncertain } else { Quality::Good },
        code: if pv.is_multiple_of(3) { QualityCode::Clamped } else { QualityCode::Ok },
        source_time: pv.is_multiple_of(5).then(|| at(time - 9)),
        sample_time: at(time - 1),
        received_at: at(time),
        pv,
    }
}

/// Both stores, and what the one in memory was before the last commit.
struct Pair {
    file: Option<SqliteStore>,
    memory: MemoryStore,
    before: MemoryStore,
    /// Where the last commit wrote into the journal.
    written: Option<(u64, u64)>,
    directory: tempfile::TempDir,
    pv: u64,
    time: i64,
}

impl Pair {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut pair = Self {
            file: None,
            memory: MemoryStore::new(),
            before: MemoryStore::new(),
            written: None,
            directory,
            pv: 0,
            time: 0,
        };
        pair.reopen();
        let (id, uid) = (device(), Uid::new("u"));
        let names: Vec<PropertyName> =
            (1..=ROWS).map(|row| PropertyName::new(&format!("p{row}")).unwrap()).collect();
        let mut rows = vec![Row::Device { row: 1, id: &id, uid: &uid }];
        for (row, name) in (1..).zip(&names) {
            rows.push(Row::Property { row, device: 1, name, data_type: DataType::String });
        }
        pair.commit(&rows, Durability::Synced);
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn reopen(&mut self) {
        self.file = None;
        let path = self.path("twins.db");
        self.file = Some(SqliteStore::with_journal(&path, SMALL).unwrap());
    }

    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) {
        let before = std::fs::read(self.path("twins.journal")).unwrap();
        self.before = self.memory.clone();
        self.memory.commit(rows, durability).unwrap();
        self.file.as_mut().unwrap().commit(rows, durability).unwrap();
        let after = std::fs::read(self.path("twins.journal")).unwrap();
        let mut differ = before.iter().zip(&after).zip(0..).filter(|((a, b), _)| a != b);
        let first = differ.next().map(|(_, place)| place);
        self.written = first.map(|first| (first, differ.last().map_or(first, |(_, place)| place)));
    }

    fn next(&mut self) -> (u64, i64) {
        self.pv += 1;
        self.time += 1;
        (self.pv, self.time)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Report { rows, length, synced } => {
                let (pv, time) = self.next();
                let reported = reported(pv, time, *length);
                let rows: Vec<_> = rows
                    .iter()
                    .map(|row| Row::Reported { row: *row, reported: &reported })
                    .collect();
                let durability = if *synced { Durability::Synced } else { Durability::Written };
                self.commit(&rows, durability);
            }
            Step::Refresh(row) => {
                let last = property(&self.memory.load().unwrap(), *row);
                let Some(mut reported) = last.and_then(|state| state.reported) else { return };
                self.time += 1;
                reported.received_at = at(self.time);
                self.commit(
                    &[Row::Reported { row: *row, reported: &reported }],
                    Durability::Written,
                );
            }
            Step::Mixed(desired, row) => {
                let (pv, time) = self.next();
                let mut state = TwinProperty::default();
                state.desired_pv = pv;
                let reported = reported(pv, time, 3);
                let rows = [
                    Row::Desired { row: *desired, state: &state },
                    Row::Reported { row: *row, reported: &reported },
                ];
                self.commit(&rows, Durability::Synced);
            }
            Step::Replace(row) => {
                let (pv, _) = self.next();
                let name = PropertyName::new(&format!("p{row}-{pv}")).unwrap();
                let rows = [
                    Row::RemoveProperty { row: *row },
                    Row::Property {
                        row: *row,
                        device: 1,
                        name: &name,
                        data_type: DataType::String,
                    },
                ];
                self.commit(&rows, Durability::Synced);
            }
            Step::Sync => self.file.as_mut().unwrap().sync().unwrap(),
            Step::Restart => self.reopen(),
            Step::Tear { flip, place } => self.tear(*flip, place),
        }
    }

    /// Breaks the frame that was written last, if the last commit wrote one: it is gone, and nothing else is.
    fn tear(&mut self, flip: bool, place: &prop::sample::Index) {
        let Some((first, last)) = self.written.take() else { return };
        self.file = None;
        let at =
            first + u64::try_from(place.index(usize::try_from(last - first + 1).unwrap())).unwrap();
        let journal =
            OpenOptions::new().read(true).write(true).open(self.path("twins.journal")).unwrap();
        if flip {
            let mut octet = [0];
            journal.read_exact_at(&mut octet, at).unwrap();
            journal.write_all_at(&[octet[0] ^ 0x41], at).unwrap();
        } else {
            // What is missing is filled with zeros again, which may be what stood there.
            let mut octet = [0];
            journal.read_exact_at(&mut octet, at).unwrap();
            if octet == [0] {
                journal.write_all_at(&[1], at).unwrap();
            } else {
                journal.set_len(at).unwrap();
            }
        }
        self.memory = self.before.clone();
        self.reopen();
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let file = self.file.as_mut().unwrap();
        for rev in [0, self.pv / 2, self.pv.saturating_sub(1)] {
            let dirty = file.dirty_since(&device(), rev).unwrap();
            prop_assert_eq!(dirty, self.memory.dirty_since(&device(), rev).unwrap());
        }
        let (file, memory) = (file.load().unwrap(), self.memory.load().unwrap());
        prop_assert_eq!(file.twins[0].revision(), memory.twins[0].revision());
        for row in 1..=ROWS {
            prop_assert_eq!(property(&file, row), property(&memory, row));
        }
        Ok(())
    }
}

fn property(stored: &Stored, row: u32) -> Option<TwinProperty> {
    let mut all = stored.twins[0].properties.iter();
    all.find(|one| one.row() == row).map(|one| one.state.clone())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_and_the_database_are_one_store(steps in prop::collection::vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
        pair.compare()?;
        pair.reopen();
        pair.compare()?;
    }
}

/// With the values that change in a day, the disk has what they are, and not a page for each.
#[test]
fn a_commit_of_one_report_writes_octets_and_not_a_page() {
    let mut pair = Pair::new();
    for _ in 0..50 {
        pair.step(&Step::Report { rows: vec![3], length: 4, synced: false });
    }
    let (_, last) = pair.written.unwrap();
    assert!(last < 50 * 32, "{last} octets for 50 commits");
}
