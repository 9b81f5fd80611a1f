//! A pseudo-terminal: a serial line without hardware.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{SerialPort, SerialStream};

/// The simulator's end of a pseudo-terminal; a mapper opens [`Pty::path`] as its serial device.
///
/// It carries bytes at once and without bits: baud rate and parity are only remembered. See
/// [`LineOptions::pace`](crate::LineOptions::pace) for a line that takes its time.
#[derive(Debug)]
pub struct Pty {
    master: SerialStream,
    /// Held open, so that the line stays when a client closes it.
    _slave: SerialStream,
    path: PathBuf,
}

impl Pty {
    /// Opens a new pair; its slave is in raw mode already, so that requests are not echoed.
    ///
    /// # Errors
    /// The system has no pseudo-terminal left, or this is not called inside of a tokio runtime.
    pub fn open() -> io::Result<Self> {
        let (master, slave) = SerialStream::pair()?;
        let path =
            slave.name().ok_or_else(|| io::Error::other("a pseudo-terminal without name"))?;
        Ok(Self { master, _slave: slave, path: path.into() })
    }

    /// The device that a client opens, such as `/dev/pts/4`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsyncRead for Pty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.master).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.master).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.master).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.master).poll_shutdown(cx)
    }
}
