//! Tells the mapper's counters over HTTP: `GET /metrics`, on this machine alone.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use dmi::serve::Listener;
use exposition::Page;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::metrics::Metrics;

/// Who asks, and reads the answer, in more time than this is hung up on.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many may ask at a time; the next ones wait.
const CONNECTIONS: usize = 8;
/// Before the next try when the system gives no connection.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the counters are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsPlace {
    /// On a Unix socket. Its mode lets the owner and the group in.
    Unix(PathBuf),
    /// On a loopback address; port 0 takes a free one.
    Tcp(SocketAddr),
}

/// Why a text names no place for the counters.
#[derive(Debug, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct WrongPlace {
    /// What is wrong with it.
    pub reason: &'static str,
    /// What to write instead.
    pub remedy: &'static str,
}

impl FromStr for MetricsPlace {
    type Err = WrongPlace;

    fn from_str(text: &str) -> Result<Self, WrongPlace> {
        let remedy = "write 127.0.0.1:PORT or the path of a socket, which begins with /";
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(_) => Err(WrongPlace { reason: "others than this machine could ask there", remedy }),
            Err(_) => Err(WrongPlace { reason: "neither an address nor a path", remedy }),
        }
    }
}

/// A place that is bound.
#[derive(Debug)]
pub(crate) enum Exporter {
    Unix(Listener),
    Tcp(TcpListener),
}

impl Exporter {
    /// Call it within the runtime.
    pub(crate) fn bind(place: &MetricsPlace) -> anyhow::Result<Self> {
        match place {
            MetricsPlace::Unix(path) => Ok(Self::Unix(Listener::bind(path)?)),
            MetricsPlace::Tcp(address) => {
                let bound = std::net::TcpListener::bind(address).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                });
                let advice = || format!("edgetwin.metricsListen = {address}: choose a free port");
                bound.map(Self::Tcp).with_context(advice)
            }
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// Answers until `stop`.
    pub(crate) async fn run(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let mut told = false;
        loop {
            let room = connections.len() < CONNECTIONS;
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => {}
                accepted = self.accept(), if room => match accepted {
                    Ok(stream) => {
                        told = false;
                        connections.spawn(serve(stream, metrics.clone()));
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            warn!(%error, "nobody can ask for the metrics");
                        }
                        sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// A stream of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One request of one client.
async fn serve(stream: Box<dyn Stream>, metrics: Arc<Metrics>) {
    let service = service_fn(|request| {
        let answer = answer(&request, &metrics);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Who hangs up, or says what is no HTTP, knows it.
    let _ = timeout(PATIENCE, connection).await;
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, text) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => (StatusCode::OK, metrics.render()),
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "only GET /metrics\n".into()),
        _ => (StatusCode::NOT_FOUND, "only GET /metrics\n".into()),
    };
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(Page::MEDIA_TYPE));
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpStream, UnixStream};

    use super::*;

    async fn ask(mut stream: impl Stream, request: &str) -> String {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn counters_are_told_on_a_socket_and_on_a_loopback_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.sock");
        let on_socket = Exporter::bind(&MetricsPlace::Unix(path.clone())).unwrap();
        let on_tcp = Exporter::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = on_tcp.address().unwrap();
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        metrics.reads.add(5);
        let mut tasks = JoinSet::new();
        tasks.spawn(on_socket.run(metrics.clone(), stop.clone()));
        tasks.spawn(on_tcp.run(metrics, stop.clone()));

        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
        let socket = UnixStream::connect(&path).await.unwrap();
        let told = ask(socket, &get("/metrics")).await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
        assert!(told.contains("content-type: text/plain; version=0.0.4\r\n"), "{told}");
        assert!(told.contains("\nedgetwin_mapper_reads_total 5\n"), "{told}");
        let tcp = async || TcpStream::connect(address).await.unwrap();
        let told = ask(tcp().await, &get("/metrics")).await;
        assert!(told.contains("\nedgetwin_mapper_reads_total 5\n"), "{told}");
        let told = ask(tcp().await, &get("/")).await;
        assert!(told.starts_with("HTTP/1.1 404"), "{told}");
        let told = ask(tcp().await, "no word of HTTP\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 400"), "{told}");

        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        assert!(!path.exists(), "the socket goes with it");
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_say_nothing_keep_nobody_out_for_long() {
        let exporter = Exporter::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let address = exporter.address().unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(exporter.run(Arc::default(), stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let told = ask(stream, "GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    }
}
