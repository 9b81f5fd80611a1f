//! Lets gRPC peers in whose `:authority` the HTTP/2 stack below tonic refuses.
//!
//! Over a Unix socket gRPC stacks make an `:authority` of the socket's path: `%2Ftmp%2Fdmi.sock` (grpc-go dialling
//! a path), `tmp%2Fdmi.sock` (grpcio), `/tmp/dmi.sock` (old grpc-go, grpc-java). h2 takes none of them: it resets the
//! stream and no request arrives (<https://github.com/hyperium/h2/pull/487> is open). [`Shim`] stands between the
//! socket and h2 and puts `localhost` in the place of such an authority. What the server sends is never touched.
//!
//! # When it steps aside
//! Header blocks are compressed against a table that both ends keep in step, so one cannot change a block and leave
//! the next one alone. The first header block of a connection decides:
//!
//! - Its authority is fine, or absent: no block was changed, h2's table is in step with the client's, and all octets
//!   pass from then on. A client has one authority for all calls of a connection; if one did change it for a
//!   refused one, that stream would be reset, as it would be without the shim.
//! - Its authority is not: this and every later block is decoded here and written anew without any reference to the
//!   table. h2's table stays empty for the life of the connection, whatever the client does with its own.
//!
//! # Limits
//! A header block may take 64 KiB, before and after. A larger or malformed one ends the connection: h2 could
//! not judge it, since its table is not the client's.

mod block;
mod frame;
mod plain;
mod refused;
mod rewriter;

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

pub use self::refused::Refused;
pub use self::rewriter::Rewriter;

/// A server's connection, read through a [`Rewriter`].
#[derive(Debug)]
pub struct Shim<S> {
    inner: S,
    rewriter: Rewriter,
    /// Rewritten, and not yet read.
    ready: Vec<u8>,
    /// How much of `ready` was read.
    taken: usize,
}

impl<S> Shim<S> {
    /// In front of `inner`, of which nothing was read yet.
    pub fn new(inner: S) -> Self {
        Self { inner, rewriter: Rewriter::new(), ready: Vec::new(), taken: 0 }
    }

    fn take_ready(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = &self.ready[self.taken..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.ready.len() {
            self.taken = 0;
            self.ready.clear();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shim<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ready.is_empty() {
            this.take_ready(buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let fresh = &buf.filled()[before..];
            if fresh.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let untouched = this.rewriter.pass(fresh);
            if untouched == fresh.len() {
                return Poll::Ready(Ok(()));
            }
            let fed = this.rewriter.feed(&fresh[untouched..], &mut this.ready);
            // With an error nothing may have been read.
            buf.set_filled(if fed.is_ok() { before + untouched } else { before });
            fed.map_err(|refused| io::Error::new(ErrorKind::InvalidData, refused))?;
            this.take_ready(buf);
            // A part of a frame may be all that came; nothing read would mean the end.
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shim<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: Connected> Connected for Shim<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests;
