//! What all streams of server-sent events have in common.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as SseEvent, KeepAlive};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::view::ErrorView;

/// A silent stream says so this often, so that a dead peer is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How far a reader came that connects again.
pub(super) fn resumed(headers: &HeaderMap) -> Result<Option<u64>, ErrorView> {
    let Some(header) = headers.get("last-event-id") else { return Ok(None) };
    let text = String::from_utf8_lossy(header.as_bytes());
    text.parse().map(Some).map_err(|_| {
        let (field, remedy) =
            ("Last-Event-ID", "send the id of an event of this stream, a whole number");
        ErrorView::new(400, field, format!("{field}: {text} cannot be read"), remedy)
    })
}

/// An answer that goes on until the agent stops.
pub(super) fn answer<S>(
    events: S,
    stop: CancellationToken,
) -> Sse<impl Stream<Item = Result<SseEvent, Infallible>> + use<S>>
where
    S: Stream<Item = SseEvent> + Send + 'static,
{
    let events = events.map(Ok).take_until(stop.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
