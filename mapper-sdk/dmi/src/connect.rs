//! Clients of DMI services on Unix sockets.
//!
//! A channel connects at its first call, keeps the connection, and connects anew at the next call after it was
//! lost; calls share it. A socket that is not there fails a call at once with `UNAVAILABLE`: back-off is the
//! caller's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::MESSAGE_LIMIT;
use crate::proto::{DeviceManagerServiceClient, DeviceMapperServiceClient};

/// A channel to the server on the socket `path`. A call that takes longer than `timeout` ends with `CANCELLED`
/// or `DEADLINE_EXCEEDED`.
///
/// Nothing is connected yet; call it within a Tokio runtime.
pub fn channel(path: impl Into<PathBuf>, timeout: Duration) -> Channel {
    let path = path.into();
    // Go and Rust servers both take this authority; the socket's path they refuse (see `authority`).
    Endpoint::from_static("http://localhost")
        .timeout(timeout)
        .connect_timeout(timeout)
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
}

/// A mapper's client of the agent on the socket `path`; each call may take `timeout`.
pub fn manager(path: impl AsRef<Path>, timeout: Duration) -> DeviceManagerServiceClient<Channel> {
    DeviceManagerServiceClient::new(channel(path.as_ref(), timeout))
        .max_decoding_message_size(MESSAGE_LIMIT)
}

/// The agent's client of a mapper on the socket `path`; each call may take `timeout`.
pub fn mapper(path: impl AsRef<Path>, timeout: Duration) -> DeviceMapperServiceClient<Channel> {
    DeviceMapperServiceClient::new(channel(path.as_ref(), timeout))
        .max_decoding_message_size(MESSAGE_LIMIT)
}
