//! Twins in two files: a SQLite database, and a journal of reported values beside it.
//!
//! The database is in WAL mode with `synchronous = FULL`: each of its transactions is on the disk when it returns. A batch
//! that only reports goes to the [`journal`] in place of it, until that is folded into the database. What counts of a
//! row is the newer of both.
//!
//! After a failed sync the kernel may forget what it has not written, and call it written. The database is safe from
//! that: SQLite takes the transaction back, writes its pages again with the next one, and keeps the WAL until the file
//! has all of it. The journal is not, so it is read back, checked, folded and begun anew before anything more is taken.
//!
//! The file is locked for this process while it is open: it has one owner, and needs no shared memory file beside it.

mod aside;
mod convert;
mod inspect;
mod journal;
mod read;
mod replace;
mod schema;
mod write;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use device_model::{DeviceId, PropertyName};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use self::convert::{int, property_name, version};
pub use self::inspect::Inspected;
pub(super) use self::inspect::copy;
pub use self::journal::JournalExtent;
use self::journal::{Journal, Unread};
use super::{Confirmed, Durability, Object, ObjectKey, Row, Store, StoreError, Stored};
use crate::Uid;

/// Pages of 4 KiB in the WAL after which it is moved into the file: 4 MiB.
const WAL_PAGES: u32 = 1000;
/// The WAL file is cut to this length, in octets, when it starts anew after a burst.
const WAL_LIMIT: u32 = 8 << 20;
/// How long a predecessor that is just stopping may still hold the file.
const PATIENCE: Duration = Duration::from_secs(1);
/// Statements kept ready; there are fewer than this.
const STATEMENTS: usize = 32;
/// Length of the journal, in octets.
const JOURNAL: u64 = 4 << 20;

/// Keeps twins in a database and its journal.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    journal: Journal,
}

/// What went wrong within; [`SqliteStore::explain`] says what to do about it.
#[derive(Debug)]
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    Io(io::Error),
    Damaged(String),
    TooNew { found: u32, known: u32 },
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl<E> From<Unread<E>> for Failure
where
    Failure: From<E>,
{
    fn from(unread: Unread<E>) -> Self {
        match unread {
            Unread::Io(error) => Self::Io(error),
            Unread::Damaged(reason) => Self::Damaged(reason.into()),
            Unread::Taker(failure) => failure.into(),
        }
    }
}

impl From<std::convert::Infallible> for Failure {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl SqliteStore {
    /// Opens or makes the file, for its owner alone to read, and brings it to the newest format.
    ///
    /// # Errors
    /// The file cannot be opened, is in use, damaged, or of a newer program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with_journal(path, JOURNAL)
    }

    /// The same with a journal of `length` octets, which is folded whenever it is full.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn with_journal(path: &Path, length: u64) -> Result<Self, StoreError> {
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|error| StoreError::Access {
            place: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let place = path.display().to_string();
        let open = || {
            let connection = connect(path)?;
            let generation = read::generation(&connection)?;
            Ok((connection, generation))
        };
        let (connection, generation) = open().map_err(|failure| explain(&place, failure))?;
        let journal = Self::journal_of(path);
        let opened = Journal::open(&journal, length, generation);
        let journal =
            opened.map_err(|unread| explain(&journal.display().to_string(), unread.into()))?;
        Ok(Self { connection, path: path.to_owned(), journal })
    }

    /// Runs `work` as one transaction, which is on the disk when this returns.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &Journal) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let done = self.try_transaction(work);
        self.explained(done)
    }

    fn try_transaction<T>(
        &mut self,
        work: impl FnOnce(&Connection, &Journal) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = work(&self.connection, &self.journal).and_then(|done| {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(done)
        });
        // Some errors have ended the transaction already.
        if done.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        done
    }

    /// Writes all that the journal has, and then `rows`, into the database; the journal starts anew.
    fn fold(&mut self, rows: &[Row<'_>]) -> Result<(), StoreError> {
        let generation = uuid::Uuid::new_v4().as_u64_pair().0;
        self.transaction(|connection, journal| {
            journal.each(|row, reported| write::fold_reported(connection, row, &reported))?;
            write::write(connection, rows)?;
            connection
                .prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'journal'")?
                .execute([generation.cast_signed()])?;
            Ok(())
        })?;
        self.journal.restart(generation);
        Ok(())
    }

    fn explained<T>(&self, done: Result<T, Failure>) -> Result<T, StoreError> {
        done.map_err(|failure| explain(&self.path.display().to_string(), failure))
    }
}

