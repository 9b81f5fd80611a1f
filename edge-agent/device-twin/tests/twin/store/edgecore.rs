//! What is taken of the store of KubeEdge's EdgeCore, and what is left.

use std::path::Path;

use device_model::{DataType, Quality, QualityCode, Timestamp, Value};
use device_twin::store::{MOST_SUBSCRIPTIONS, Object, Subscription, Taken, take_edgecore};
use device_twin::{StoreError, TwinProperty, Uid, Writer};
use rusqlite::Connection;

use crate::fixture::at;

/// The tables as EdgeCore makes them.
const TABLES: &str = "
CREATE TABLE device (id text, name text, description text, state text, last_online text, PRIMARY KEY (id));
CREATE TABLE device_attr (id integer PRIMARY KEY AUTOINCREMENT, deviceid text, name text, description text, value text,
    optional numeric, attr_type text, metadata text);
CREATE TABLE device_twin (id integer PRIMARY KEY AUTOINCREMENT, deviceid text, name text, description text,
    expected text, actual text, expected_meta text, actual_meta text, expected_version text, actual_version text,
    optional numeric, attr_type text, metadata text);
CREATE TABLE sub_topics (topic text, PRIMARY KEY (topic));
CREATE TABLE target_urls (url text, PRIMARY KEY (url));
CREATE TABLE meta (key text, type text, value text, PRIMARY KEY (key));
";

const CONTENT: &str = r#"
INSERT INTO device VALUES ('plant/pump', 'pump', '', 'online', '2026-11-21T12:00:00Z'), ('plant/Bad_Name', '', '', '', '');
INSERT INTO meta VALUES
    ('plant/device/pump', 'device', '{"metadata": {"name": "pump", "namespace": "plant", "uid": "0c1d"},
        "spec": {"deviceModelRef": {"name": "pump-model"}}}'),
    ('plant/devicemodel/pump-model', 'devicemodel', '{"metadata": {"name": "pump-model", "namespace": "plant"},
        "spec": {"properties": [{"name": "speed", "type": "INT"}, {"name": "level", "type": "DOUBLE"}]}}'),
    ('node/x', 'node', 'not JSON');
INSERT INTO device_twin (deviceid, name, expected, actual, expected_meta, actual_meta, attr_type) VALUES
    ('plant/pump', 'speed', '1000', '990', '{"timestamp":1795262400000}', '{"timestamp":1795262401000}', 'string'),
    ('plant/pump', 'speed', '1450', '1449', '{"timestamp":1795262402000}', '{"timestamp":1795262403000}', 'string'),
    ('plant/pump', 'level', NULL, 'high', NULL, '{"timestamp":1795262403000}', 'string'),
    ('plant/pump', 'mode', 'auto', NULL, '', NULL, ''),
    ('plant/pump', 'running', NULL, 'true', NULL, 'nonsense', 'boolean'),
    ('plant/pump', 'gone', NULL, NULL, NULL, NULL, 'deleted'),
    ('plant/nobody', 'speed', '1', NULL, NULL, NULL, 'int');
INSERT INTO sub_topics VALUES ('default/alarms/#'), ('default/b'), ('$hw/x'), ('a#');
INSERT INTO device_attr (deviceid, name, value) VALUES ('plant/pump', 'site', 'north');
"#;

fn taken(path: &Path) -> Result<Option<Taken>, StoreError> {
    let scratch = tempfile::tempdir().unwrap();
    take_edgecore(path, scratch.path(), at(9))
}

fn edgecore(directory: &Path, content: &str) -> std::path::PathBuf {
    let path = directory.join("edgecore.db");
    let file = Connection::open(&path).unwrap();
    file.execute_batch(TABLES).unwrap();
    file.execute_batch(content).unwrap();
    path
}

