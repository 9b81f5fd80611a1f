//! Tokens in a folder, a file each: where the bridge keeps its identity in files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::store::{Kept, Listed, TokenError, TokenStore, Version};
use super::{Grant, TokenId};

/// Whoever changes something holds it.
const LOCK: &str = ".lock";
const END: &str = ".json";

/// A folder of tokens.
#[derive(Clone, Debug)]
pub struct TokenFiles {
    dir: PathBuf,
}

impl TokenFiles {
    /// Those of `dir`, which need not exist yet.
    pub fn within(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, id: &TokenId) -> PathBuf {
        self.dir.join(format!("{id}{END}"))
    }

    /// Does `work` while nobody else changes anything.
    fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, TokenError>> {
        let dir = self.dir.clone();
        blocking(move || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            let lock = dir.join(LOCK);
            let lock: File = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(lock)?;
            lock.lock()?;
            work()
        })
    }
}

impl TokenStore for TokenFiles {
    fn load<'a>(&'a self, id: &'a TokenId) -> BoxFuture<'a, Result<Option<Kept>, TokenError>> {
        let path = self.path(id);
        blocking(move || read(&path))
    }

    fn insert<'a>(
        &'a self,
        id: &'a TokenId,
        grant: &'a Grant,
    ) -> BoxFuture<'a, Result<(), TokenError>> {
        let (path, grant) = (self.path(id), grant.clone());
        self.alone(move || {
            if path.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            put(&path, &grant)
        })
    }

    fn replace<'a>(
        &'a self,
        id: &'a TokenId,
        grant: &'a Grant,
        version: &'a Version,
    ) -> BoxFuture<'a, Result<bool, TokenError>> {
        let (path, grant, version) = (self.path(id), grant.clone(), version.clone());
        self.alone(move || {
            let current = read(&path)?.is_some_and(|kept| kept.version == version);
            if current {
                put(&path, &grant)?;
            }
            Ok(current)
        })
    }

    fn revoke<'a>(&'a self, id: &'a TokenId) -> BoxFuture<'a, Result<bool, TokenError>> {
        let path = self.path(id);
        self.alone(move || match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, TokenError>> {
        let dir = self.dir.clone();
        blocking(move || {
            let entries = match fs::read_dir(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            let mut listed = Vec::new();
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let id = name.to_str().and_then(|name| name.strip_suffix(END)?.parse().ok());
                let Some(id) = id else { continue };
                if let Some(kept) = read(&entry.path())? {
                    listed.push(Listed { id, grant: kept.grant });
                }
            }
            listed.sort_by(|one, other| one.id.cmp(&other.id));
            Ok(listed)
        })
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> BoxFuture<'static, Result<T, TokenError>> {
    async move {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| TokenError::Store(error.to_string()))?;
        done.map_err(|error| TokenError::Store(error.to_string()))
    }
    .boxed()
}

fn read(path: &Path) -> io::Result<Option<Kept>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let grant = Grant::read(text.as_bytes())?;
    // The text itself: whatever changes it, is another version.
    Ok(Some(Kept { grant, version: Version(text) }))
}

fn put(path: &Path, grant: &Grant) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&grant.write()?)?;
    // A use that a power cut took back would be one too many.
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
