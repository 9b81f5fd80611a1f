//! The journal beside a database of format 2, as it was released: `2.journal` is not to be edited either.

use std::path::Path;

use device_model::{Quality, QualityCode, Value};
use device_twin::store::{Row, StoredTwin};
use device_twin::{Durability, Reported, SqliteStore, Store};
use rusqlite::Connection;

use crate::fixture::{at, pump_id};

/// What the store wrote of [`reports`], up to the zeros at its end.
const JOURNAL: &[u8] = include_bytes!("2.journal");
/// Where the frame after the sync begins.
const PAGE: usize = 4096;

/// Rows of `2.sql`, their properties, and what is reported of them: before a sync, and after it.
fn reports() -> [Vec<(u32, &'static str, Reported)>; 2] {
    let good = |pv, value| Reported {
        value: Some(value),
        quality: Quality::Good,
        code: QualityCode::Ok,
        source_time: None,
        sample_time: at(9),
        received_at: at(10),
        pv,
    };
    let speed = Reported { source_time: Some(at(8)), ..good(44, Value::Int(-7)) };
    let pressure = Reported {
        quality: Quality::Bad,
        code: QualityCode::SensorFailure,
        received_at: at(11),
        ..good(45, Value::Float(0.25))
    };
    let level = Reported {
        quality: Quality::Uncertain,
        code: QualityCode::Clamped,
        ..good(46, Value::Double(-1e300))
    };
    let never = Reported { value: None, quality: Quality::Bad, ..good(51, Value::Int(0)) };
    [
        vec![
            (1, "speed", speed),
            (2, "pressure", pressure),
            (3, "level", level),
            (4, "label", good(47, Value::String("it's; ä".into()))),
            (5, "running", good(48, Value::Boolean(true))),
            (6, "raw", good(49, Value::Bytes(vec![0, 255, 7, 9]))),
        ],
        vec![(1, "speed", good(50, Value::Int(i64::MAX))), (5, "running", never)],
    ]
}

/// A database of format 2, with `journal` beside it.
fn files(directory: &Path, journal: &[u8]) -> SqliteStore {
    let path = directory.join(SqliteStore::FILE);
    Connection::open(&path).unwrap().execute_batch(include_str!("2.sql")).unwrap();
    std::fs::write(directory.join("twins.journal"), journal).unwrap();
    SqliteStore::open(&path).unwrap()
}

fn reported(pump: &StoredTwin, name: &str) -> Option<Reported> {
    pump.properties.iter().find(|one| one.name.as_str() == name).unwrap().state.reported.clone()
}

#[test]
fn a_journal_of_format_2_is_read_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = files(directory.path(), JOURNAL);
    let stored = store.load().unwrap();
    let pump = stored.twins.iter().find(|twin| twin.id == pump_id()).unwrap();
    let [before, after] = reports();
    for (row, name, wanted) in before.iter().chain(&after) {
        let newer = after.iter().find(|(other, ..)| other == row);
        let (.., wanted) = newer.unwrap_or(&(*row, *name, wanted.clone())).clone();
        assert_eq!(reported(pump, name), Some(wanted), "{name}");
    }
    assert_eq!(pump.revision(), 51);
}

/// An older program of format 2 must be able to read it, too.
#[test]
fn the_journal_is_written_as_format_2_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = files(directory.path(), &[]);
    for reports in reports() {
        let rows: Vec<_> = (reports.iter())
            .map(|(row, _, reported)| Row::Reported { row: *row, reported })
            .collect();
        store.commit(&rows, Durability::Written).unwrap();
        store.sync().unwrap();
    }
    drop(store);
    let written = std::fs::read(directory.path().join("twins.journal")).unwrap();
    let (frames, zeros) = written.split_at(JOURNAL.len());
    assert!(JOURNAL.len() > PAGE && frames == JOURNAL, "it needs a format of its own");
    assert!(zeros.iter().all(|octet| *octet == 0));
}
