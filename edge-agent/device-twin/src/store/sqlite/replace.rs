//! A whole store takes the place of another one, or of none.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use device_model::Timestamp;

use super::{Failure, SqliteStore, explain};
use crate::store::{Content, StoreError};

impl SqliteStore {
    /// Makes a store of `content`, in `workplace`, an empty directory on the same disk, and moves it to `database`. What is
    /// there is moved aside; where to, if there was anything.
    ///
    /// # Errors
    /// It is not there; what was there is, or has been moved aside.
    pub fn replace(
        database: &Path,
        content: &Content,
        workplace: &Path,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, StoreError> {
        let made = workplace.join(Self::FILE);
        let mut store = Self::open(&made)?;
        content.put_into(&mut store)?;
        // Its last connection leaves no WAL behind.
        drop(store);
        let aside = || -> io::Result<_> {
            let aside = match database.try_exists()? {
                true => Some(Self::put_by(database, now)?),
                false => None,
            };
            fs::rename(Self::journal_of(&made), Self::journal_of(database))?;
            fs::rename(&made, database)?;
            if let Some(directory) = database.parent() {
                File::open(directory)?.sync_all()?;
            }
            Ok(aside)
        };
        aside().map_err(|error| explain(&database.display().to_string(), Failure::Io(error)))
    }
}
