//! One request to an HTTP server on a Unix socket.

use std::path::Path;

use anyhow::{Result, ensure};
use bytes::Bytes;
use edge_agent::api::sse::Parser;
use edge_agent::api::view::{DeviceList, DeviceView};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Status and body of a GET.
///
/// # Errors
/// Nobody answers.
pub async fn get(socket: &Path, path: &str) -> Result<(u16, Bytes)> {
    send(socket, Request::get(path).header("host", "localhost").body(Full::default())?).await
}

/// Status and body of a request without a body.
///
/// # Errors
/// Nobody answers.
pub async fn ask(socket: &Path, method: Method, path: &str) -> Result<(u16, Bytes)> {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    send(socket, request.body(Full::default())?).await
}

/// Status and body of a PATCH with a JSON body.
///
/// # Errors
/// Nobody answers.
pub async fn patch(socket: &Path, path: &str, body: &serde_json::Value) -> Result<(u16, Bytes)> {
    patch_with(socket, path, body, &[]).await
}

/// The same with further headers.
///
/// # Errors
/// Nobody answers.
pub async fn patch_with(
    socket: &Path,
    path: &str,
    body: &serde_json::Value,
    headers: &[(&str, &str)],
) -> Result<(u16, Bytes)> {
    let mut request =
        Request::patch(path).header("host", "localhost").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(socket, request.body(Full::from(body.to_string()))?).await
}

/// Every device with its twin, as the local API tells them.
///
/// # Errors
/// It does not answer, or is not ready.
pub async fn devices(api: &Path) -> Result<Vec<DeviceView>> {
    let (status, body) = get(api, "/v1/devices").await?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice::<DeviceList>(&body)?.devices)
}

async fn send(socket: &Path, request: Request<Full<Bytes>>) -> Result<(u16, Bytes)> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
    };
    // The connection ends with the exchange: nothing is left running.
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // A server may hang up behind its answer.
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(anyhow::Error::new(error).context("connection closed")),
        },
    }
}

/// The events of a server-sent stream, one JSON object after the other.
pub struct Events {
    body: hyper::body::Incoming,
    connection: tokio::task::JoinSet<()>,
    parser: Parser,
}

/// Opens a stream of events.
///
/// # Errors
/// Nobody answers, or not with a stream.
pub async fn events(socket: &Path, path: &str) -> Result<Events> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let request = Request::get(path).header("host", "localhost").body(Full::<Bytes>::default())?;
    let answer = sender.send_request(request).await?;
    anyhow::ensure!(answer.status() == 200, "{}", answer.status());
    Ok(Events { body: answer.into_body(), connection: tasks, parser: Parser::default() })
}

impl Events {
    /// The next event's data; none when the stream ended.
    ///
    /// # Errors
    /// The stream broke, or an event was no JSON.
    pub async fn next(&mut self) -> Result<Option<serde_json::Value>> {
        loop {
            if let Some(data) = self.parser.data() {
                return Ok(Some(serde_json::from_str(&data)?));
            }
            let Some(frame) = self.body.frame().await else {
                self.connection.abort_all();
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.parser.push(&data);
            }
        }
    }
}
