//! Who is who: the certificate authority, what it signs, and who a certificate says its bearer is.
//!
//! A node is known by its certificate alone. The [`Authority`] signs one for a node that shows a token of [`token`], and a
//! new one for a node that shows the one it has. Keys and certificates lie in files or in Secrets ([`Place`]), under the
//! names and in the forms of KubeEdge's CloudCore, so that either may follow the other on what it left there.

mod authority;
mod key;
mod name;
mod peer;
mod place;
mod request;
mod served;
mod tls;
pub mod token;

use std::fmt::Display;
use std::path::PathBuf;

pub use authority::{Authority, CA_NAME, SignError};
pub use key::{KeyError, Sec1};
pub use name::{NameError, NodeName};
pub use peer::{PeerError, node_of};
pub(crate) use place::pem;
pub use place::{Entry, Files, Pair, Place, Placed, Secrets};
pub use request::{CsrError, Request};
pub use served::{Served, ServerNames};
pub use tls::{hub_config, join_config, server_config};

/// Why the bridge has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}: {source}; give this user the right to read and write there", path = path.display())]
    File {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The API server did not do it; it may when asked again.
    #[error("secret {namespace}/{name}: {reason}")]
    Secret {
        /// Where the Secret is.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server said.
        reason: String,
    },
    /// What lies there is no certificate or no key.
    #[error("{place}: {reason}")]
    Content {
        /// The file, or the Secret and its key.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The library for certificates or TLS refused.
    #[error("{what}: {reason}")]
    Library {
        /// What was to be made.
        what: &'static str,
        /// Why it was not.
        reason: String,
    },
}

impl IdentityError {
    pub(crate) fn content(place: impl Display, reason: impl Display) -> Self {
        Self::Content { place: format!("{place}"), reason: format!("{reason}") }
    }

    pub(crate) fn library(what: &'static str, reason: impl Display) -> Self {
        Self::Library { what, reason: format!("{reason}") }
    }
}
