//! The demo's places on disk: data, which `--dir` may keep, and sockets, which last as long as the process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::place::{self, API_SOCKET};

/// Directories of one run. Dropping it removes what is not to be kept.
#[derive(Debug)]
pub(crate) struct Home {
    data: PathBuf,
    /// Owns the sockets. Apart from the data, because a socket's path must be short.
    sockets: TempDir,
    /// Where commands without `--socket` look; a link to this run's socket.
    link: PathBuf,
    _temporary_data: Option<TempDir>,
}

impl Home {
    /// Makes the directories. `kept` is where the data outlives the run; without it the data is temporary.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub(crate) fn make(kept: Option<&Path>) -> anyhow::Result<Self> {
        let user_dir = place::make_user_dir()?;
        let sockets = tempfile::Builder::new().prefix("demo-").tempdir_in(&user_dir);
        let sockets =
            sockets.with_context(|| format!("make a directory in {}", user_dir.display()))?;
        let (data, temporary_data) = match kept {
            Some(dir) => {
                fs::create_dir_all(dir).with_context(|| {
                    format!("make {}; give --dir a directory that you may write", dir.display())
                })?;
                (fs::canonicalize(dir)?, None)
            }
            None => {
                let dir = tempfile::Builder::new().prefix("edgetwin-demo-").tempdir()?;
                (dir.path().to_owned(), Some(dir))
            }
        };
        let link = user_dir.join(API_SOCKET);
        Ok(Self { data, sockets, link, _temporary_data: temporary_data })
    }

    /// Directory of manifests, store and log.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Path of the socket of that name.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets.path().join(name)
    }

    /// Lets commands without `--socket` find this run; the latest run wins.
    ///
    /// # Errors
    /// The link cannot be made.
    pub(crate) fn announce(&self) -> anyhow::Result<&Path> {
        let fresh = self.socket("link");
        symlink(self.socket(API_SOCKET), &fresh)
            .and_then(|()| fs::rename(&fresh, &self.link))
            .with_context(|| format!("make {}", self.link.display()))?;
        Ok(&self.link)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Another demo may have taken the link meanwhile.
        if fs::read_link(&self.link).is_ok_and(|to| to == self.socket(API_SOCKET)) {
            let _ = fs::remove_file(&self.link);
        }
    }
}
