//! Why an agent did not start, or stopped by itself.

use std::any::Any;
use std::path::Path;

/// Each variant says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory or socket could not be made: give this user the right to, or configure another path.
    #[error(
        "{what} {path}: {source}; give this user the right to make it, or configure another path"
    )]
    Place {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store cannot be used; the source says what to do.
    #[error(transparent)]
    Store(#[from] device_twin::StoreError),
    /// The DMI socket cannot be bound; the source says what to do.
    #[error(transparent)]
    Dmi(#[from] dmi::serve::BindError),
    /// The API's TCP address cannot be bound.
    #[error("API on {address}: {source}; choose another address in api.listen, or leave it out")]
    Api {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificate and key of the API's TCP address cannot be used; the text says which key and what to do.
    #[error("{0}")]
    Tls(String),
    /// The MQTT address cannot be bound.
    #[error("{0}")]
    Mqtt(String),
    /// At the end the store did not take what was to be synced: look after its disk before power goes.
    #[error(
        "stopped, but the store could not be brought to disk: {reason}; it survives the end of this process, but what \
         was reported since the last sync may be lost when power goes"
    )]
    Unsynced {
        /// The store's words.
        reason: String,
    },
    /// A part ended although nobody asked it to: read its log, start again.
    #[error(
        "{part} stopped by itself: {reason}; everything that was accepted is kept, start the agent again"
    )]
    Part {
        /// Which part.
        part: &'static str,
        /// How it ended.
        reason: String,
    },
}

impl Error {
    pub(crate) fn place(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Place { what, path: path.display().to_string(), source }
    }
}

/// How a part ended that panicked, with its last words.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a word"))
}

impl From<crate::broker::BindError> for Error {
    fn from(error: crate::broker::BindError) -> Self {
        Self::Mqtt(error.to_string())
    }
}
