//! `GET …/frames`: what goes over the wire of a device, as its mapper shows it.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::ready;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event as SseEvent;
use device_model::DeviceId;
use dmi::frames::{Direction, Frame, watch};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::{Code, Status};
use tracing::debug;

use super::request::{Named, Parameters};
use super::stream::answer;
use super::view::{ErrorView, FrameDirection, FrameView};
use super::{Context, unknown};

/// How long a mapper may take to begin.
const BEGINNING: Duration = Duration::from_secs(5);

/// What goes over the wire of a device, as server-sent events
///
/// From now on, until the device leaves its wire or its mapper stops; the data of each event is a `FrameView`. A reader
/// that is too slow loses frames and is told how many.
#[utoipa::path(
    get,
    path = "/v1/devices/{namespace}/{name}/frames",
    operation_id = "frames",
    params(Named),
    responses(
        (status = 200, description = "Frames, until the device leaves its wire", body = String, content_type = "text/event-stream"),
        (status = 404, description = "There is no device of that name", body = ErrorView),
        (status = 409, description = "No mapper has the device on a wire at present", body = ErrorView),
        (status = 429, description = "Too many watch that wire", body = ErrorView),
        (status = 501, description = "Its mapper shows no frames", body = ErrorView),
        (status = 502, description = "Its mapper does not answer", body = ErrorView),
    ),
)]
pub(super) async fn frames(
    State(context): State<Context>,
    Named(id): Named,
    parameters: Parameters,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, ErrorView> {
    parameters.only(&[])?;
    if context.catalogue.device(&id).is_none() {
        return Err(unknown(&id));
    }
    let Some((mapper, socket)) = context.mappers.socket(&id) else {
        let message = format!("device {id} has no mapper at present");
        return Err(ErrorView::new(409, "path", message, "start a mapper for its protocol"));
    };
    let frames = watch(&socket, &id, BEGINNING).await;
    let frames = frames.map_err(|status| refusal(&id, &mapper, &status))?;
    // A frame is made of texts and numbers, which JSON can always say.
    let event = |frame| SseEvent::default().json_data(view(&frame)).unwrap_or_default();
    let ended = move |status: &Status| {
        debug!(device = %id, %mapper, code = ?status.code(), reason = status.message(), "no more frames");
    };
    let frames =
        frames.inspect_err(ended).map(Result::ok).take_while(|frame| ready(frame.is_some()));
    Ok(answer(frames.filter_map(ready).map(event), context.stop))
}

/// What a mapper's word means to whoever asked.
fn refusal(id: &DeviceId, mapper: &str, status: &Status) -> ErrorView {
    let said = status.message();
    match status.code() {
        Code::Unimplemented => ErrorView::new(
            501,
            "path",
            format!("mapper {mapper} shows no frames"),
            "trace a device of a mapper that was made with Edgetwin's SDK and whose driver shows them",
        ),
        Code::NotFound | Code::FailedPrecondition => {
            let message = format!("mapper {mapper} has {id} on no wire: {said}");
            ErrorView::new(409, "path", message, "see its state at /v1/devices, and ask again")
        }
        Code::ResourceExhausted => {
            ErrorView::new(429, "path", said, "end another trace of a device on the same wire")
        }
        _ => {
            let message = format!("mapper {mapper} does not answer: {said}");
            ErrorView::new(502, "path", message, "see whether it runs, and ask again")
        }
    }
}

fn view(frame: &Frame) -> FrameView {
    let mut hex = String::with_capacity(frame.octets.len() * 2);
    for octet in &frame.octets {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{octet:02x}");
    }
    FrameView {
        time: frame.time,
        direction: match frame.direction {
            Direction::Sent => FrameDirection::Sent,
            Direction::Received => FrameDirection::Received,
            Direction::Discarded => FrameDirection::Discarded,
        },
        after_micros: frame.after.map(|after| u64::try_from(after.as_micros()).unwrap_or(u64::MAX)),
        hex,
        lost: frame.lost,
    }
}
