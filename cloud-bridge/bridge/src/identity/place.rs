//! Where keys and certificates lie: in files, or in Secrets that all replicas see.

mod files;
mod secrets;

pub use files::Files;
pub(crate) use files::pem;
pub use secrets::Secrets;

use super::IdentityError;

/// What lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The certificate authority.
    Authority,
    /// What the bridge shows to nodes.
    Server,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// In DER.
    pub certificate: Vec<u8>,
    /// In DER: SEC1 as KubeEdge writes it, or PKCS#8.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate.len()).finish_non_exhaustive()
    }
}

/// A pair as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The pair.
    pub pair: Pair,
    /// Changes whenever it is replaced.
    pub version: String,
}

/// Where keys and certificates lie.
#[derive(Clone, Debug)]
pub enum Place {
    /// In files of this machine.
    Files(Files),
    /// In Secrets of one namespace.
    Secrets(Secrets),
}

impl Place {
    /// What lies there; `None`: nothing.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    pub async fn load(&self, entry: Entry) -> Result<Option<Placed>, IdentityError> {
        match self {
            Self::Files(files) => files.load(entry).await,
            Self::Secrets(secrets) => secrets.load(entry).await,
        }
    }

    /// Puts `pair` there if nothing lies there yet; whether it did. Of several that try at once, one does.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn create(&self, entry: Entry, pair: &Pair) -> Result<bool, IdentityError> {
        match self {
            Self::Files(files) => files.create(entry, pair).await,
            Self::Secrets(secrets) => secrets.create(entry, pair).await,
        }
    }

    /// Puts `pair` in the place of what lies there with that `version`; whether it did: something else may lie there by now.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn replace(
        &self,
        entry: Entry,
        pair: &Pair,
        version: &str,
    ) -> Result<bool, IdentityError> {
        match self {
            Self::Files(files) => files.replace(entry, pair, version).await,
            Self::Secrets(secrets) => secrets.replace(entry, pair, version).await,
        }
    }

    /// Where `entry` lies, for people.
    pub fn name(&self, entry: Entry) -> String {
        match self {
            Self::Files(files) => files.paths(entry)[0].display().to_string(),
            Self::Secrets(secrets) => secrets.name(entry),
        }
    }
}
