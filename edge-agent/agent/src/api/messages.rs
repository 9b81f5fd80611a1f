//! `GET /v1/messages`: what applications say on topics that somebody subscribed to, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event as SseEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use super::Context;
use super::request::Parameters;
use super::stream::{answer, resumed};
use super::view::{ErrorView, MessageEvent, MessageView, MissedView};
use crate::messages::{Message, Missed};
use crate::subscriptions::Subscriptions;

/// A client's place in the ring. It holds no message.
struct Place {
    subscriptions: Arc<Subscriptions>,
    newest: watch::Receiver<u64>,
    cursor: u64,
}

/// What applications say on topics that somebody subscribed to, as server-sent events
///
/// Messages after `Last-Event-ID`, or after `since`, else from now on; the data of each is a `MessageEvent`. What is no
/// longer kept is told as missed.
#[utoipa::path(
    get,
    path = "/v1/messages",
    operation_id = "messages",
    params(
        ("since" = Option<u64>, Query, description = "Go on behind the message of this id; 0: all that are kept"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same as since, and counts before it"),
    ),
    responses((status = 200, description = "Messages, without end", body = String, content_type = "text/event-stream")),
)]
pub(super) async fn stream(
    State(context): State<Context>,
    parameters: Parameters,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, ErrorView> {
    let parameters = parameters.only(&["since"])?;
    let number = |text: &str| text.parse::<u64>().ok();
    let since = parameters.get("since", number, "write the id of a message, a whole number")?;
    let resumed = resumed(&headers)?;
    let subscriptions = context.subscriptions;
    let newest = subscriptions.messages().subscribe();
    let messages = subscriptions.messages();
    let cursor = match (resumed, since) {
        // Whoever asks for all that is kept misses nothing.
        (None, Some(0)) => messages.before(),
        (resumed, since) => resumed.or(since).unwrap_or_else(|| messages.newest()),
    };
    let place = Place { subscriptions, newest, cursor };
    let events = stream::unfold(place, |mut place| async move {
        let event = place.next().await?;
        Some((event, place))
    });
    let events = events.map(|event| {
        let id = match &event {
            MessageEvent::Message(MessageView { id, .. })
            | MessageEvent::Missed(MissedView { id, .. }) => *id,
        };
        // It is made of texts and numbers, which JSON can always say.
        SseEvent::default().id(id.to_string()).json_data(&event).unwrap_or_default()
    });
    Ok(answer(events, context.stop))
}

impl Place {
    /// The next event, when there is one.
    async fn next(&mut self) -> Option<MessageEvent> {
        loop {
            match self.subscriptions.messages().after(self.cursor) {
                Ok(Some(message)) => {
                    self.cursor = message.id;
                    return Some(MessageEvent::Message(view(&message)));
                }
                Ok(None) => self.newest.changed().await.ok()?,
                Err(Missed { count, resume }) => {
                    self.cursor = resume;
                    return Some(MessageEvent::Missed(MissedView { id: resume, missed: count }));
                }
            }
        }
    }
}

fn view(message: &Message) -> MessageView {
    let Message { id, at, topic, broker, retained, octets, payload } = message;
    let text = payload.as_deref().map(std::str::from_utf8);
    let base64 = payload.as_deref().filter(|_| matches!(text, Some(Err(_))));
    MessageView {
        id: *id,
        time: *at,
        topic: topic.to_string(),
        broker: *broker,
        retained: *retained,
        octets: *octets,
        text: text.and_then(Result::ok).map(str::to_owned),
        base64: base64.map(|octets| STANDARD.encode(octets)),
    }
}
