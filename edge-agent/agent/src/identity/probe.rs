//! Whether a cloud is there, for whoever looks what is wrong: nothing is changed by it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::ask::{Trust, ask};
use super::{JoinError, JoinServers, Papers};
use crate::connect::{connect, server_name};

/// How long TLS and a first answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a cloud is not reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// Look at the network, and at what listens there.
    #[error("no connection: {0}")]
    Tcp(io::Error),
    /// Look at the certificates of both.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// Look what else listens there.
    #[error("it takes the connection and says nothing for {PATIENCE:?}")]
    Silent,
}

/// Connects to `address`, `host:port`; with `papers` as far as its first answer, which it gives to its nodes alone.
///
/// # Errors
/// See [`Unreached`].
pub async fn reach(
    address: &str,
    proxy: Option<&str>,
    papers: Option<&Papers>,
) -> Result<(), Unreached> {
    let stream = connect(address, proxy).await.map_err(Unreached::Tcp)?;
    let Some(papers) = papers else { return Ok(()) };
    let name = server_name(address).map_err(|error| Unreached::Tls(io::Error::other(error)))?;
    let greeting = async {
        let mut stream = TlsConnector::from(papers.tls()).connect(name, stream).await?;
        // With TLS 1.3 a certificate is refused after its handshake.
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        match stream.read(&mut [0; 1]).await {
            // Whoever leaves without a word has looked at the certificate, too.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            read => read.map(drop),
        }
    };
    timeout(PATIENCE, greeting).await.map_err(|_| Unreached::Silent)?.map_err(Unreached::Tls)
}

/// The authority that a join server shows to everybody, in DER. Nothing is known of who answered.
///
/// # Errors
/// No server answers.
pub async fn authority(servers: &JoinServers) -> Result<CertificateDer<'static>, JoinError> {
    let mut last = JoinError::Nowhere;
    for address in &servers.addresses {
        let proxy = servers.proxy.as_deref();
        match ask(address, proxy, Trust::Anybody, "/ca.crt", &[], Vec::new()).await {
            Err(error @ JoinError::Unreachable { .. }) => last = error,
            answered => return answered.map(CertificateDer::from),
        }
    }
    Err(last)
}
