//! A node's papers, in memory and as files.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use device_model::Timestamp;
use rcgen::KeyPair;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Places;

/// A node's certificate and key with the cloud's authority, ready for TLS. Cheap to clone.
#[derive(Clone)]
pub struct Papers {
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    /// PKCS#8 or SEC1.
    key: Arc<PrivateKeyDer<'static>>,
    not_before: Timestamp,
    not_after: Timestamp,
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Papers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Papers").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Why papers are of no use.
#[derive(Debug, thiserror::Error)]
pub enum PapersError {
    /// Give this user the right to it, or name another file.
    #[error(
        "{path}: {source}; give this user the right to read and write it, or name another file"
    )]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Put the right file there, or remove all three and join again.
    #[error(
        "{path}: {reason}; put the right file there, or remove cloud.ca, cloud.cert and cloud.key and join again"
    )]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Join again.
    #[error("the cloud's certificate is of no use: {0}; join again")]
    Unusable(String),
}

impl Papers {
    /// Reads the files at `places`; `None`: one is not there, so the node has to join.
    ///
    /// # Errors
    /// One cannot be read, is something else, or belongs to another node than `node`.
    pub fn read(places: &Places, node: &str) -> Result<Option<Self>, PapersError> {
        let mut texts = Vec::new();
        for path in [&places.ca, &places.cert, &places.key] {
            match fs::read(path) {
                Ok(text) => texts.push(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(PapersError::File { path: path.clone(), source }),
            }
        }
        let wrong =
            |path: &Path, reason: String| PapersError::Content { path: path.into(), reason };
        let certificate = |path: &Path, text: &[u8]| {
            CertificateDer::from_pem_slice(text)
                .map_err(|error| wrong(path, format!("no certificate in PEM ({error})")))
        };
        let authority = certificate(&places.ca, &texts[0])?;
        let key = PrivateKeyDer::from_pem_slice(&texts[2])
            .map_err(|error| wrong(&places.key, format!("no private key in PEM ({error})")))?;
        let own = certificate(&places.cert, &texts[1])?;
        match Self::of(authority.clone(), own, key.clone_key(), node) {
            Ok(papers) => Ok(Some(papers)),
            // The power went between the renewal of the key and that of the certificate.
            Err(reason) => fs::read(beside(&places.cert))
                .ok()
                .and_then(|text| CertificateDer::from_pem_slice(&text).ok())
                .and_then(|own| Self::of(authority, own, key, node).ok())
                .map(Some)
                .ok_or_else(|| wrong(&places.cert, reason)),
        }
    }

    pub(super) fn new(
        authority: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: &KeyPair,
        node: &str,
    ) -> Result<Self, PapersError> {
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Self::of(authority, certificate, key, node).map_err(PapersError::Unusable)
    }

    fn of(
        authority: CertificateDer<'static>,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        node: &str,
    ) -> Result<Self, String> {
        let (not_before, not_after) = life_of(&certificate, node)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone()).map_err(|error| format!("the authority: {error}"))?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
            .map_err(|error| format!("certificate and key do not go together: {error}"))?;
        // A connection of HTTP/2 cannot be upgraded.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (key, tls) = (Arc::new(key), Arc::new(tls));
        Ok(Self { authority, certificate, key, not_before, not_after, tls })
    }

    /// Writes them, each file whole or not at all, the key for this user alone. At each moment those that are there, or
    /// the certificate beside its place, go together.
    pub(super) fn write(&self, places: &Places) -> Result<(), PapersError> {
        let key = match &*self.key {
            PrivateKeyDer::Sec1(key) => pem("EC PRIVATE KEY", key.secret_sec1_der()),
            key => pem("PRIVATE KEY", key.secret_der()),
        };
        let files = [
            (&places.ca, pem("CERTIFICATE", &self.authority), 0o644),
            (&places.key, key, 0o600),
            (&places.cert, pem("CERTIFICATE", &self.certificate), 0o644),
        ];
        for (path, text, mode) in &files {
            prepare(path, text, *mode).map_err(|source| failed(path, source))?;
        }
        for (path, ..) in &files {
            fs::rename(beside(path), path)
                .and_then(|()| path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all()))
                .map_err(|source| failed(path, source))?;
        }
        Ok(())
    }

    /// How TLS is spoken with them.
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// The cloud's authority.
    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    #[cfg(test)]
    pub(super) fn not_before_for_tests(&self) -> Timestamp {
        self.not_before
    }

    /// When the certificate ends.
    pub fn expires_at(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after <= now
    }

    /// When it is to be renewed: after 70 to 90 % of its life, as `share`, 0 to 1, says, so that not all nodes come at once.
    pub fn renew_at(&self, share: f64) -> Timestamp {
        let life = self.not_after.since(self.not_before);
        self.not_before.plus(life.mul_f64(0.7 + 0.2 * share.clamp(0.0, 1.0)))
    }
}

/// From when until when `certificate` is good for `node`.
fn life_of(certificate: &CertificateDer<'_>, node: &str) -> Result<(Timestamp, Timestamp), String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let wanted = format!("system:node:{node}");
    if name != Some(&wanted) {
        let name = name.unwrap_or_default();
        return Err(format!("the certificate is for \"{name}\", this node is \"{wanted}\""));
    }
    let validity = parsed.validity();
    let time = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_millis(time.timestamp().saturating_mul(1000))
    };
    Ok((time(validity.not_before), time(validity.not_after)))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

fn failed(path: &Path, source: io::Error) -> PapersError {
    PapersError::File { path: path.to_owned(), source }
}

/// Where a file is before it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Writes `text` beside its place, synced.
fn prepare(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    // What an earlier try left may have another mode.
    match fs::remove_file(beside(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(beside(path))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
