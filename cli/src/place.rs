//! Where a running agent is found: the local API's socket, looked for in a fixed order.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The socket of an agent that runs as a system service.
const SYSTEM_SOCKET: &str = "/run/edgetwin/api.sock";

/// Name of the socket within a runtime directory.
pub(crate) const API_SOCKET: &str = "api.sock";

/// Which sockets to try, in order. A socket that was named is the only one.
pub(crate) fn candidates(named: Option<&Path>) -> Vec<PathBuf> {
    match named {
        Some(path) => vec![path.to_owned()],
        None => vec![user_dir().join(API_SOCKET), SYSTEM_SOCKET.into()],
    }
}

/// The user's own runtime directory: `$XDG_RUNTIME_DIR/edgetwin`, or `/tmp/edgetwin-<uid>` where the login gave
/// none. It may not exist yet.
pub(crate) fn user_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => Path::new(&dir).join("edgetwin"),
        None => format!("/tmp/edgetwin-{}", uid()).into(),
    }
}

/// Makes the user's runtime directory, for this user alone.
///
/// # Errors
/// It cannot be made, or belongs to somebody else: `/tmp` is open to all.
pub(crate) fn make_user_dir() -> anyhow::Result<PathBuf> {
    let dir = user_dir();
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| {
                format!("make {}; set XDG_RUNTIME_DIR to a directory of yours", dir.display())
            });
        }
        _ => {}
    }
    if !is_ours(&dir) {
        bail!(
            "{} belongs to another user; remove it, or set XDG_RUNTIME_DIR to a directory of yours",
            dir.display()
        );
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("close {} to others", dir.display()))?;
    Ok(dir)
}

/// Whether `dir` is a directory, not a link to one, that belongs to this user.
fn is_ours(dir: &Path) -> bool {
    fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir() && found.uid() == uid())
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_socket_is_the_only_one_tried() {
        assert_eq!(candidates(Some(Path::new("/x.sock"))), [PathBuf::from("/x.sock")]);
        let searched = candidates(None);
        assert_eq!(searched.len(), 2);
        assert_eq!(searched[1], Path::new(SYSTEM_SOCKET));
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_ours(dir.path()));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(!is_ours(&link));
    }
}
