//! HTTPS connections: so many at a time, each of which has so long for its handshake, for the head of a request and for all
//! of it. Anybody can connect, so what comes before a certificate or a token must cost little, and end by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections at a time. Others wait with the system until one ends.
const MOST: usize = 256;
/// How long a handshake may take, and then the head of the request.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may live: each asks one thing.
const WHOLE: Duration = Duration::from_secs(60);
/// Rest after the system has no connection to give, such as for want of file descriptors.
const REST: Duration = Duration::from_secs(1);

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What it showed; TLS has verified it.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// Answers what is asked by `routes`, each request of which knows its [`Peer`], until `stop`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    routes: Router,
    stop: &CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    let mut starved = false;
    loop {
        let room = connections.len() < MOST;
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, address)) => {
                    starved = false;
                    let connection = Connection { stream, address, acceptor: acceptor.clone() };
                    let (routes, stop) = (routes.clone(), stop.clone());
                    connections.spawn(async move {
                        let _ = timeout(WHOLE, connection.run(routes, &stop)).await;
                    });
                }
                Err(error) => {
                    // Once, not once per try.
                    if !std::mem::replace(&mut starved, true) {
                        warn!(%error, "no connection to be had");
                    }
                    stop.run_until_cancelled(sleep(REST)).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
}

impl Connection {
    async fn run(self, routes: Router, stop: &CancellationToken) {
        let Self { stream, address, acceptor } = self;
        let handshake = timeout(HEAD, acceptor.accept(stream));
        let stream = match stop.run_until_cancelled(handshake).await {
            None => return,
            Some(Ok(Ok(stream))) => stream,
            Some(Ok(Err(error))) => return debug!(%address, %error, "TLS handshake"),
            Some(Err(_)) => return debug!(%address, "TLS handshake: it took longer than {HEAD:?}"),
        };
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown.and_then(<[_]>::first).map(|first| first.clone().into_owned());
        let routes = routes.layer(Extension(Peer { address, certificate }));
        let mut http = http1::Builder::new();
        // Nobody asks often; and what is not kept cannot be ended just when something is asked.
        http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
        let connection =
            http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%address, %error, "connection");
        }
    }
}
