//! One request to an HTTP server on a Unix socket.

use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Status and body of a GET.
///
/// # Errors
/// Nobody answers.
pub async fn get(socket: &Path, path: &str) -> Result<(u16, Bytes)> {
    send(socket, Request::get(path).header("host", "localhost").body(Full::default())?).await
}

/// Status and body of a PATCH with a JSON body.
///
/// # Errors
/// Nobody answers.
pub async fn patch(socket: &Path, path: &str, body: &serde_json::Value) -> Result<(u16, Bytes)> {
    let request = Request::patch(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))?;
    send(socket, request).await
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
    tokio::select! {
        biased;
        answer = exchange => answer,
        ended = connection => Err(anyhow::anyhow!("connection closed: {ended:?}")),
    }
}
