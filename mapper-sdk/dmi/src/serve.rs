//! Servers of DMI services on Unix sockets.
//!
//! [`Listener::bind`] puts the socket in place, so that peers may connect; [`Listener::serve_manager`] and
//! [`Listener::serve_mapper`] answer them until told to stop. The socket file goes with the listener.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::MESSAGE_LIMIT;
use crate::authority::Shim;
use crate::proto::frames::frames_server::{Frames, FramesServer};
use crate::proto::{
    DeviceManagerService, DeviceManagerServiceServer, DeviceMapperService,
    DeviceMapperServiceServer,
};

/// The owner and the group of the process may connect, nobody else.
const SOCKET_MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o750;
/// How long calls that run when the server stops may still take.
const GRACE: Duration = Duration::from_secs(2);

/// Why a socket could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("{path}: another process serves this socket; stop it, or configure another path", path = .0.display())]
    InUse(PathBuf),
    /// The path names something else.
    #[error("{path}: not a socket, so it is left alone; remove it, or configure another path", path = .0.display())]
    NotASocket(PathBuf),
    /// The path has no file name, or its directory cannot be made or written to, or it is longer than a
    /// socket's path may be (107 bytes).
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// What was to be made.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

/// A server ended for another reason than being told to.
#[derive(Debug, thiserror::Error)]
#[error("DMI server on {path}: {source}", path = .path.display())]
pub struct ServeError {
    path: PathBuf,
    source: tonic::transport::Error,
}

/// A bound socket. Peers that connect wait until it is served.
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    place: Place,
}

/// The socket's file; removed on drop, unless another process has taken the path meanwhile.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    inode: (u64, u64),
}

impl Listener {
    /// Binds the socket `path`, making its directory if need be, and replaces one that nobody serves any longer.
    ///
    /// The socket appears under its name at once with its final mode: it is bound under another name first. Call
    /// it within a Tokio runtime.
    ///
    /// # Errors
    /// The path is taken, by a live server or by another kind of file, or the file system refuses.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, BindError> {
        let path = path.as_ref();
        let io = |source| BindError::Io { path: path.into(), source };
        // The draft's name may fit where the final one does not; then nobody could connect.
        SocketAddr::from_pathname(path).map_err(io)?;
        refuse_taken(path)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(io)?;
        }
        if path.file_name().is_none() {
            return Err(io(ErrorKind::InvalidInput.into()));
        }
        let draft = path.with_file_name(draft_name());
        let bound = bind_as(&draft, path);
        if bound.is_err() {
            // Nothing may be there; then there is nothing to remove.
            let _ = fs::remove_file(&draft);
        }
        bound.map_err(io)
    }

    /// Path of the socket.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// The next connection, for whoever speaks another protocol on it.
    ///
    /// # Errors
    /// The system refuses, such as for want of file descriptors; it may be tried again. Cancel safe.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.inner.accept().await.map(|(stream, _)| stream)
    }

    /// Answers mappers until `stop`, then lets running calls end.
    ///
    /// Each request carries [`tonic::transport::server::UdsConnectInfo`] in its extensions: process, user and
    /// group of the peer.
    ///
    /// # Errors
    /// The server failed.
    pub async fn serve_manager(
        self,
        service: impl DeviceManagerService,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let server =
            DeviceManagerServiceServer::new(service).max_decoding_message_size(MESSAGE_LIMIT);
        self.serve(Routes::new(server), stop).await
    }

    /// Answers the agent until `stop`, then lets running calls end.
    ///
    /// # Errors
    /// The server failed.
    pub async fn serve_mapper(
        self,
        service: impl DeviceMapperService,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let server =
            DeviceMapperServiceServer::new(service).max_decoding_message_size(MESSAGE_LIMIT);
        self.serve(Routes::new(server), stop).await
    }

    /// The same, and shows the frames of devices to whoever asks.
    ///
    /// # Errors
    /// The server failed.
    pub async fn serve_mapper_with_frames(
        self,
        service: impl DeviceMapperService,
        frames: impl Frames,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let server =
            DeviceMapperServiceServer::new(service).max_decoding_message_size(MESSAGE_LIMIT);
        self.serve(Routes::new(server).add_service(FramesServer::new(frames)), stop).await
    }

    async fn serve(self, routes: Routes, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { inner, place } = self;
        let incoming = UnixListenerStream::new(inner).map(|accepted| accepted.map(Shim::new));
        let stopped = stop.clone();
        let serving = Server::builder()
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, stopped.cancelled_owned());
        let out_of_patience = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        // A peer that connects and says nothing would hold a graceful end for ever.
        tokio::select! {
            served = serving => {
                served.map_err(|source| ServeError { path: place.path.clone(), source })
            }
            () = out_of_patience => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // The directory may be gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn refuse_taken(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindError::Io { path: path.into(), source }),
        Ok(file) if !file.file_type().is_socket() => Err(BindError::NotASocket(path.into())),
        // Only a socket without a listener refuses; a busy or forbidden one counts as served.
        Ok(_) => match StdStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            _ => Err(BindError::InUse(path.into())),
        },
    }
}

fn bind_as(draft: &Path, path: &Path) -> io::Result<Listener> {
    let listener = StdListener::bind(draft)?;
    fs::set_permissions(draft, Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    let inner = UnixListener::from_std(listener)?;
    let inode = inode(draft)?;
    fs::rename(draft, path)?;
    Ok(Listener { inner, place: Place { path: path.into(), inode } })
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Short, because a socket's path is; unique, because one process may bind several.
fn draft_name() -> OsString {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".{:x}.{count:x}", std::process::id()).into()
}
