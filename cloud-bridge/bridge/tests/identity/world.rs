//! A join server on loopback, and a machine that asks it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud_bridge::identity::token::{Scope, TokenFiles, TokenStore, create};
use cloud_bridge::identity::{Authority, Files, NodeName, Place, Served, ServerNames};
use cloud_bridge::join::{Counts, Join, KubeEdgeTokens, NodeLookup, serve};
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// Nodes by name.
#[derive(Debug, Default)]
pub(crate) struct Known(pub(crate) BTreeSet<NodeName>);

impl NodeLookup for Known {
    fn exists<'a>(&'a self, node: &'a NodeName) -> BoxFuture<'a, Result<bool, String>> {
        async move { Ok(self.0.contains(node)) }.boxed()
    }
}

/// A machine's key and its request.
pub(crate) struct Machine {
    pub(crate) key: KeyPair,
    pub(crate) csr: Vec<u8>,
}

impl Machine {
    /// One whose request names `node`.
    pub(crate) fn named(node: &str) -> Self {
        Self::with(node, |_| {})
    }

    pub(crate) fn with(node: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
        change(&mut params);
        let csr = params.serialize_request(&key).unwrap().der().to_vec();
        Self { key, csr }
    }
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A join server.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) tokens: Arc<dyn TokenStore>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

pub(crate) fn place(dir: &Path) -> Place {
    Place::Files(Files::within(dir))
}

pub(crate) fn loopback() -> ServerNames {
    ServerNames { dns: BTreeSet::new(), ips: BTreeSet::from([[127, 0, 0, 1].into()]) }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Duration::from_secs(3600), KubeEdgeTokens::Never, Known::default()).await
    }

    pub(crate) async fn with(life: Duration, kubeedge: KubeEdgeTokens, known: Known) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::within(dir, life, kubeedge, known).await
    }

    pub(crate) async fn within(
        dir: tempfile::TempDir,
        life: Duration,
        kubeedge: KubeEdgeTokens,
        known: Known,
    ) -> Self {
        let place = place(dir.path());
        let authority = Arc::new(Authority::open(&place).await.unwrap());
        let year = Duration::from_secs(365 * 24 * 3600);
        let served = Served::open(authority.clone(), place, loopback(), year).await.unwrap();
        let tokens: Arc<dyn TokenStore> = Arc::new(TokenFiles::within(&dir.path().join("tokens")));
        let counts = Arc::new(Counts::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let join = Join {
            authority: authority.clone(),
            served,
            tokens: tokens.clone(),
            nodes: Arc::new(known),
            life,
            kubeedge,
            counts: counts.clone(),
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        tasks.spawn(async move { serve(listener, join, stopped).await.unwrap() });
        Self { authority, tokens, counts, address, stop, tasks, _dir: dir }
    }

    /// A bearer for nodes of `scope`, good for so many uses.
    pub(crate) async fn bearer(&self, scope: &str, uses: u32) -> String {
        let scope: Scope = scope.parse().unwrap();
        let now = Timestamp::now();
        let end = now + SignedDuration::from_hours(1);
        create(&*self.tokens, scope, uses, end, now).await.unwrap().bearer()
    }

    /// Joins as `node` with a token.
    pub(crate) async fn join(&self, machine: &Machine, node: &str, bearer: &str) -> Answer {
        let authorization = format!("Bearer {bearer}");
        let headers = [("Nodename", node), ("Authorization", &authorization)];
        self.ask("GET", "/edge.crt", &headers, &machine.csr, None).await.unwrap()
    }

    /// Asks `machine`'s next certificate with `certificate` of `shown`.
    pub(crate) async fn renew(
        &self,
        machine: &Machine,
        node: &str,
        shown: (&[u8], &Machine),
    ) -> anyhow::Result<Answer> {
        self.ask("GET", "/edge.crt", &[("Nodename", node)], &machine.csr, Some(shown)).await
    }

    /// Asks anything.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        shown: Option<(&[u8], &Machine)>,
    ) -> anyhow::Result<Answer> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.ca_der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, machine)) => builder.with_client_auth_cert(
                vec![CertificateDer::from(certificate.to_vec())],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(machine.key.serialize_der())),
            )?,
        };
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let mut request =
            hyper::Request::builder().method(method).uri(path).header("host", "bridge");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body)))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.into_body().collect().await?.to_bytes() })
    }
}
