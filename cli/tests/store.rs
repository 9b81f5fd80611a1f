//! `edgetwin store` as a person or a script uses it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use device_model::{DataType, DeviceId, PropertyName};
use device_twin::store::Row;
use device_twin::{Durability, SqliteStore, Store, Uid};
use serde_json::Value as Json;

fn edgetwin(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgetwin"));
    command.arg("store").args(arguments).arg("--dir").arg(dir).output().unwrap()
}

fn json(output: &Output) -> Json {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A store with one device, held open.
fn store(dir: &Path) -> SqliteStore {
    let mut store = SqliteStore::open(&dir.join(SqliteStore::FILE)).unwrap();
    let id: DeviceId = "demo/pump".parse().unwrap();
    let (uid, name) = (Uid::new("u"), PropertyName::new("speed").unwrap());
    let rows = [
        Row::Device { row: 1, id: &id, uid: &uid },
        Row::Property { row: 1, device: 1, name: &name, data_type: DataType::Int },
    ];
    store.commit(&rows, Durability::Synced).unwrap();
    store.set_epoch(7).unwrap();
    store
}

#[test]
fn a_store_is_checked_exported_and_imported() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(store(from.path()));
    let checked = edgetwin(from.path(), &["check", "--output", "json"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let checked = json(&checked);
    assert_eq!((&checked["sound"], &checked["content"]["epoch"]), (&true.into(), &7.into()));

    let backup = from.path().join("backup.json");
    let name = backup.to_str().unwrap();
    assert_eq!(edgetwin(from.path(), &["export", "-o", name]).status.code(), Some(0));
    assert!(complaint(&edgetwin(from.path(), &["export", "-o", name])).contains("exists"));
    let exported: Json = serde_json::from_slice(&std::fs::read(&backup).unwrap()).unwrap();
    assert_eq!(exported["devices"][0]["id"], "demo/pump");

    let imported = edgetwin(to.path(), &["import", name, "--output", "json"]);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let imported = json(&imported);
    assert_eq!((&imported["devices"], &imported["properties"]), (&1.into(), &1.into()));
    assert!(imported["epoch"].as_u64() > Some(7));
    // Nothing else is left in the directory.
    let mut names: Vec<_> =
        std::fs::read_dir(to.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["twins.db", "twins.journal"]);

    let refused = complaint(&edgetwin(to.path(), &["import", name]));
    assert!(refused.contains("holds 1 devices; --force"), "{refused}");
    let forced = json(&edgetwin(to.path(), &["import", name, "--force", "--output", "json"]));
    assert!(forced["epoch"].as_u64() > imported["epoch"].as_u64());
    assert!(Path::new(forced["aside"].as_str().unwrap()).exists());
}

#[test]
fn a_store_that_somebody_has_is_left_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let _held = store(dir.path());
    for command in ["check", "export"] {
        let said = complaint(&edgetwin(dir.path(), &[command]));
        assert!(said.contains("in use by another process; stop that one"), "{said}");
    }
}

#[test]
fn a_damaged_store_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    drop(store(dir.path()));
    let database = dir.path().join(SqliteStore::FILE);
    let mut octets = std::fs::read(&database).unwrap();
    octets[100..].fill(0xa5);
    std::fs::write(&database, octets).unwrap();
    let checked = edgetwin(dir.path(), &["check", "--output", "json"]);
    assert_eq!(checked.status.code(), Some(1));
    let damage = json(&checked)["damage"].as_str().unwrap().to_owned();
    assert!(damage.contains("twins.db is damaged") && damage.contains("start again"), "{damage}");
    assert!(damage.starts_with(dir.path().to_str().unwrap()), "{damage}");
}

#[test]
fn where_there_is_no_store_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let said = complaint(&edgetwin(dir.path(), &["check"]));
    assert!(said.contains("there is no") && said.contains("--dir"), "{said}");
    let empty = dir.path().join("empty.json");
    std::fs::write(&empty, "{}").unwrap();
    let said = complaint(&edgetwin(dir.path(), &["import", empty.to_str().unwrap()]));
    assert!(said.contains("no export of a store") && said.contains("apiVersion"), "{said}");
    assert!(!dir.path().join(SqliteStore::FILE).exists());
}
