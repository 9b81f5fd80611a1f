//! Files that the configuration names: certificates, keys and passwords.

use std::path::Path;

/// The content of the file that `key` names.
pub(super) fn read(key: &str, file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| {
        format!("{key} = \"{}\": {error}; name a file that this user may read", file.display())
    })
}