fn connect(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(PATIENCE)?;
    // Before WAL mode is entered: then no shared memory file is made.
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT, |_| Ok(()))?;
    let check = "PRAGMA quick_check(1)";
    let found: String = connection.query_row(check, [], |row| row.get(0))?;
    if found != "ok" {
        return Err(Failure::Damaged(found));
    }
    schema::migrate(&mut connection)?;
    Ok(connection)
}

pub(super) fn explain(place: &str, failure: Failure) -> StoreError {
    let place = place.to_owned();
    match failure {
        Failure::TooNew { found, known } => StoreError::TooNew { place, found, known },
        Failure::Damaged(reason) => StoreError::Damaged { place, reason },
        Failure::Io(error) => {
            let reason = error.to_string();
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StoreError::Full { place }
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    StoreError::Access { place, reason }
                }
                _ => StoreError::Failed { place, reason },
            }
        }
        Failure::Sqlite(error) => {
            let reason = error.to_string();
            match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => StoreError::Full { place },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    StoreError::InUse { place }
                }
                Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                    StoreError::Access { place, reason }
                }
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    StoreError::Damaged { place, reason }
                }
                // A column that does not hold what it should: somebody else wrote to the file.
                None => StoreError::Damaged { place, reason },
                Some(_) => StoreError::Failed { place, reason },
            }
        }
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        let load = || {
            let mut stored = read::load(&self.connection)?;
            read::overlay(&mut stored, &self.journal)?;
            Ok(stored)
        };
        self.explained(load())
    }

    fn commit(&mut self, rows: &[Row<'_>], durability: Durability) -> Result<(), StoreError> {
        let plain = rows.iter().all(Row::is_reported);
        if plain && !self.journal.is_doubtful() {
            let appended = self.journal.append(rows, durability).map_err(Failure::Io);
            if self.explained(appended)? {
                return Ok(());
            }
        }
        // Rows that come may have had another meaning before.
        if plain || self.journal.is_doubtful() || rows.iter().any(Row::is_structure) {
            return self.fold(rows);
        }
        self.transaction(|connection, _| write::write(connection, rows))?;
        for row in rows {
            if let Row::Reported { row, .. } = row {
                self.journal.forget(*row);
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.journal.is_doubtful() {
            return self.fold(&[]);
        }
        let synced = self.journal.sync().map_err(Failure::Io);
        self.explained(synced)
    }

    fn epoch(&mut self) -> Result<u64, StoreError> {
        self.explained(read::epoch(&self.connection))
    }

    fn set_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.transaction(|connection, _| {
            connection.execute("UPDATE meta SET value = ?1 WHERE key = 'epoch'", [int(epoch)])?;
            Ok(())
        })
    }

    fn dirty_since(
        &mut self,
        device: &DeviceId,
        rev: u64,
    ) -> Result<Vec<PropertyName>, StoreError> {
        let names = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT property.name, property.row,
                     max(coalesce(desired.pv, 0), coalesce(reported.pv, 0))
                 FROM device JOIN property ON property.device = device.row
                     LEFT JOIN desired ON desired.row = property.row
                     LEFT JOIN reported ON reported.row = property.row
                 WHERE namespace = ?1 AND device.name = ?2
                 ORDER BY property.name",
            )?;
            let mut rows = statement.query(params![device.namespace(), device.name()])?;
            let mut names = Vec::new();
            while let Some(row) = rows.next()? {
                let newest = version(row.get(2)?)?.max(self.journal.revision(row.get(1)?));
                if newest > rev {
                    names.push(property_name(&row.get::<_, String>(0)?)?);
                }
            }
            Ok(names)
        };
        self.explained(names())
    }

    fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError> {
        self.transaction(|connection, _| {
            let mut put = connection.prepare_cached(
                "INSERT INTO confirmation VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET uid = ?3, epoch = ?4, rev = ?5
                 WHERE uid <> ?3 OR (epoch, rev) < (?4, ?5)",
            )?;
            for (device, Confirmed { uid, epoch, rev }) in confirmed {
                let (namespace, name) = (device.namespace(), device.name());
                put.execute(params![namespace, name, uid.as_str(), int(*epoch), int(*rev)])?;
            }
            Ok(())
        })
    }

    fn confirmed(&mut self, device: &DeviceId) -> Result<Option<Confirmed>, StoreError> {
        let confirmed = || {
            let row = self
                .connection
                .prepare_cached(
                    "SELECT uid, epoch, rev FROM confirmation WHERE namespace = ?1 AND name = ?2",
                )?
                .query_row([device.namespace(), device.name()], |row| {
                    Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?;
            let Some((uid, epoch, rev)) = row else { return Ok(None) };
            let (epoch, rev) = (version(epoch)?, version(rev)?);
            Ok(Some(Confirmed { uid: Uid::new(&uid), epoch, rev }))
        };
        self.explained(confirmed())
    }

    fn put_objects(&mut self, objects: &[Object]) -> Result<(), StoreError> {
        self.transaction(|connection, _| {
            let mut put = connection
                .prepare_cached("INSERT OR REPLACE INTO object VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            for Object { key, uid, resource_version, body } in objects {
                let ObjectKey { kind, namespace, name } = key;
                put.execute(params![kind, namespace, name, uid, resource_version, body])?;
            }
            Ok(())
        })
    }

    fn delete_object(&mut self, key: &ObjectKey) -> Result<bool, StoreError> {
        self.transaction(|connection, _| {
            let deleted = connection
                .prepare_cached(
                    "DELETE FROM object WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
                )?
                .execute([&key.kind, &key.namespace, &key.name])?;
            Ok(deleted > 0)
        })
    }

    fn object(&mut self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        let object = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT * FROM object WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
            )?;
            Ok(statement.query_row([&key.kind, &key.namespace, &key.name], object_of).optional()?)
        };
        self.explained(object())
    }

    fn objects(&mut self, kind: &str) -> Result<Vec<Object>, StoreError> {
        let objects = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT * FROM object WHERE kind = ?1 ORDER BY namespace, name")?;
            let objects = statement.query_map([kind], object_of)?;
            Ok(objects.collect::<Result<_, _>>()?)
        };
        self.explained(objects())
    }
}

