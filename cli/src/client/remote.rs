//! An agent that is reached over TCP: `--url`, its token, and TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use hyper::http::HeaderValue;
use hyper::http::uri::{Scheme, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// `--url` and what belongs to it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RemoteArgs {
    /// Ask the agent at this URL (its api.listen) in place of one on a socket: http://127.0.0.1:10550
    #[arg(
        long,
        value_name = "URL",
        env = "EDGETWIN_URL",
        requires = "token_file",
        conflicts_with = "socket"
    )]
    url: Option<Uri>,
    /// File whose first line is a token of that agent, such as its api.tokenFile
    #[arg(long, value_name = "FILE", env = "EDGETWIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// For https: file with the certificate that the agent's own is signed by, or is
    #[arg(long, value_name = "FILE", env = "EDGETWIN_CA")]
    ca: Option<PathBuf>,
}

/// Where it is, and what opens it.
#[derive(Clone)]
pub(super) struct Remote {
    url: Uri,
    host: String,
    port: u16,
    authorization: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({self})")
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl RemoteArgs {
    /// Whether an agent over TCP is meant.
    pub(super) fn is_named(&self) -> bool {
        self.url.is_some()
    }

    /// What they say; `None` without a URL.
    ///
    /// # Errors
    /// The URL is none of ours, or a file cannot be used.
    pub(super) fn open(&self) -> anyhow::Result<Option<Remote>> {
        let (Some(url), Some(tokens)) = (&self.url, &self.token_file) else { return Ok(None) };
        let https = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => bail!("--url {url}: write http://HOST:PORT or https://HOST:PORT"),
        };
        let host = url.host().unwrap_or_default();
        // Brackets belong to an IPv6 address in a URL alone.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let tls = match (https, &self.ca) {
            (false, _) => None,
            (true, None) => bail!("--url {url}: name the certificate to trust with --ca FILE"),
            (true, Some(file)) => {
                let name = ServerName::try_from(host.clone());
                Some((connector(file)?, name.with_context(|| format!("--url {url}"))?))
            }
        };
        let authorization = authorization(tokens)?;
        Ok(Some(Remote { url: url.clone(), host, port, authorization, tls }))
    }
}

impl Remote {
    /// What the header of that name says.
    pub(super) fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// A new connection.
    ///
    /// # Errors
    /// Nobody is there, or it is somebody else than the certificate says.
    pub(super) async fn connect(&self) -> anyhow::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        })
    }
}

fn authorization(file: &Path) -> anyhow::Result<HeaderValue> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let mut lines = text.lines().map(str::trim);
    let token = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let token = token.ok_or_else(|| anyhow!("{}: no token in it", file.display()))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .with_context(|| format!("{}: not a token", file.display()))?;
    header.set_sensitive(true);
    Ok(header)
}

fn connector(file: &Path) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(file).with_context(|| format!("{}", file.display()))?
    {
        roots.add(certificate.with_context(|| format!("{}", file.display()))?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
