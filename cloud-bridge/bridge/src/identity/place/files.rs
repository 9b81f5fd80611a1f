//! Keys and certificates in files, PEM as KubeEdge has them; DER is read, too.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Entry, Pair, Placed};
use crate::identity::{IdentityError, Sec1};

/// Larger than any certificate or key.
const LIMIT: u64 = 64 * 1024;
/// Whoever writes holds it, so that two that start at once do not make two authorities.
const LOCK: &str = ".edgetwin-lock";

/// Four files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Under KubeEdge's names in one directory.
    pub fn within(dir: &Path) -> Self {
        Self {
            ca: dir.join("rootCA.crt"),
            ca_key: dir.join("rootCA.key"),
            certificate: dir.join("server.crt"),
            key: dir.join("server.key"),
        }
    }

    /// Certificate and key of `entry`.
    pub(super) fn paths(&self, entry: Entry) -> [&Path; 2] {
        match entry {
            Entry::Authority => [&self.ca, &self.ca_key],
            Entry::Server => [&self.certificate, &self.key],
        }
    }

    pub(super) async fn load(&self, entry: Entry) -> Result<Option<Placed>, IdentityError> {
        let paths = self.paths(entry).map(Path::to_owned);
        blocking(move || {
            // Where nothing can be written, nobody else writes either.
            let _lock = lock(&paths).ok();
            read(&paths)
        })
        .await
    }

    pub(super) async fn create(&self, entry: Entry, pair: &Pair) -> Result<bool, IdentityError> {
        self.write(entry, pair, None).await
    }

    pub(super) async fn replace(
        &self,
        entry: Entry,
        pair: &Pair,
        version: &str,
    ) -> Result<bool, IdentityError> {
        self.write(entry, pair, Some(version.to_owned())).await
    }

    /// Writes if what lies there is of that version, if any.
    async fn write(
        &self,
        entry: Entry,
        pair: &Pair,
        version: Option<String>,
    ) -> Result<bool, IdentityError> {
        let paths = self.paths(entry).map(Path::to_owned);
        let pair = pair.clone();
        blocking(move || {
            for path in &paths {
                if let Some(dir) = path.parent() {
                    fs::DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(dir)
                        .map_err(|source| IdentityError::File { path: dir.into(), source })?;
                }
            }
            let _lock = lock(&paths)?;
            if read(&paths)?.map(|placed| placed.version) != version {
                return Ok(false);
            }
            let [certificate, key] = &paths;
            let label =
                if Sec1::parse(&pair.key).is_ok() { "EC PRIVATE KEY" } else { "PRIVATE KEY" };
            put(key, &pem(label, &pair.key), 0o600)?;
            put(certificate, &pem("CERTIFICATE", &pair.certificate), 0o644)?;
            Ok(true)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, IdentityError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(IdentityError::library("files of the identity", error)))
}

fn lock(paths: &[PathBuf; 2]) -> Result<File, IdentityError> {
    let path = paths[0].with_file_name(LOCK);
    let locked = || {
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|source| IdentityError::File { path: path.clone(), source })
}

fn read([certificate, key]: &[PathBuf; 2]) -> Result<Option<Placed>, IdentityError> {
    let pair = match (octets(certificate)?, octets(key)?) {
        (None, None) => return Ok(None),
        (Some(certificate_octets), Some(key_octets)) => Pair {
            certificate: certificate_der(certificate, certificate_octets)?,
            key: key_der(key, key_octets)?,
        },
        (None, Some(_)) | (Some(_), None) => {
            let other = if certificate.exists() { key } else { certificate };
            let reason = "it is missing, though the other half of the pair is there; put it back, or remove both";
            return Err(IdentityError::content(other.display(), reason));
        }
    };
    let version = digest(&SHA256, &[&pair.certificate[..], &pair.key].concat());
    Ok(Some(Placed { pair, version: STANDARD.encode(version) }))
}

fn octets(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let failed = |source| IdentityError::File { path: path.into(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(meta) if meta.len() > LIMIT => {
            return Err(IdentityError::content(
                path.display(),
                "too long for a certificate or a key",
            ));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(failed)
}

fn is_pem(octets: &[u8]) -> bool {
    octets.windows(11).any(|window| window == b"-----BEGIN ")
}

fn certificate_der(path: &Path, octets: Vec<u8>) -> Result<Vec<u8>, IdentityError> {
    if !is_pem(&octets) {
        return Ok(octets);
    }
    let first = CertificateDer::from_pem_slice(&octets);
    first.map(|certificate| certificate.to_vec()).map_err(|error| {
        IdentityError::content(
            path.display(),
            format!("no certificate in it: {error}; write one as PEM"),
        )
    })
}

fn key_der(path: &Path, octets: Vec<u8>) -> Result<Vec<u8>, IdentityError> {
    if !is_pem(&octets) {
        return Ok(octets);
    }
    let first = PrivateKeyDer::from_pem_slice(&octets);
    first.map(|key| key.secret_der().to_vec()).map_err(|error| {
        IdentityError::content(
            path.display(),
            format!("no private key in it: {error}; write one as PEM"),
        )
    })
}

/// `der` as text (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    // Lines of 64 characters.
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// As a whole or not at all.
fn put(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let draft = path.with_extension("draft");
    let written = || {
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&draft)?;
        // A draft that was left behind may have another mode.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|source| IdentityError::File { path: path.into(), source })
}
