//! Certificates that are made for a test.

use edge_agent::config::ClientTls;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// An authority and what it signed, as files.
pub(crate) struct Papers {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Papers {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("ca.pem"), root.pem()).unwrap();
        let papers = Self { dir, issuer: Issuer::new(authority, key) };
        papers.sign("server", ExtendedKeyUsagePurpose::ServerAuth, |_| {});
        papers.sign("client", ExtendedKeyUsagePurpose::ClientAuth, |_| {});
        papers
    }

    pub(crate) fn sign(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut leaf = CertificateParams::new(vec!["localhost".into()]).unwrap();
        leaf.extended_key_usages = vec![usage];
        change(&mut leaf);
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn of_client(&self) -> ClientTls {
        ClientTls {
            ca: Some(self.file("ca.pem")),
            cert: Some(self.file("client.pem")),
            key: Some(self.file("client.key")),
        }
    }
}