#[test]
fn twins_of_edgecore_are_taken_and_what_is_left_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = edgecore(directory.path(), CONTENT);
    let before = std::fs::read(&path).unwrap();
    let Taken { content, left } = taken(&path).unwrap().unwrap();
    assert!(std::fs::read(&path).unwrap() == before);
    let [pump] = content.twins.as_slice() else { panic!("{content:?}") };
    assert_eq!((pump.id.to_string(), &pump.uid), ("plant/pump".into(), &Uid::new("0c1d")));
    assert_eq!(pump.last_online, Some(Timestamp::from_millis(1_795_262_400_000)));
    let property = |name: &str| -> Option<(DataType, TwinProperty)> {
        let found = pump.properties.iter().find(|one| one.name.as_str() == name)?;
        Some((found.data_type, found.state.clone()))
    };
    let (data_type, speed) = property("speed").unwrap();
    assert_eq!(data_type, DataType::Int, "by the model");
    let desired = speed.desired.unwrap();
    assert_eq!(
        (&desired.value, desired.generation),
        (&Value::Int(1450), speed.generation),
        "the last row"
    );
    assert_eq!(desired.set_at, Timestamp::from_millis(1_795_262_402_000));
    assert_eq!(desired.writer, Writer::local("edgecore"));
    assert_eq!(speed.ack, None);
    let reported = speed.reported.unwrap();
    assert_eq!(reported.value, Some(Value::Int(1449)));
    assert_eq!(reported.sample_time, Timestamp::from_millis(1_795_262_403_000));
    assert_eq!((reported.quality, reported.code), (Quality::Uncertain, QualityCode::Restored));
    let (data_type, mode) = property("mode").unwrap();
    assert_eq!((data_type, mode.reported), (DataType::String, None));
    let (data_type, running) = property("running").unwrap();
    assert_eq!((data_type, running.desired), (DataType::Boolean, None), "by its row");
    assert_eq!(running.reported.unwrap().sample_time, at(9), "no time is there");
    assert_eq!(property("gone"), None);
    assert_eq!(property("level").unwrap().1.reported, None);

    let names: Vec<_> = left.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "device plant/Bad_Name",
            "plant/nobody speed",
            "plant/pump level, actual value",
            "subscription $hw/x",
            "subscription a#",
            "table device_attr (1 rows)"
        ]
    );
    let subscriptions = content.objects.iter().map(|object| Subscription::read(object).unwrap());
    let subscriptions: Vec<_> = subscriptions
        .map(|one| (one.filter.to_string(), one.writer, one.set_at, one.removed))
        .collect();
    let of = |filter: &str| (filter.to_owned(), Writer::local("edgecore"), at(9), false);
    assert_eq!(subscriptions, [of("default/alarms/#"), of("default/b")]);
}

#[test]
fn more_subscriptions_than_are_kept_are_left_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let insert = (0..=MOST_SUBSCRIPTIONS)
        .map(|number| format!("INSERT INTO sub_topics VALUES ('default/{number:03}');"));
    let path = edgecore(directory.path(), &insert.collect::<String>());
    let Taken { content, left } = taken(&path).unwrap().unwrap();
    assert_eq!(content.objects.iter().map(is_subscription).filter(|is| *is).count(), 256);
    let [one] = left.as_slice() else { panic!("{left:?}") };
    assert!(one.name == "subscription default/256" && one.reason.contains("256"), "{one:?}");
}

fn is_subscription(object: &Object) -> bool {
    Subscription::read(object).is_ok()
}

#[test]
fn an_edgecore_of_the_older_program_is_taken_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edgecore.db");
    let file = Connection::open(&path).unwrap();
    let tables = TABLES
        .replace("numeric", "integer")
        .replace("CREATE TABLE target_urls", "CREATE TABLE other");
    file.execute_batch(&tables).unwrap();
    file.execute_batch("INSERT INTO device (id) VALUES ('default/a'); INSERT INTO device_twin (deviceid, name, actual) VALUES ('default/a', 'x', 'y')").unwrap();
    let taken = taken(&path).unwrap().unwrap();
    assert_eq!(taken.left, []);
    assert_eq!(taken.content.properties(), 1);
}

#[test]
fn another_database_is_no_edgecore_and_a_broken_one_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE device (id text)").unwrap();
    assert!(taken(&path).unwrap().is_none());
    let path = edgecore(directory.path(), CONTENT);
    let mut octets = std::fs::read(&path).unwrap();
    octets[100..4000].fill(0xa5);
    std::fs::write(&path, octets).unwrap();
    let error = taken(&path).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { place, .. } if place.ends_with("edgecore.db")),
        "{error}"
    );
}
