//! What the broker outside is shown of us, and whom we trust there: from files, which may be read again.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rumqttc_next::{MqttOptions, TlsConfiguration, Transport};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::super::secret_file::read;
use crate::config::{ClientTls, ExternalBroker};

/// Name, password and certificates.
#[derive(Clone)]
pub(crate) struct Credentials {
    username: Option<String>,
    password: Option<Bytes>,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    /// What stood in the files.
    files: Vec<Vec<u8>>,
    transport: Transport,
}

impl Credentials {
    /// Reads the files; what is wrong is named with its key and a remedy.
    pub(crate) fn read(external: &ExternalBroker) -> Result<Self, String> {
        let username = external.username.clone();
        let password = if username.is_some() { password(external)? } else { None };
        let tls = external.address()?.tls.then(|| Tls::read(external)).transpose()?;
        Ok(Self { username, password, tls })
    }

    /// Brings them into a connection that is to be made.
    pub(super) fn apply(&self, options: &mut MqttOptions) {
        match (&self.username, &self.password) {
            (Some(username), Some(password)) => {
                options.set_credentials(username.clone(), password.clone());
            }
            (Some(username), None) => {
                options.set_username(username.clone());
            }
            (None, _) => {}
        }
        if let Some(tls) = &self.tls {
            options.set_transport(tls.transport.clone());
        }
    }

    /// The keys in which the two differ.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let files = |of: &Self| of.tls.as_ref().map(|tls| tls.files.clone());
        let differ = [
            ("mqtt.external.username", self.username != other.username),
            ("mqtt.external.passwordFile", self.password != other.password),
            ("mqtt.external.tls", files(self) != files(other)),
        ];
        differ.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key).collect()
    }
}

/// The password alone; the end of its line does not count.
fn password(external: &ExternalBroker) -> Result<Option<Bytes>, String> {
    let Some(file) = &external.password_file else {
        let clear = external.password.as_ref().map(|password| password.expose().to_owned());
        return Ok(clear.map(Bytes::from));
    };
    let mut bytes = read("mqtt.external.passwordFile", file)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        let file = file.display();
        return Err(format!(
            "mqtt.external.passwordFile = \"{file}\": empty; write the password into it"
        ));
    }
    Ok(Some(bytes.into()))
}

impl Tls {
    fn read(external: &ExternalBroker) -> Result<Self, String> {
        let ClientTls { ca, cert, key } = external.tls.clone().unwrap_or_default();
        let Some(ca) = &ca else {
            let transport = Transport::try_tls_with_default_config().map_err(|error| {
                format!("the certificates that this system trusts: {error}; name a file in mqtt.external.tls.ca")
            })?;
            return Ok(Self { files: Vec::new(), transport });
        };
        let mut files = vec![read("mqtt.external.tls.ca", ca)?];
        let mut roots = RootCertStore::empty();
        let (trusted, _) = roots.add_parsable_certificates(certificates("ca", ca, &files[0])?);
        if trusted == 0 {
            return Err(wrong("ca", ca, "there is no certificate in it that can be trusted"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("ca", ca, error))?
            .with_root_certificates(roots);
        let config = match (&cert, &key) {
            (Some(cert), Some(key)) => {
                let own = read("mqtt.external.tls.cert", cert)?;
                let chain = certificates("cert", cert, &own)?;
                let secret = read("mqtt.external.tls.key", key)?;
                let parsed = PrivateKeyDer::from_pem_slice(&secret)
                    .map_err(|error| wrong("key", key, error))?;
                files.extend([own, secret]);
                // It does not say which of the two is wrong where they do not go together.
                config
                    .with_client_auth_cert(chain, parsed)
                    .map_err(|error| wrong("cert", cert, error))?
            }
            _ => config.with_no_client_auth(),
        };
        let transport = Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)));
        Ok(Self { files, transport })
    }
}

fn certificates(
    key: &str,
    file: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| wrong(key, file, error))?;
    if all.is_empty() {
        return Err(wrong(key, file, "there is no certificate in it"));
    }
    Ok(all)
}

fn wrong(key: &str, file: &Path, why: impl std::fmt::Display) -> String {
    format!("mqtt.external.tls.{key} = \"{}\": {why}; name a PEM file", file.display())
}
