//! Opening a TCP connection to a device.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{NoAnswer, lost};

/// How long sent bytes may stay without the peer's acknowledgement. A peer that is there but keeps silent
/// acknowledges; one behind a dead cable does not, and the connection ends after this time.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Silence after which the kernel asks whether the peer is still there, and time between such questions.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Connects; the caller bounds the time.
pub(super) async fn connect(host: &str, port: u16) -> Result<TcpStream, NoAnswer> {
    let stream = TcpStream::connect((host, port)).await.map_err(|error| lost("connect", &error))?;
    stream.set_nodelay(true).map_err(|error| lost("no delay", &error))?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2);
    socket.set_tcp_keepalive(&keepalive).map_err(|error| lost("keepalive", &error))?;
    #[cfg(target_os = "linux")]
    socket
        .set_tcp_user_timeout(Some(UNACKNOWLEDGED))
        .map_err(|error| lost("user timeout", &error))?;
    Ok(stream)
}
