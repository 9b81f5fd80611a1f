//! Opening a serial line.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::OFlags;
use serial2_tokio::rs4xx::{Rs485Config, TransceiverMode};
use serial2_tokio::{CharSize, FlowControl, Settings, StopBits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::NoAnswer;
use crate::serial_line::{Parity, SerialLine};

/// A serial port that nobody else uses.
pub(crate) struct SerialPort {
    port: serial2_tokio::SerialPort,
    /// Holds the lock while the port is open.
    _lock: File,
}

/// Opens `line`, alone: two masters on one line garble each other's frames.
pub(super) fn open(line: &SerialLine) -> Result<SerialPort, NoAnswer> {
    let lock = lock(&line.path)?;
    let parity = if has_parity(&line.path) { line.parity } else { Parity::None };
    let port = serial2_tokio::SerialPort::open(&line.path, |mut settings: Settings| {
        settings.set_raw();
        settings.set_baud_rate(line.baud_rate)?;
        settings.set_char_size(if line.data_bits == 7 { CharSize::Bits7 } else { CharSize::Bits8 });
        settings.set_stop_bits(if line.stop_bits == 2 { StopBits::Two } else { StopBits::One });
        settings.set_parity(match parity {
            Parity::None => serial2_tokio::Parity::None,
            Parity::Even => serial2_tokio::Parity::Even,
            Parity::Odd => serial2_tokio::Parity::Odd,
        });
        settings.set_flow_control(FlowControl::None);
        Ok(settings)
    })
    .map_err(|error| NoAnswer::Lost(format!("the port does not take {line}: {error}")))?;
    if line.rs485 {
        let mode = TransceiverMode::Rs485(Rs485Config::new());
        port.set_rs4xx_mode(mode).map_err(|error| {
            NoAnswer::Lost(format!(
                "the driver of {} has no RS-485 mode ({error}): set rs485Enabled: false if the adapter switches direction by itself",
                line.path
            ))
        })?;
    }
    // What a former master left behind is no answer to us. Nothing is lost where the driver cannot.
    let _ = port.discard_buffers();
    Ok(SerialPort { port, _lock: lock })
}

/// Opens the file once more to lock it, for programs that lock and for programs that do not.
fn lock(path: &str) -> Result<File, NoAnswer> {
    // Without NONBLOCK the open would wait for a modem's carrier.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)
        .map_err(|error| NoAnswer::Lost(format!("open {path}: {error}{}", remedy(&error))))?;
    file.try_lock()
        .map_err(|error| NoAnswer::Lost(format!("{path} is in use by another program: {error}")))?;
    Ok(file)
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; add the user to the group dialout",
        io::ErrorKind::NotFound => "; is the adapter plugged in?",
        _ => "",
    }
}

/// A pseudo-terminal carries whole bytes and takes no parity.
fn has_parity(path: &str) -> bool {
    let real = std::fs::canonicalize(path);
    !real.is_ok_and(|real| real.starts_with(Path::new("/dev/pts")))
}

impl AsyncRead for SerialPort {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.port).poll_read(cx, buf)
    }
}

impl AsyncWrite for SerialPort {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.port).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.port).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.port).poll_shutdown(cx)
    }
}
