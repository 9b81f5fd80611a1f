//! `identity`: where keys and certificates lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::BridgeConfig;
use crate::identity::token::{TokenFiles, TokenSecrets, TokenStore};
use crate::identity::{Files, Place, Secrets};

/// `identity`: in Secrets of the bridge's namespace, unless something else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// The namespace of the Secrets. Default: [`BridgeConfig::namespace`].
    pub secrets: Option<String>,
    /// A directory in their place, tokens included: for one replica, or where it is shared.
    pub dir: Option<PathBuf>,
    /// Files in their place, where the first of them exists.
    pub files: Option<IdentityFiles>,
}

/// `identity.files`: PEM or DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityFiles {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// The server's certificate; made where it is missing.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Identity {
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.dir, &self.secrets, &self.files) {
            (Some(dir), Some(_), _) | (Some(dir), _, Some(_)) => Err(format!(
                "identity.dir = \"{}\": it stands beside identity.secrets or identity.files; keep one of them",
                dir.display()
            )),
            _ => Ok(()),
        }
    }
}

impl BridgeConfig {
    /// Where keys and certificates lie. `client` is asked for where Secrets do.
    pub fn place(&self, client: &kube::Client) -> Place {
        let Identity { secrets, dir, files } = &self.identity;
        if let Some(dir) = dir {
            return Place::Files(Files::within(dir));
        }
        match files.as_ref().filter(|files| files.ca.exists()) {
            Some(IdentityFiles { ca, ca_key, certificate, key }) => Place::Files(Files {
                ca: ca.clone(),
                ca_key: ca_key.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            None => {
                let namespace = secrets.as_ref().unwrap_or(&self.namespace);
                Place::Secrets(Secrets::new(client.clone(), namespace))
            }
        }
    }

    /// Where tokens are kept: in the directory, else in Secrets of the bridge's own namespace.
    pub fn tokens(&self, client: &kube::Client) -> Arc<dyn TokenStore> {
        match &self.identity.dir {
            Some(dir) => Arc::new(TokenFiles::within(&tokens_in(dir))),
            None => Arc::new(TokenSecrets::new(client.clone(), &self.namespace)),
        }
    }
}

fn tokens_in(dir: &Path) -> PathBuf {
    dir.join("tokens")
}
