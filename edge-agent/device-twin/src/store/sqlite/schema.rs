//! The tables, and how an older file becomes a newer one.

use rusqlite::Connection;

use super::Failure;

/// Format of the file = number of steps done, in `user_version`. A step is never edited once it is released.
const STEPS: [&str; 2] = [
    "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('syncs', 0);

-- The revision of a twin is the largest of `rev` and the `pv` of its properties: what a report changes is one row.
CREATE TABLE device (
    row          INTEGER PRIMARY KEY,
    namespace    TEXT NOT NULL,
    name         TEXT NOT NULL,
    uid          TEXT NOT NULL,
    rev          INTEGER NOT NULL DEFAULT 0,
    state        TEXT NOT NULL DEFAULT 'unknown',
    state_since  INTEGER NOT NULL DEFAULT 0,
    state_reason TEXT,
    problem      TEXT,
    last_online  INTEGER,
    UNIQUE (namespace, name)
) STRICT;

CREATE TABLE property (
    row    INTEGER PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES device ON DELETE CASCADE,
    name   TEXT NOT NULL,
    type   TEXT NOT NULL,
    UNIQUE (device, name)
) STRICT;

-- Times are milliseconds since 1970. A value has the column type of its property's type; a float that is no finite
-- number stands as text, since SQLite keeps no NaN.
CREATE TABLE desired (
    row                   INTEGER PRIMARY KEY REFERENCES property ON DELETE CASCADE,
    pv                    INTEGER NOT NULL,
    highest_generation    INTEGER NOT NULL,
    highest_cloud_version INTEGER NOT NULL,
    manifest              TEXT,
    value                 ANY,
    generation            INTEGER,
    set_at                INTEGER,
    writer                TEXT,
    expires_at            INTEGER,
    cloud_version         INTEGER,
    beneath_value         ANY,
    beneath_set_at        INTEGER,
    beneath_cloud_version INTEGER,
    ack_code              INTEGER,
    ack_detail            TEXT,
    ack_at                INTEGER
) STRICT;

CREATE TABLE reported (
    row         INTEGER PRIMARY KEY REFERENCES property ON DELETE CASCADE,
    pv          INTEGER NOT NULL,
    value       ANY,
    quality     TEXT NOT NULL,
    code        TEXT NOT NULL,
    source_time INTEGER,
    sample_time INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

-- An empty property stands for the whole device.
CREATE TABLE tombstone (
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    property   TEXT NOT NULL,
    uid        TEXT NOT NULL,
    rev        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL,
    confirmed  INTEGER NOT NULL,
    PRIMARY KEY (namespace, name, property)
) STRICT, WITHOUT ROWID;

CREATE TABLE confirmation (
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    uid       TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    rev       INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE object (
    kind             TEXT NOT NULL,
    namespace        TEXT NOT NULL,
    name             TEXT NOT NULL,
    uid              TEXT NOT NULL,
    resource_version TEXT NOT NULL,
    body             BLOB NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) STRICT;
",
    // The generation of the journal's frames that count; random, and another one whenever none of them does.
    "INSERT INTO meta VALUES ('journal', random());",
];

/// Brings the file to the newest format.
///
/// # Errors
/// Its format is newer than this program, or a step failed; it is then as before that step.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(Failure::TooNew { found, known });
    }
    for (number, step) in (1..=known).zip(STEPS).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
