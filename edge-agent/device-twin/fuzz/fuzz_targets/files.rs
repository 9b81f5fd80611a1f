//! A store's directory in which somebody wrote: it opens, or says why not; what opens can be read and written.
//!
//! A case is a list of edits of three files that a store left: which file, where, and what is put there.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use device_model::{DataType, DeviceId, PropertyName, Quality, QualityCode, Timestamp, Value};
use device_twin::store::{Object, ObjectKey, Row};
use device_twin::{Durability, Reported, Settings, SqliteStore, Store, StoreError, Twins, Uid};
use libfuzzer_sys::fuzz_target;

const JOURNAL: u64 = 8192;
const FILES: [&str; 3] = ["twins.db", "twins.db-wal", "twins.journal"];

/// The files of a store whose process was killed.
static FOUND: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = open(directory.path()).expect("a new store");
    let id: DeviceId = "demo/pump".parse().expect("a device's name");
    let uid = Uid::new("u");
    let names = ["a", "b", "c"].map(|name| PropertyName::new(name).expect("a property's name"));
    let types = [DataType::Int, DataType::Double, DataType::String];
    let mut rows = vec![Row::Device { row: 1, id: &id, uid: &uid }];
    for ((row, name), data_type) in (1..).zip(&names).zip(types) {
        rows.push(Row::Property { row, device: 1, name, data_type });
    }
    store.commit(&rows, Durability::Synced).expect("structure");
    store.set_epoch(7).expect("an epoch");
    let values = [Value::Int(7), Value::Double(0.1), Value::String("text".into())];
    for pv in 1..40 {
        for (row, value) in (1..).zip(&values) {
            report(&mut store, row, value.clone(), pv).expect("a report");
        }
    }
    let key = ObjectKey { kind: "K".into(), namespace: "n".into(), name: "o".into() };
    let object =
        Object { key, uid: "u".into(), resource_version: "1".into(), body: vec![1, 2, 3] };
    store.put_object(&object).expect("an object");
    // Read while it is open: as it is after a kill.
    FILES.map(|name| fs::read(directory.path().join(name)).expect("its file"))
});

fn open(directory: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::with_journal(&directory.join(FILES[0]), JOURNAL)
}

fn report(store: &mut SqliteStore, row: u32, value: Value, pv: u64) -> Result<(), StoreError> {
    let reported = Reported {
        value: Some(value),
        quality: Quality::Good,
        code: QualityCode::Ok,
        source_time: None,
        sample_time: Timestamp::from_millis(1_800_000_000_000),
        received_at: Timestamp::from_millis(1_800_000_000_001),
        pv,
    };
    store.commit(&[Row::Reported { row, reported: &reported }], Durability::Written)
}

/// Edits of six octets and some more each: file, how, place, length; then what is put there.
fn edit(files: &mut [Vec<u8>; 3], mut edits: &[u8]) {
    while let Some((&[file, how, high, middle, low, length], rest)) = edits.split_first_chunk() {
        let file = &mut files[usize::from(file) % 3];
        let place = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let place = place % (file.len() + 1);
        let (octets, rest) = rest.split_at(usize::from(length % 64).min(rest.len()));
        edits = rest;
        match how % 4 {
            0 => file.truncate(place),
            1 => {
                for (to, octet) in file[place..].iter_mut().zip(octets) {
                    *to = *octet;
                }
            }
            2 => {
                for (to, octet) in file[place..].iter_mut().zip(octets) {
                    *to ^= *octet;
                }
            }
            _ => drop(file.splice(place..place, octets.iter().copied())),
        }
    }
}

fuzz_target!(|edits: &[u8]| {
    let mut files = FOUND.clone();
    edit(&mut files, edits);
    let directory = tempfile::tempdir().expect("a directory");
    for (name, octets) in FILES.iter().zip(&files) {
        fs::write(directory.path().join(name), octets).expect("a file");
    }
    let now = Timestamp::from_millis(1_800_000_100_000);
    let Ok(store) = open(directory.path()) else { return };
    let Ok(mut twins) = Twins::open(store, Settings::default(), now) else { return };
    let store = twins.store();
    // Each may fail; none may end the process.
    let _ = store.objects("K");
    let _ = store.dirty_since(&"demo/pump".parse().expect("a name"), 3);
    let _ = report(store, 1, Value::Int(8), 100);
    let _ = store.sync();
    let _ = store.set_epoch(8);
    drop(twins);
    if let Ok(store) = open(directory.path()) {
        let _ = Twins::open(store, Settings::default(), now);
    }
});
