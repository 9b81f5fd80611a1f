//! A store as a document, in another store, and without being touched.

use std::collections::BTreeMap;
use std::path::Path;

use device_model::{Generation, Quality, QualityCode, Timestamp, Value};
use device_twin::store::{Content, Document, Row, Run};
use device_twin::{Durability, MemoryStore, SqliteStore, Store, StoreError};
use rusqlite::Connection;

use crate::fixture::{at, pump_id};

/// A store with something of everything, and a reported value that only the journal has.
fn store(directory: &Path) -> SqliteStore {
    let path = directory.join(SqliteStore::FILE);
    Connection::open(&path).unwrap().execute_batch(include_str!("formats/2.sql")).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    let stored = store.load().unwrap();
    let pump = stored.twins.iter().find(|twin| twin.id == pump_id()).unwrap();
    let speed = pump.properties.iter().find(|one| one.name.as_str() == "speed").unwrap();
    let mut reported = speed.state.reported.clone().unwrap();
    (reported.value, reported.pv) = (Some(Value::Int(77)), 99);
    store
        .commit(&[Row::Reported { row: speed.row(), reported: &reported }], Durability::Written)
        .unwrap();
    store
}

fn inspect(directory: &Path) -> Result<Content, StoreError> {
    let scratch = tempfile::tempdir().unwrap();
    SqliteStore::inspect(&directory.join(SqliteStore::FILE), scratch.path()).map(|one| one.content)
}

fn json(content: &Content) -> serde_json::Value {
    serde_json::to_value(Document::new(content, at(0))).unwrap()
}

fn speed(content: &Content) -> &device_twin::TwinProperty {
    let pump = content.twins.iter().find(|twin| twin.id == pump_id()).unwrap();
    &pump.properties.iter().find(|one| one.name.as_str() == "speed").unwrap().state
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect()
}

#[test]
fn an_export_holds_everything_and_reads_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let content = inspect(directory.path()).unwrap();
    let reported = speed(&content).reported.as_ref().unwrap();
    assert_eq!((reported.value.clone(), reported.pv), (Some(Value::Int(77)), 99), "of the journal");
    assert_eq!((content.tombstones.len(), content.objects.len()), (2, 1));
    assert_eq!(content.confirmations.len(), 1);
    let exported = json(&content);
    let document: Document = serde_json::from_value(exported.clone()).unwrap();
    assert_eq!(json(&document.content().unwrap()), exported);

    let other = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&other.path().join(SqliteStore::FILE)).unwrap();
    content.put_into(&mut store).unwrap();
    assert_eq!(json(&store.content().unwrap()), exported);
}

#[test]
fn what_only_looks_changes_no_file() {
    for sql in [include_str!("formats/1.sql"), include_str!("formats/2.sql")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SqliteStore::FILE);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = files(directory.path());
        let scratch = tempfile::tempdir().unwrap();
        let inspected = SqliteStore::inspect(&path, scratch.path()).unwrap();
        let format: u32 = Connection::open(&path)
            .unwrap()
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(inspected.format, format);
        assert_eq!(inspected.content.twins.len(), 2);
        assert!(files(directory.path()) == before);
    }
}

#[test]
fn a_killed_agents_files_are_read_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let original = store(directory.path());
    // While it is open there is a WAL: that is how a kill leaves it.
    let killed = tempfile::tempdir().unwrap();
    for (name, octets) in files(directory.path()) {
        std::fs::write(killed.path().join(name), octets).unwrap();
    }
    drop(original);
    let before = files(killed.path());
    assert!(before.contains_key("twins.db-wal"));
    let content = inspect(killed.path()).unwrap();
    assert_eq!(speed(&content).reported.as_ref().unwrap().value, Some(Value::Int(77)));
    assert!(files(killed.path()) == before);
}

#[test]
fn a_backup_is_doubted_and_its_numbers_are_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let old = inspect(directory.path()).unwrap();
    let replaced = Content { epoch: old.epoch + 5, ..Content::default() };
    let new = old.clone().restored(Some(&replaced), at(-10_000_000));
    assert_eq!(new.epoch, old.epoch + 6);
    assert!(old.clone().restored(None, at(0)).epoch > new.epoch, "by the clock");
    let (before, after) = (speed(&old), speed(&new));
    let reported = after.reported.as_ref().unwrap();
    assert_eq!(reported.value, before.reported.as_ref().unwrap().value);
    assert_eq!((reported.quality, reported.code), (Quality::Uncertain, QualityCode::Restored));
    assert!(after.generation > Generation(before.generation.0 + 1000));
    assert_eq!(after.desired, before.desired, "it was settled: nobody needs to write it");
    for (old, new) in old.twins.iter().zip(&new.twins) {
        for (old, new) in old.properties.iter().zip(&new.properties) {
            let (old, new) = (&old.state, &new.state);
            let generation = |state: &device_twin::TwinProperty| {
                state.desired.as_ref().map(|desired| desired.generation)
            };
            if !old.settled() {
                assert!(
                    generation(new) > generation(old) && generation(new) == Some(new.generation)
                );
            }
            if let Some(Quality::Bad) = old.reported.as_ref().map(|reported| reported.quality) {
                assert_eq!(new.reported, old.reported);
            }
        }
    }
}

