//! How the bridge speaks TLS: 1.2 and later, with HTTP/1.1 in it, one crypto provider.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::{Authority, IdentityError, Served};

/// For nodes' links: whoever shows no certificate of `authority` is refused in the handshake.
///
/// # Errors
/// The library refuses the authority's certificate.
pub fn hub_config(
    authority: &Authority,
    served: &Arc<Served>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    config(served, Some(verifier(authority, Show::Must)?))
}

/// For joining: a node may show a certificate. One that is expired, or of another authority, is refused in the handshake
/// as everywhere, so that it is never renewed; whoever has only such a one leaves it away and shows a token.
///
/// # Errors
/// The library refuses the authority's certificate.
pub fn join_config(
    authority: &Authority,
    served: &Arc<Served>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    config(served, Some(verifier(authority, Show::May)?))
}

/// For the API server, which is told whom to trust and shows nothing.
///
/// # Errors
/// The library refuses its own defaults.
pub fn server_config(served: &Arc<Served>) -> Result<Arc<ServerConfig>, IdentityError> {
    config(served, None)
}

/// Whether a client shows a certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Must,
    May,
}

fn verifier(
    authority: &Authority,
    show: Show,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.ca_der().clone())
        .map_err(|error| IdentityError::library("trust in the authority", error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if show == Show::May { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| IdentityError::library("trust in the authority", error))
}

fn config(
    served: &Arc<Served>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| IdentityError::library("TLS", error))?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(served.clone());
    // A session that is taken up again would bring a certificate whose end nobody looks at.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
