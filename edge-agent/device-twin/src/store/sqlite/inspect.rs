//! Looking at a store without touching it: its files are copied, and the copies are opened.
//!
//! Opening a database may bring its WAL into the file, and its format to the newest one. What only looks must do neither.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use super::convert::{device_id, version};
use super::journal::JournalExtent;
use super::{Failure, SqliteStore, explain, object_of};
use crate::Uid;
use crate::store::{Confirmed, Content, Store, StoreError, Stored};

/// A store as it was found.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The format of its database.
    pub format: u32,
    /// Everything it holds, what is in the journal too.
    pub content: Content,
    /// How much of that is in the journal.
    pub journal: JournalExtent,
}

impl SqliteStore {
    /// The name of the database in a store's directory.
    pub const FILE: &str = "twins.db";

    /// Reads the store of `database` whole, through copies in the directory `scratch`, which is empty. Each page and each
    /// row is looked at.
    ///
    /// # Errors
    /// It cannot be read, is in use, damaged, or of a newer program.
    pub fn inspect(database: &Path, scratch: &Path) -> Result<Inspected, StoreError> {
        let copied = copy(database, &[Self::journal_of(database)], scratch)?;
        let inspected = inspect(&copied);
        let originals = database.parent().unwrap_or(Path::new(""));
        inspected.map_err(|error| error.of_original(scratch, originals))
    }

    /// Everything it holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn content(&mut self) -> Result<Content, StoreError> {
        let Stored { epoch, twins, tombstones } = self.load()?;
        let rest = || {
            let connection = &self.connection;
            let mut statement =
                connection.prepare("SELECT * FROM object ORDER BY kind, namespace, name")?;
            let objects = statement.query_map([], object_of)?.collect::<Result<_, _>>()?;
            let mut confirmations = Vec::new();
            let mut statement =
                connection.prepare("SELECT namespace, name, uid, epoch, rev FROM confirmation")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let [namespace, name, uid] = [row.get::<_, String>(0)?, row.get(1)?, row.get(2)?];
                let (epoch, rev) = (version(row.get(3)?)?, version(row.get(4)?)?);
                let confirmed = Confirmed { uid: Uid::new(&uid), epoch, rev };
                confirmations.push((device_id(&namespace, &name)?, confirmed));
            }
            Ok((objects, confirmations))
        };
        let (objects, confirmations) = self.explained(rest())?;
        Ok(Content { epoch, twins, tombstones, confirmations, objects })
    }
}

fn inspect(copied: &Path) -> Result<Inspected, StoreError> {
    let format = || {
        let connection = Connection::open_with_flags(copied, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
    };
    let format =
        format().map_err(|failure: Failure| explain(&copied.display().to_string(), failure))?;
    let mut store = SqliteStore::open(copied)?;
    Ok(Inspected { format, content: store.content()?, journal: store.journal.extent() })
}

/// Copies a database with what SQLite keeps beside it, and `others` where they are there, while nobody writes to it; the
/// copy.
///
/// # Errors
/// It cannot be read or copied, or is in use.
pub(in crate::store) fn copy(
    database: &Path,
    others: &[PathBuf],
    scratch: &Path,
) -> Result<PathBuf, StoreError> {
    let failed =
        |place: &Path, error: io::Error| explain(&place.display().to_string(), Failure::Io(error));
    let file = File::open(database).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            StoreError::Access { place: database.display().to_string(), reason: error.to_string() }
        }
        _ => failed(database, error),
    })?;
    // SQLite's own lock of a database lies within this one.
    match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::AGAIN | Errno::ACCESS) => {
            return Err(StoreError::InUse { place: database.display().to_string() });
        }
        locked => locked.map_err(|error| failed(database, error.into()))?,
    }
    let name = database.file_name().unwrap_or_default();
    let copied = scratch.join(name);
    // The locked file itself is read: to open and close it once more would end the lock.
    let whole = File::create(&copied).and_then(|mut to| io::copy(&mut &file, &mut to));
    whole.map_err(|error| failed(&copied, error))?;
    let beside = ["-wal", "-journal"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    for path in beside.iter().chain(others) {
        match fs::copy(path, scratch.join(path.file_name().unwrap_or_default())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.map_err(|error| failed(path, error))?),
        }
    }
    Ok(copied)
}
