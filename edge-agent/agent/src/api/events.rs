//! `GET /v1/events`: what happens, as server-sent events that can be taken up again.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event as SseEvent;
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tracing::debug;

use super::request::Parameters;
use super::stream::{answer, resumed};
use super::view::{ErrorView, Event};
use super::{Context, convert};
use crate::clock::now;
use crate::feed::Missed;
use crate::twins::Unavailable;

/// Feed entries taken at a time.
const CHUNK: usize = 64;

/// A client's place in the feed.
struct Place {
    context: Context,
    newest: watch::Receiver<u64>,
    cursor: u64,
    waiting: VecDeque<Event>,
}

/// What happens, as server-sent events
///
/// Events after `Last-Event-ID`, or after `since`, else from now on; the data of each is an `Event`. When what is asked
/// for is no longer kept, the present state of every device takes its place.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "events",
    params(
        ("since" = Option<u64>, Query, description = "Go on behind the event of this id"),
        ("snapshot" = Option<bool>, Query, description = "Tell the present state first"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same as since, and counts before it"),
    ),
    responses((status = 200, description = "Events, without end", body = String, content_type = "text/event-stream")),
)]
pub(super) async fn stream(
    State(context): State<Context>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, ErrorView> {
    let parameters = parameters.only(&["since", "snapshot"])?;
    let number = |text: &str| text.parse::<u64>().ok();
    let since = parameters.get("since", number, "write the id of an event, a whole number")?;
    let truth = |text: &str| text.parse::<bool>().ok();
    let snapshot = parameters.get("snapshot", truth, "write snapshot=true or snapshot=false")?;
    let resumed = resumed(&headers)?;
    let newest = context.twins.feed().subscribe();
    // Who reconnects asks with the query that it began with, and says in the header how far it came.
    let cursor = resumed.or(since).unwrap_or_else(|| context.twins.feed().newest());
    let stop = context.stop.clone();
    let mut place = Place { context, newest, cursor, waiting: VecDeque::new() };
    if snapshot.unwrap_or_default() {
        place.snapshot().await?;
    }
    let events = stream::unfold(place, |mut place| async move {
        let event = place.next().await?;
        Some((event, place))
    });
    let events = events.map(|event| {
        let sse = SseEvent::default().id(event.id.to_string());
        // An event is made of texts and numbers, which JSON can always say.
        sse.json_data(&event).unwrap_or_default()
    });
    Ok(answer(events, stop))
}

impl Place {
    /// The next event, when there is one; `None` at the end of the agent.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            match self.context.twins.feed().after(self.cursor, CHUNK) {
                Ok(entries) if entries.is_empty() => self.newest.changed().await.ok()?,
                Ok(entries) => {
                    for entry in entries {
                        if let (Some(trace), Some(device)) = (entry.origin.report(), &entry.device)
                        {
                            debug!(%trace, %device, "told to a reader of events");
                        }
                        self.waiting.extend(convert::of_entry(&entry, self.cursor));
                        self.cursor = entry.last();
                    }
                }
                Err(Missed) => self.snapshot().await.ok()?,
            }
        }
    }

    async fn snapshot(&mut self) -> Result<(), Unavailable> {
        // Taken before the twins: an event that comes meanwhile is told twice rather than never.
        self.cursor = self.context.twins.feed().newest();
        let twins = self.context.twins.twins().await?;
        let at = now();
        let events = twins.iter().flat_map(|twin| convert::snapshot(twin, self.cursor, at));
        self.waiting = events.collect();
        Ok(())
    }
}
