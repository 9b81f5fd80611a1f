//! What keeps the bridge from its work.

use std::net::SocketAddr;

use crate::identity::IdentityError;

/// Why the bridge did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server is not named, or cannot be reached with what is named.
    #[error("no Kubernetes: {0}; name a kubeconfig file under kubeconfig, or set KUBECONFIG")]
    Kubernetes(String),
    /// Keys or certificates cannot be read or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A port cannot be bound.
    #[error("{key} = \"{address}\": {source}; stop who listens there, or name another")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part ended that should not: start the program again.
    #[error("{0}; the log says more")]
    Part(String),
}
