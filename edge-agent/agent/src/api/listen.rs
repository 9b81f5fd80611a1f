//! Where the API listens beside its socket: TCP, in the clear on loopback, or with TLS.

mod certificate;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

pub(crate) use self::certificate::Certificate;
use self::certificate::Newest;
use super::token::Tokens;
use crate::Error;
use crate::config::Api;

/// TCP, bound.
pub(crate) struct Tcp {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) tokens: watch::Sender<Tokens>,
    certificate: Option<watch::Sender<Certificate>>,
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Tcp {
    /// Binds what the configuration asks for; nothing is served yet.
    pub(crate) async fn bind(config: &Api) -> Result<Option<Self>, Error> {
        let (Some(address), Some(tokens)) = (config.listen, &config.token_file) else {
            return Ok(None);
        };
        let tokens = Tokens::load(tokens)
            .map_err(|error| Error::place("token file of the API", tokens, error))?;
        let certificate = config.tls.as_ref().map(Certificate::read).transpose();
        let certificate = certificate.map_err(Error::Tls)?.map(watch::Sender::new);
        let tls = certificate.as_ref().map(|newest| acceptor(newest.subscribe()));
        let tls = tls.transpose().map_err(Error::Tls)?;
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|source| Error::Api { address, source })?;
        let tokens = watch::Sender::new(tokens);
        Ok(Some(Self { listener, tls, tokens, certificate }))
    }

    /// Where its tokens are in force, for each request anew.
    pub(crate) fn tokens(&self) -> watch::Sender<Tokens> {
        self.tokens.clone()
    }

    /// Where its certificate is in force, for each handshake anew; none without TLS.
    pub(crate) fn certificate(&self) -> Option<watch::Sender<Certificate>> {
        self.certificate.clone()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }
}

fn acceptor(certificate: watch::Receiver<Certificate>) -> Result<TlsAcceptor, String> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Newest(certificate)));
    Ok(TlsAcceptor::from(Arc::new(config)))
}
