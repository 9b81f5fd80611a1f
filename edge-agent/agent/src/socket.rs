//! A Unix socket of our own that takes the place of one that nobody serves any longer.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The owner and the group of the process may connect, nobody else.
const MODE: u32 = 0o660;

/// A bound socket; its file goes with it.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    place: Place,
}

/// The socket's file.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Socket {
    /// Binds `path`, making its directory if need be. It appears under its name with its final mode at once.
    pub(crate) fn bind(path: &Path) -> Result<Self> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(Error::new(ErrorKind::AlreadyExists, "another kind of file is there"));
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                _ => return Err(Error::new(ErrorKind::AddrInUse, "another process serves it")),
            },
        }
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
        }
        let draft = path.with_extension(format!("{:x}", std::process::id()));
        let bound = UnixListener::bind(&draft).and_then(|listener| {
            fs::set_permissions(&draft, Permissions::from_mode(MODE))?;
            fs::rename(&draft, path)?;
            Ok(listener)
        });
        if bound.is_err() {
            // Nothing may be there; then there is nothing to remove.
            let _ = fs::remove_file(&draft);
        }
        Ok(Self { listener: bound?, place: Place(path.into()) })
    }

    /// The listener, and the file, to be kept as long as it is served.
    pub(crate) fn into_parts(self) -> (UnixListener, Place) {
        (self.listener, self.place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The directory may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}
