//! Keys, certificates and tokens of a control plane, and the kubeconfigs that name them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use serde_json::{Value as Json, json};

/// All of it, in files of one folder. The private key of the authority is kept here, too: it signs users at any time.
#[derive(Debug)]
pub(super) struct Papers {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    token: String,
}

impl Papers {
    /// Makes new ones, in `folder`.
    pub(super) fn write(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.distinguished_name = named("authority of a test", None);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key)?;
        let token = format!("{:032x}", rand::random::<u128>());
        let papers = Self { folder: folder.to_owned(), issuer: Issuer::new(authority, key), token };
        fs::write(papers.authority(), certificate.pem())?;
        let names = vec!["127.0.0.1".into(), "localhost".into()];
        let server = CertificateParams::new(names)?;
        papers.sign("api-server", server, ExtendedKeyUsagePurpose::ServerAuth)?;
        let accounts = KeyPair::generate()?;
        let (public, private) = papers.accounts();
        fs::write(public, accounts.public_key_pem())?;
        fs::write(private, accounts.serialize_pem())?;
        let row = format!("{},administrator,administrator,\"system:masters\"\n", papers.token);
        fs::write(papers.tokens(), row)?;
        Ok(papers)
    }

    /// The folder that they are in, and all else of their cluster.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("authority.crt")
    }

    /// The API server's certificate and private key.
    pub(super) fn server(&self) -> (PathBuf, PathBuf) {
        self.pair("api-server")
    }

    /// The public key that proves tokens of service accounts, and the private one that signs them.
    pub(super) fn accounts(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("accounts.pub"), self.folder.join("accounts.key"))
    }

    /// Who has a static token, as `--token-auth-file` wants it.
    pub(super) fn tokens(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// A kubeconfig of the administrator.
    pub(super) fn administrator(&self, server: SocketAddr) -> Result<PathBuf> {
        self.bearer(server, "administrator", &self.token)
    }

    /// A kubeconfig with a token.
    pub(super) fn bearer(&self, server: SocketAddr, name: &str, token: &str) -> Result<PathBuf> {
        self.kubeconfig(server, name, &json!({ "token": token }))
    }

    /// A kubeconfig with a new certificate for that name and group.
    pub(super) fn user(
        &self,
        server: SocketAddr,
        name: &str,
        group: Option<&str>,
    ) -> Result<PathBuf> {
        let mut user = CertificateParams::new(Vec::new())?;
        user.distinguished_name = named(name, group);
        let (certificate, key) = self.sign(name, user, ExtendedKeyUsagePurpose::ClientAuth)?;
        let user = json!({ "client-certificate": certificate, "client-key": key });
        self.kubeconfig(server, name, &user)
    }

    fn sign(
        &self,
        name: &str,
        mut leaf: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(PathBuf, PathBuf)> {
        leaf.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let files = self.pair(name);
        fs::write(&files.0, leaf.signed_by(&key, &self.issuer)?.pem())?;
        fs::write(&files.1, key.serialize_pem())?;
        Ok(files)
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")))
    }

    /// JSON is YAML, too.
    fn kubeconfig(&self, server: SocketAddr, name: &str, user: &Json) -> Result<PathBuf> {
        let file = self.folder.join(format!("{name}.kubeconfig"));
        let server = format!("https://{server}");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "test",
                "cluster": { "server": server, "certificate-authority": self.authority() },
            }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": name } }],
            "current-context": "test",
        });
        fs::write(&file, config.to_string())?;
        Ok(file)
    }
}

/// Kubernetes takes a certificate's common name for the user's, and its organization for a group.
fn named(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    if let Some(group) = group {
        full.push(DnType::OrganizationName, group);
    }
    full
}
