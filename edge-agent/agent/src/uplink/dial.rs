//! From an address to a link: TCP, TLS with the node's papers, the upgrade to a WebSocket.

use std::net::IpAddr;
use std::time::Duration;

use edge_link::frame::FRAME_LIMIT;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder};

use super::uploads::Peer;
use crate::config::Cloud;
use crate::connect::{connect, server_name};
use crate::identity::Papers;

/// How long TLS and the upgrade may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The header by which our agent and our hub know each other, and its one value.
const LINK: (&str, &str) = ("Edgetwin-Link", "1");
/// Enough for the usual message.
const READ_BUFFER: usize = 16 << 10;

/// A link that nothing was said over so far.
pub(super) struct Dialled {
    pub(super) socket: WebSocketStream<TlsStream<TcpStream>>,
    pub(super) peer: Peer,
    /// The address that this machine has on it.
    pub(super) own: Option<IpAddr>,
}

/// Connects to the cloud at `address`.
///
/// # Errors
/// Why not, for people; what the cloud said if it refused.
pub(super) async fn dial(
    cloud: &Cloud,
    node: &str,
    papers: &Papers,
    address: &str,
) -> Result<Dialled, String> {
    let stream =
        connect(address, cloud.proxy.as_deref()).await.map_err(|error| error.to_string())?;
    let own = stream.local_addr().ok().map(|address| address.ip());
    let late = |_| format!("no answer in {PATIENCE:?}");
    let greeting = greet(cloud, node, papers, address, stream);
    let (socket, peer) = timeout(PATIENCE, greeting).await.map_err(late)??;
    Ok(Dialled { socket, peer, own })
}

async fn greet(
    cloud: &Cloud,
    node: &str,
    papers: &Papers,
    address: &str,
    stream: TcpStream,
) -> Result<(WebSocketStream<TlsStream<TcpStream>>, Peer), String> {
    let name = server_name(address).map_err(|error| error.to_string())?;
    let stream = TlsConnector::from(papers.tls()).connect(name, stream).await;
    let stream = stream.map_err(|error| format!("TLS: {error}"))?;
    let url = format!("wss://{address}/{}/{node}/events", cloud.project);
    let url = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let request = ClientRequestBuilder::new(url)
        .with_header("node_id", node)
        .with_header("project_id", &cloud.project)
        .with_header("ConnectionUse", "msg")
        .with_header(LINK.0, LINK.1)
        .into_client_request()
        .map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(FRAME_LIMIT))
        .max_frame_size(Some(FRAME_LIMIT));
    let upgraded = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let (socket, response) = upgraded.map_err(|error| match error {
        tungstenite::Error::Http(response) => {
            let said = response.body().as_deref().unwrap_or_default();
            format!("refused ({}): {}", response.status(), String::from_utf8_lossy(said).trim())
        }
        other => other.to_string(),
    })?;
    let ours = response.headers().get(LINK.0) == Some(&HeaderValue::from_static(LINK.1));
    Ok((socket, if ours { Peer::Ours } else { Peer::KubeEdge }))
}
