//! Who this node is for its cloud: a certificate, its key, and the authority that both trust.
//!
//! [`join`] gets the first one for a token, [`renew`] each later one with the one before. `docs/join.md` describes what
//! the cloud answers.

mod ask;
mod papers;
mod probe;

use std::path::PathBuf;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::config::Cloud;
use ask::{Trust, ask};
pub use papers::{Papers, PapersError};
pub use probe::{Unreached, authority, reach};

/// Where a node's papers are; PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The cloud's authority.
    pub ca: PathBuf,
    /// The node's certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl From<&Cloud> for Places {
    fn from(cloud: &Cloud) -> Self {
        let Cloud { ca, cert, key, .. } = cloud.clone();
        Self { ca, cert, key }
    }
}

/// Where certificates are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinServers {
    /// `host:port` each; the first that answers is taken.
    pub addresses: Vec<String>,
    /// An HTTP proxy on the way, `http://host:port`.
    pub proxy: Option<String>,
}

impl From<&Cloud> for JoinServers {
    fn from(cloud: &Cloud) -> Self {
        Self { addresses: cloud.join_servers(), proxy: cloud.proxy.clone() }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Copy all of it.
    #[error(
        "the token has {0} parts, not four; copy all of what `edgetwin token create` or `keadm gettoken` printed"
    )]
    Token(usize),
    /// Try again; look at the network, and at what listens there.
    #[error(
        "{address}: {reason}; look whether the bridge's join server listens there and this machine reaches it"
    )]
    Unreachable {
        /// Of the join server.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// Stop: the token was made by another cloud, or somebody is in between.
    #[error(
        "{address} shows an authority with the fingerprint {found}, the token is for {wanted}; make a token at the cloud that this address belongs to, and see that nobody is in between"
    )]
    Authority {
        /// Of the join server.
        address: String,
        /// SHA-256 of the certificate that came.
        found: String,
        /// The first part of the token.
        wanted: String,
    },
    /// Do what the cloud says.
    #[error("{address} gives no certificate ({status}): {said}")]
    Refused {
        /// Of the join server.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The cloud's words.
        said: String,
    },
    /// What came is of no use.
    #[error("{0}")]
    Papers(#[from] PapersError),
    /// No key or request can be made.
    #[error("no request for a certificate can be made: {0}")]
    Request(#[from] rcgen::Error),
    /// There is nowhere to ask.
    #[error("no join server is named; write cloud.addresses, or cloud.join")]
    Nowhere,
}

impl JoinError {
    /// Whether another try may go better without anybody doing something.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// Gets the first certificate of `node` for `token`, and writes all papers.
///
/// The authority's certificate is taken from whoever answers, and believed when its fingerprint is the token's first
/// part; what follows in the token is sent to whoever shows a certificate of that authority.
///
/// # Errors
/// See [`JoinError`]; nothing is written then.
pub async fn join(
    servers: &JoinServers,
    token: &str,
    node: &str,
    places: &Places,
) -> Result<Papers, JoinError> {
    let token = token.trim();
    let parts = token.split('.').count();
    let Some((wanted, secret)) = token.split_once('.').filter(|_| parts == 4) else {
        return Err(JoinError::Token(parts));
    };
    let mut last = JoinError::Nowhere;
    for address in &servers.addresses {
        match join_at(address, servers.proxy.as_deref(), (wanted, secret), node).await {
            Err(error @ JoinError::Unreachable { .. }) => last = error,
            answered => return written(answered?, places),
        }
    }
    Err(last)
}

async fn join_at(
    address: &str,
    proxy: Option<&str>,
    (wanted, secret): (&str, &str),
    node: &str,
) -> Result<Papers, JoinError> {
    let ca = ask(address, proxy, Trust::Anybody, "/ca.crt", &[], Vec::new()).await?;
    let found = hex(digest(&SHA256, &ca).as_ref());
    if !found.eq_ignore_ascii_case(wanted) {
        let (address, wanted) = (address.to_owned(), wanted.to_owned());
        return Err(JoinError::Authority { address, found, wanted });
    }
    let ca = CertificateDer::from(ca);
    let (key, request) = request(node)?;
    let bearer = format!("Bearer {secret}");
    let headers = [("Authorization", bearer.as_str()), ("NodeName", node)];
    let cert = ask(address, proxy, Trust::Authority(&ca), "/edge.crt", &headers, request).await?;
    Ok(Papers::new(ca, cert.into(), &key, node)?)
}

/// Gets another certificate with the one that the node has, and a new key; and writes both.
///
/// # Errors
/// See [`JoinError`]; the former papers are there then.
pub async fn renew(
    servers: &JoinServers,
    papers: &Papers,
    node: &str,
    places: &Places,
) -> Result<Papers, JoinError> {
    let mut last = JoinError::Nowhere;
    for address in &servers.addresses {
        match renew_at(address, servers.proxy.as_deref(), papers, node).await {
            Err(error @ JoinError::Unreachable { .. }) => last = error,
            answered => return written(answered?, places),
        }
    }
    Err(last)
}

async fn renew_at(
    address: &str,
    proxy: Option<&str>,
    papers: &Papers,
    node: &str,
) -> Result<Papers, JoinError> {
    let (key, request) = request(node)?;
    let headers = [("NodeName", node)];
    let cert = ask(address, proxy, Trust::Papers(papers), "/edge.crt", &headers, request).await?;
    Ok(Papers::new(papers.authority().clone(), cert.into(), &key, node)?)
}

fn written(papers: Papers, places: &Places) -> Result<Papers, JoinError> {
    papers.write(places)?;
    Ok(papers)
}

/// A new key, and a request for its certificate as EdgeCore makes it.
fn request(node: &str) -> Result<(KeyPair, Vec<u8>), JoinError> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "system:nodes");
    subject.push(DnType::CommonName, format!("system:node:{node}"));
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    let request = params.serialize_request(&key)?.der().to_vec();
    Ok((key, request))
}

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut text, octet| {
        // Writing to memory does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
