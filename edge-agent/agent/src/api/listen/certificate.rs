//! The certificate that the API shows over TCP: each handshake takes the newest.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::config::ApiTls;

/// A certificate with those that lead to its root, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// What stood in the files.
    files: [Vec<u8>; 2],
    key: Arc<CertifiedKey>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Certificate {
    /// Reads the files; what is wrong is named with its key and a remedy.
    pub(crate) fn read(files: &ApiTls) -> Result<Self, String> {
        let ApiTls { cert, key } = files;
        let (chain, secret) = (read("cert", cert)?, read("key", key)?);
        let certificates = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| wrong("cert", cert, error))?;
        if certificates.is_empty() {
            return Err(wrong("cert", cert, "there is no certificate in it"));
        }
        let parsed =
            PrivateKeyDer::from_pem_slice(&secret).map_err(|error| wrong("key", key, error))?;
        let both = CertifiedKey::from_der(certificates, parsed, &ring::default_provider());
        let both = both.map_err(|error| wrong("key", key, error))?;
        Ok(Self { files: [chain, secret], key: Arc::new(both) })
    }
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| wrong(key, file, error))
}

fn wrong(key: &str, file: &Path, why: impl std::fmt::Display) -> String {
    let file = file.display();
    format!("api.tls.{key} = \"{file}\": {why}; name a PEM file that this user may read")
}

/// Shows the newest one.
#[derive(Debug)]
pub(super) struct Newest(pub(super) watch::Receiver<Certificate>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().key.clone())
    }
}
