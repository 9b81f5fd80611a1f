//! One connection, from its first octet to its session: who is there is known from its certificate alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::session::Session;
use super::{Linked, Shared};
use crate::identity::node_of;

/// How long TLS and the upgrade may take together.
const PATIENCE: Duration = Duration::from_secs(15);
/// Enough for the usual message; a node without traffic holds no more.
const READ_BUFFER: usize = 4 << 10;
/// The header by which our agent and our hub know each other.
const LINK: &str = "edgetwin-link";
/// Its one value so far.
const LINK_VERSION: &str = "1";

/// A connection that was just accepted.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) acceptor: TlsAcceptor,
}

/// A connection over which a node may speak.
struct Accepted {
    node: Arc<str>,
    /// Whether it is an agent of ours.
    ours: bool,
    socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Connection {
    /// Lets it in or refuses it, and runs its session until `stop`.
    pub(super) async fn run(
        self,
        shared: Arc<Shared>,
        linked: Arc<Linked>,
        handshake: Option<OwnedSemaphorePermit>,
        stop: CancellationToken,
    ) {
        let peer = self.peer;
        let entering = tokio::time::timeout(PATIENCE, self.enter(&shared, &linked));
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            entered = entering => entered,
        };
        drop(handshake);
        let Accepted { node, ours, socket } = match accepted {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(reason)) => {
                shared.metrics.connections_refused.increment();
                warn!(%peer, reason, "connection refused");
                return;
            }
            Err(_) => {
                shared.metrics.connections_refused.increment();
                debug!(%peer, "connection refused: it took longer than {PATIENCE:?} to say who it is");
                return;
            }
        };
        let end = stop.child_token();
        let Some(count) = linked.enter(&node, &end, shared.settings.nodes) else { return };
        shared.metrics.nodes.set(count as u64);
        shared.metrics.links.increment();
        info!(%node, %peer, ours, "node connected");
        let session = Session::new(shared.clone(), node.clone(), ours);
        let reason = session.run(socket, &end).await;
        shared.claims.release(&node, &end);
        shared.metrics.nodes.set(linked.leave(&node, &end) as u64);
        info!(%node, %peer, reason = %reason, "node disconnected");
    }

    async fn enter(self, shared: &Shared, linked: &Linked) -> Result<Accepted, String> {
        // Small messages that must not wait for each other.
        self.stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let stream = self.acceptor.accept(self.stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first).ok_or("it shows no certificate")?;
        let node = node_of(certificate).map_err(|error| error.to_string())?;
        let node: Arc<str> = node.as_str().into();
        let full = linked.is_full(&node, shared.settings.nodes);
        let mut ours = false;
        let mut said = String::new();
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let check =
            |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
                let headers = request.headers();
                if let Err((status, reason)) = may_enter(headers, &node, full) {
                    said.clone_from(&reason);
                    return Err(refusal(status, reason));
                }
                ours = headers.get(LINK).is_some_and(|version| version == LINK_VERSION);
                if ours {
                    response.headers_mut().insert(LINK, HeaderValue::from_static(LINK_VERSION));
                }
                Ok(response)
            };
        let most = shared.settings.most;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let upgraded =
            tokio_tungstenite::accept_hdr_async_with_config(stream, check, Some(config)).await;
        match upgraded {
            Ok(socket) => Ok(Accepted { node, ours, socket }),
            Err(_) if !said.is_empty() => Err(format!("node {node}: {said}")),
            Err(error) => Err(format!("node {node}: upgrade: {error}")),
        }
    }
}

/// Whether a node with that certificate may enter with these headers; else the status and what to do.
fn may_enter(headers: &HeaderMap, node: &str, full: bool) -> Result<(), (StatusCode, String)> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key("origin") {
        return Err((StatusCode::FORBIDDEN, "browsers have no business here".into()));
    }
    match header("node_id") {
        Some(said) if said == node => {}
        said => {
            let said = said.unwrap_or_default();
            let reason = format!(
                "the header node_id says \"{said}\", the certificate {node}; use that node's own certificate"
            );
            return Err((StatusCode::FORBIDDEN, reason));
        }
    }
    if header("connectionuse") != Some("msg") {
        let reason = "the header ConnectionUse must be msg; other uses are not served".into();
        return Err((StatusCode::BAD_REQUEST, reason));
    }
    if full {
        let reason = "as many nodes are connected as hub.nodes allows; raise it, or add a replica";
        return Err((StatusCode::SERVICE_UNAVAILABLE, reason.into()));
    }
    Ok(())
}

fn refusal(status: StatusCode, reason: String) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(reason));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_node_enters_under_the_name_of_its_certificate_alone() {
        let right = [("node_id", "edge-1"), ("project_id", "p"), ("connectionuse", "msg")];
        assert_eq!(may_enter(&headers(&right), "edge-1", false), Ok(()));
        let (status, reason) = may_enter(&headers(&right), "edge-2", false).unwrap_err();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(reason.contains("says \"edge-1\", the certificate edge-2"), "{reason}");
        let (status, _) = may_enter(&headers(&right), "edge-1", true).unwrap_err();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn other_uses_of_a_connection_and_browsers_are_refused() {
        let stream = [("node_id", "edge-1"), ("connectionuse", "str")];
        assert_eq!(
            may_enter(&headers(&stream), "edge-1", false).unwrap_err().0,
            StatusCode::BAD_REQUEST
        );
        let browser = [("node_id", "edge-1"), ("connectionuse", "msg"), ("origin", "https://x")];
        assert_eq!(
            may_enter(&headers(&browser), "edge-1", false).unwrap_err().0,
            StatusCode::FORBIDDEN
        );
    }
}
