//! Files of every format that was released are read, whole, and are of the newest one from then on.

mod journal;

use std::path::Path;

use device_model::{AckCode, DeviceState, Generation, Quality, QualityCode, Value};
use device_twin::store::{Confirmed, ObjectKey, StoredTwin};
use device_twin::{SqliteStore, Store, StoreError, TwinProperty, Uid};
use rusqlite::Connection;

use crate::fixture::{at, pump_id};

/// One for each format; all hold the same.
const FORMATS: [&str; 2] = [include_str!("formats/1.sql"), include_str!("formats/2.sql")];

fn write(path: &Path, sql: &str) {
    let file = Connection::open(path).unwrap();
    file.execute_batch(sql).unwrap();
}

fn format(path: &Path) -> u8 {
    let file = Connection::open(path).unwrap();
    file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

fn property(twin: &StoredTwin, name: &str) -> TwinProperty {
    twin.properties.iter().find(|one| one.name.as_str() == name).unwrap().state.clone()
}

fn holds_everything(store: &mut SqliteStore) {
    let stored = store.load().unwrap();
    assert_eq!((stored.epoch, stored.twins.len()), (1_795_262_400_000, 2));
    let pump = stored.twins.iter().find(|twin| twin.id == pump_id()).unwrap();
    assert_eq!((&pump.uid, pump.rev, pump.revision()), (&Uid::new("0c1d"), 41, 43));
    let condition = &pump.condition;
    assert_eq!((condition.state, condition.since), (DeviceState::Online, at(1)));
    assert_eq!(condition.reason.as_deref(), Some("it's said; so"));
    assert_eq!(condition.problem.as_deref(), Some("port = \"70000\": out of range"));
    assert_eq!(pump.last_online, Some(at(2)));

    let speed = property(pump, "speed");
    let desired = speed.desired.unwrap();
    assert_eq!((desired.value.clone(), desired.generation), (Value::Int(1450), Generation(3)));
    assert_eq!((desired.set_at, desired.expires_at), (at(3), Some(at(3600))));
    assert_eq!(desired.writer.to_string(), "local:api");
    assert_eq!((speed.generation, speed.desired_pv), (Generation(3), 42));
    let ack = speed.ack.unwrap();
    assert_eq!((ack.code, &*ack.detail, ack.at), (AckCode::Verified, "read back", at(4)));
    let reported = speed.reported.unwrap();
    assert_eq!((reported.value, reported.pv), (Some(Value::Int(i64::MIN)), 43));
    assert_eq!(reported.sample_time, at(5));
    assert!(reported.source_time.is_some_and(|time| time < reported.sample_time));

    let label = property(pump, "label");
    assert_eq!((label.desired, label.generation), (None, Generation(9)), "deleted, not forgotten");
    let running = property(pump, "running");
    assert_eq!(running.desired.unwrap().cloud_version, Some(7));
    assert_eq!(running.beneath.unwrap().value, Value::Boolean(false));
    assert_eq!(running.cloud_version, 7);
    let reported = |name| property(pump, name).reported.unwrap();
    let pressure = reported("pressure");
    assert_eq!((pressure.value, pressure.quality), (Some(Value::Float(0.1)), Quality::Bad));
    assert_eq!(pressure.code, QualityCode::SensorFailure);
    assert!(matches!(reported("level").value, Some(Value::Double(number)) if number.is_nan()));
    assert_eq!(reported("raw").value, Some(Value::Bytes(vec![0, 255, 7])));

    let tombstones: Vec<_> = (stored.tombstones.iter())
        .map(|one| (one.device.name(), one.property.as_ref().map(|name| name.as_str()), one.rev))
        .collect();
    assert_eq!(tombstones.len(), 2);
    assert!(
        tombstones.contains(&("pump", Some("depth"), 30))
            && tombstones.contains(&("gone", None, 5))
    );
    let confirmed = Confirmed { uid: Uid::new("0c1d"), epoch: 1_795_262_400_000, rev: 40 };
    assert_eq!(store.confirmed(&pump_id()).unwrap(), Some(confirmed));
    let key = ObjectKey { kind: "Mapper".into(), namespace: "".into(), name: "go-1".into() };
    assert_eq!(store.object(&key).unwrap().unwrap().body, b"{}");
    assert_eq!(store.dirty_since(&pump_id(), 41).unwrap().len(), 1);
}

#[test]
fn a_file_of_each_format_is_read_whole_and_of_the_newest_one_afterwards() {
    for (number, sql) in (1..).zip(FORMATS) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("twins.db");
        write(&path, sql);
        assert_eq!(format(&path), number);
        for _ in 0..2 {
            holds_everything(&mut SqliteStore::open(&path).unwrap());
            assert_eq!(
                format(&path),
                u8::try_from(FORMATS.len()).unwrap(),
                "each format has its file here"
            );
        }
    }
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("twins.db");
    write(&path, FORMATS[0]);
    write(&path, "INSERT INTO meta VALUES ('journal', 0);");
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    assert_eq!(format(&path), 1);
    write(&path, "DELETE FROM meta WHERE key = 'journal';");
    holds_everything(&mut SqliteStore::open(&path).unwrap());
}
