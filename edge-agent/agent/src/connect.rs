//! TCP to the cloud, directly or through a proxy.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

/// How long a connection may take to come about, a proxy's answer included.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a proxy's answer.
const ANSWER: usize = 8 << 10;

/// Connects to `address`, `host:port`, through the HTTP proxy `http://host:port` if there is one.
///
/// # Errors
/// There is no way; for a proxy with its own words.
pub(crate) async fn connect(address: &str, proxy: Option<&str>) -> io::Result<TcpStream> {
    let connecting = async {
        let Some(proxy) = proxy else { return TcpStream::connect(address).await };
        let proxy = proxy.strip_prefix("http://").unwrap_or(proxy).trim_end_matches('/');
        let stream = TcpStream::connect(proxy)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("the proxy {proxy}: {error}")))?;
        tunnel(stream, address).await
    };
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection in {PATIENCE:?}"));
    let stream = timeout(PATIENCE, connecting).await.map_err(late)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The name that whoever is at `address` must have in its certificate.
///
/// # Errors
/// The host is neither a name nor an address.
pub(crate) fn server_name(address: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
}

/// `CONNECT` of RFC 9110, 9.3.6: what comes after the head of the answer is the peer's.
async fn tunnel(mut stream: TcpStream, address: &str) -> io::Result<TcpStream> {
    let ask = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == ANSWER {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(stream),
        _ => Err(io::Error::other(format!("the proxy refuses: {line}"))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A proxy that answers `answer`, and what it was asked for.
    async fn through(answer: &'static str) -> (io::Result<TcpStream>, String) {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", proxy.local_addr().unwrap());
        let serving = async {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            (stream, String::from_utf8(asked).unwrap())
        };
        let (connected, (_stream, asked)) =
            tokio::join!(connect("bridge:10000", Some(&url)), serving);
        (connected, asked)
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_cloud_and_what_comes_after_its_answer_is_the_clouds() {
        let (connected, asked) = through("HTTP/1.1 200 Established\r\nVia: x\r\n\r\nhello").await;
        assert!(asked.starts_with("CONNECT bridge:10000 HTTP/1.1\r\nHost: bridge:10000\r\n"));
        let mut said = [0; 5];
        connected.unwrap().read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
    }

    #[tokio::test]
    async fn what_a_proxy_refuses_is_told_in_its_words() {
        let (connected, _) = through("HTTP/1.1 403 Not that one\r\n\r\n").await;
        let error = connected.unwrap_err().to_string();
        assert_eq!(error, "the proxy refuses: HTTP/1.1 403 Not that one");
    }
}
