//! The writing half of a link: what is to be sent goes into a short queue, so that nobody who reads waits for a writer.

use std::time::Duration;

use futures::SinkExt;
use futures::stream::SplitSink;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

/// Frames that wait for the node to read. More wait where they come from.
pub(super) const QUEUE: usize = 4;

/// Writes what comes, each within `patience`; ends with why, or without a word when nothing comes any more.
pub(super) async fn write<S>(
    mut sink: SplitSink<WebSocketStream<S>, Frame>,
    mut frames: mpsc::Receiver<Frame>,
    patience: Duration,
) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(frame) = frames.recv().await {
        match tokio::time::timeout(patience, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(format!("cannot write: {error}")),
            Err(_) => return Some(format!("the node read nothing for {patience:?}")),
        }
    }
    // Whoever is told that it is over comes again at once.
    let _ = tokio::time::timeout(Duration::from_secs(1), sink.close()).await;
    None
}
