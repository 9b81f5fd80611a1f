//! A damaged store, and one that another takes the place of, is moved aside and not deleted: somebody may want to look
//! at it, or get something out of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use device_model::Timestamp;

use super::SqliteStore;

/// So many of each sort are kept; the disk of a gateway is small.
const KEPT: usize = 3;
const DAMAGED: &str = ".damaged-";
const REPLACED: &str = ".replaced-";

impl SqliteStore {
    /// The journal beside a database.
    pub(super) fn journal_of(database: &Path) -> PathBuf {
        database.with_extension("journal")
    }

    /// Moves a damaged store aside, so that an empty one can be opened in its place; where the damaged file is now.
    /// `place` is what the error named: a damaged journal goes alone, a damaged database with its WAL and journal. Of
    /// earlier ones the newest stay, three with this one.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn set_aside(database: &Path, place: &str, now: Timestamp) -> io::Result<PathBuf> {
        let journal = Self::journal_of(database);
        let damaged = if journal.as_os_str() == place { &journal } else { database };
        move_aside(database, damaged, DAMAGED, now)
    }

    /// Moves a sound store aside, with its WAL and journal, for another one to take its place; where it is now. Of
    /// earlier ones the newest stay, three with this one.
    pub(super) fn put_by(database: &Path, now: Timestamp) -> io::Result<PathBuf> {
        move_aside(database, database, REPLACED, now)
    }
}

fn move_aside(database: &Path, moved: &Path, mark: &str, now: Timestamp) -> io::Result<PathBuf> {
    let journal = SqliteStore::journal_of(database);
    for old in older(moved, mark)? {
        remove(&old)?;
        // Of the same moment, where they are there.
        let name = old.as_os_str().to_string_lossy();
        remove(&PathBuf::from(format!("{name}-wal")))?;
        if let Some((_, time)) = name.rsplit_once(mark) {
            remove(&marked(&journal, mark, time, ""))?;
        }
    }
    let time: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    if moved == database {
        // SQLite looks for the WAL of a file under that file's name.
        let wal = PathBuf::from(suffixed(database, "-wal"));
        rename(&wal, &marked(database, mark, &time, "-wal"))?;
        rename(&journal, &marked(&journal, mark, &time, ""))?;
    }
    let aside = marked(moved, mark, &time, "");
    fs::rename(moved, &aside)?;
    Ok(aside)
}

fn suffixed(path: &Path, suffix: &str) -> OsString {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name
}

fn marked(path: &Path, mark: &str, time: &str, suffix: &str) -> PathBuf {
    suffixed(path, &format!("{mark}{time}{suffix}")).into()
}

/// Those that go, so that there is room for one more.
fn older(moved: &Path, mark: &str) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (moved.parent(), moved.file_name()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}{mark}", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&prefix) && !name.ends_with("-wal") {
            found.push(path);
        }
    }
    // The time in the name makes it their order.
    found.sort_unstable();
    let old = (found.len() + 1).saturating_sub(KEPT);
    found.truncate(old);
    Ok(found)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    ignore_absence(fs::rename(from, to))
}

fn remove(path: &Path) -> io::Result<()> {
    ignore_absence(fs::remove_file(path))
}

fn ignore_absence(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