fn object_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Object> {
    let key = ObjectKey {
        kind: row.get("kind")?,
        namespace: row.get("namespace")?,
        name: row.get("name")?,
    };
    Ok(Object {
        key,
        uid: row.get("uid")?,
        resource_version: row.get("resource_version")?,
        body: row.get("body")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_of_the_database_is_synced_before_it_returns() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("twins.db")).unwrap();
        let pragma = |name| {
            store
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        };
        assert_eq!(pragma("synchronous").unwrap(), 2.into(), "FULL");
        assert_eq!(pragma("journal_mode").unwrap(), "wal".to_owned().into());
    }

    #[test]
    fn the_file_is_its_owners_alone_and_has_no_shared_memory_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("twins.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.set_epoch(1).unwrap();
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            assert_ne!(file.file_name(), "twins.db-shm");
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_of_a_newer_program_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("twins.db");
        let store = SqliteStore::open(&path).unwrap();
        store.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 99, known: 2, .. }), "{error}");
    }

    #[test]
    fn a_second_owner_is_told_that_the_file_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("twins.db");
        let _first = SqliteStore::open(&path).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    }

    #[test]
    fn what_is_no_store_is_not_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("twins.db");
        std::fs::write(&path, "these are not the pages you are looking for".repeat(100)).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let error = SqliteStore::open(&directory.path().join("none/twins.db")).unwrap_err();
        assert!(matches!(error, StoreError::Access { .. }), "{error}");
    }
}