/// Where the next run over `content` begins, on a machine whose clock begins anew.
fn next(content: &Content) -> u64 {
    let mut store = MemoryStore::new();
    content.put_into(&mut store).unwrap();
    Run::next(&mut store, Timestamp::from_millis(0)).unwrap().start()
}

#[test]
fn numbers_of_events_rise_over_a_backup_that_is_put_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = store(directory.path());
    let mut runs = Vec::new();
    let mut run = |store: &mut SqliteStore| {
        let run = Run::next(store, Timestamp::from_millis(0)).unwrap();
        store.put_object(&run.object()).unwrap();
        runs.push(run.start());
    };
    run(&mut store);
    let backup = serde_json::to_value(Document::new(&store.content().unwrap(), at(0))).unwrap();
    (0..100).for_each(|_| run(&mut store));
    let present = store.content().unwrap();
    drop(store);
    let last = runs[runs.len() - 1];
    assert!(next(&present) > last);

    let document: Document = serde_json::from_value(backup).unwrap();
    let backup = document.content().unwrap();
    assert!(next(&backup) < last, "as it was made");
    for replaced in [None, Some(&present)] {
        assert!(next(&backup.clone().restored(replaced, at(0))) > last);
    }
    // What has no run of its own goes on where the other one was.
    let content = Content { objects: Vec::new(), ..backup };
    assert!(next(&content.clone().restored(Some(&present), at(0))) > last);
    assert!(content.restored(None, at(0)).objects.is_empty());
}

#[test]
fn a_store_that_another_takes_the_place_of_is_kept_aside() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let database = directory.path().join(SqliteStore::FILE);
    let old = json(&inspect(directory.path()).unwrap());
    let content = Content { epoch: 7, ..Content::default() };
    let workplace = tempfile::tempdir_in(directory.path()).unwrap();
    let aside =
        SqliteStore::replace(&database, &content, workplace.path(), at(1)).unwrap().unwrap();
    assert_eq!(inspect(directory.path()).unwrap(), content);
    // Under its own names again it is what it was, with its journal.
    let back = tempfile::tempdir().unwrap();
    std::fs::rename(&aside, back.path().join(SqliteStore::FILE)).unwrap();
    let journal = aside.to_string_lossy().replace("twins.db", "twins.journal");
    std::fs::rename(journal, back.path().join("twins.journal")).unwrap();
    assert_eq!(json(&inspect(back.path()).unwrap()), old);
}

#[test]
fn damage_is_told_of_the_file_and_not_of_its_copy() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let path = directory.path().join(SqliteStore::FILE);
    let file = Connection::open(&path).unwrap();
    file.execute("UPDATE reported SET quality = 'splendid'", []).unwrap();
    drop(file);
    let error = inspect(directory.path()).unwrap_err();
    let StoreError::Damaged { place, reason } = &error else { panic!("{error}") };
    assert_eq!(Path::new(place), path);
    assert!(reason.contains("splendid"), "{reason}");
}

#[test]
fn a_document_that_is_wrong_is_refused_with_the_field() {
    let directory = tempfile::tempdir().unwrap();
    drop(store(directory.path()));
    let exported = json(&inspect(directory.path()).unwrap());
    let refusal = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = exported.clone();
        change(&mut changed);
        match serde_json::from_value::<Document>(changed) {
            Ok(document) => document.content().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    let pump = exported["devices"].as_array().unwrap();
    let pump = pump.iter().position(|device| device["id"] == "demo/pump").unwrap();
    let said = refusal(&|json| json["apiVersion"] = "edgetwin.io/v9".into());
    assert_eq!(
        said,
        "apiVersion: \"edgetwin.io/v9\" is not known; this program reads \"edgetwin.io/v1\""
    );
    let said = refusal(&|json| json["epoch"] = (1_u64 << 53).into());
    assert!(said.contains("9007199254740992 is no version"), "{said}");
    let said = refusal(&|json| json["colour"] = "blue".into());
    assert!(said.contains("colour"), "{said}");
    let said = refusal(&|json| {
        let twice = json["devices"][pump].clone();
        json["devices"].as_array_mut().unwrap().push(twice);
    });
    assert_eq!(said, "devices: demo/pump: stands there twice; leave one");
    let said = refusal(&|json| {
        let properties = json["devices"][pump]["properties"].as_array_mut().unwrap();
        let speed = properties.iter_mut().find(|one| one["name"] == "speed").unwrap();
        speed["desired"]["value"] = "fast".into();
    });
    assert!(
        said.starts_with("devices: demo/pump, property speed, desired.value: \"fast\" is not"),
        "{said}"
    );
}
