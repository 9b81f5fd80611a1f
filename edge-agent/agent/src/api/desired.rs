//! `PATCH …/desired`: somebody on this machine wants something of a device.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use device_model::{DeviceId, Generation};
use device_twin::{Command, Desire, DesireProperty, Given, Rejected, Twin, Writer};
use serde::Deserialize;
use serde_json::Value as JsonValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::view::{AcceptedView, DesiredAnswer, DesiredPatch, ErrorView};
use super::{Context, convert, device_id};
use crate::config::Span;
use crate::feed::Origin;
use crate::refuse;

/// Longest time that a request may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize)]
pub(super) struct Options {
    /// How long to wait for the final acknowledgement.
    wait: Option<String>,
}

pub(super) async fn write(
    State(context): State<Context>,
    Path((namespace, name)): Path<(String, String)>,
    Query(options): Query<Options>,
    body: Bytes,
) -> Result<Json<DesiredAnswer>, ErrorView> {
    let id = device_id(&namespace, &name)?;
    let wait = options.wait.as_deref().map(duration).transpose()?;
    let desire = desire(&id, &body)?;
    let events = context.twins.feed().subscribe();
    let mut results = context.twins.apply(vec![Command::Desire(desire)], Origin::Unasked).await?;
    let result = results.pop().ok_or_else(|| super::unknown(&id))?;
    let answer = result.map_err(|rejected| refused(&rejected))?;
    let mut accepted: Vec<(String, Option<Generation>)> = Vec::new();
    for (name, generation) in answer.generations {
        accepted.push((name.to_string(), generation));
    }
    let (twin, timed_out) = match wait {
        Some(wait) => settle(&context, &id, &accepted, wait, events).await?,
        None => (context.twins.twin(&id).await?, false),
    };
    let properties = accepted
        .into_iter()
        .map(|(name, generation)| {
            let view = accepted_view(twin.as_ref(), &name, generation);
            (name, view)
        })
        .collect();
    Ok(Json(DesiredAnswer { rev: answer.rev, properties, timed_out }))
}

/// Reads the body; every fault names its place.
fn desire(id: &DeviceId, body: &[u8]) -> Result<Desire, ErrorView> {
    let example = r#"send {"properties":{"speed":{"value":"1450"}}}"#;
    let patch: DesiredPatch = serde_json::from_slice(body)
        .map_err(|error| ErrorView::new(400, "", error.to_string(), example))?;
    if patch.properties.is_empty() {
        return Err(ErrorView::new(400, "properties", "nothing is wanted", example));
    }
    let mut desire = Desire::of(id.clone(), Writer::local("api"));
    for (name, wanted) in patch.properties {
        let value = match wanted.value {
            JsonValue::Null => None,
            JsonValue::String(text) => Some(Given::Text(text)),
            JsonValue::Number(number) => Some(Given::Text(number.to_string())),
            JsonValue::Bool(truth) => Some(Given::Text(truth.to_string())),
            JsonValue::Array(_) | JsonValue::Object(_) => {
                let field = format!("properties.{name}.value");
                let remedy = "send text, a number, true, false or null";
                return Err(ErrorView::new(400, field, "neither text nor a number", remedy));
            }
        };
        let mut property = DesireProperty::of(name, value);
        property.if_version = patch.if_version;
        desire.properties.push(property);
    }
    Ok(desire)
}

fn duration(text: &str) -> Result<Duration, ErrorView> {
    let span: Result<Span, _> = serde_json::from_value(JsonValue::from(text));
    span.map(|span| (*span).min(LONGEST_WAIT)).map_err(|error| {
        ErrorView::new(400, "wait", error.to_string(), "write it with a unit, such as wait=5s")
    })
}

/// Waits until each of `accepted` has its final acknowledgement or is replaced; the twin then, and whether the time
/// was over before.
async fn settle(
    context: &Context,
    id: &DeviceId,
    accepted: &[(String, Option<Generation>)],
    wait: Duration,
    mut events: watch::Receiver<u64>,
) -> Result<(Option<Twin>, bool), ErrorView> {
    let deadline = Instant::now() + wait;
    let feed = context.twins.feed();
    loop {
        let mut cursor = *events.borrow_and_update();
        let twin = context.twins.twin(id).await?;
        let open = |(name, generation): &(String, Option<Generation>)| {
            let state = twin.as_ref().and_then(|twin| twin.property(name)).map(|(_, state)| state);
            state.is_some_and(|state| {
                let present = state.desired.as_ref().map(|desired| desired.generation);
                present == *generation && !state.settled()
            })
        };
        if !accepted.iter().any(open) {
            return Ok((twin, false));
        }
        // Only what concerns this device is worth another look.
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return Ok((twin, true)),
                () = context.stop.cancelled() => return Ok((twin, true)),
                changed = events.changed() => if changed.is_err() { return Ok((twin, true)) },
            }
            let Ok(entries) = feed.after(cursor, usize::MAX) else { break };
            cursor = entries.last().map_or(cursor, |entry| entry.last());
            if entries.iter().any(|e| e.changes.iter().any(|change| change.device.id == *id)) {
                break;
            }
        }
    }
}

fn accepted_view(twin: Option<&Twin>, name: &str, generation: Option<Generation>) -> AcceptedView {
    let state = twin.and_then(|twin| twin.property(name)).map(|(_, state)| state);
    let desired = state.and_then(|state| state.desired.as_ref());
    let present = desired.filter(|desired| Some(desired.generation) == generation);
    let version = generation.or_else(|| state.map(|state| state.generation)).unwrap_or_default();
    let ack = state.and_then(convert::ack).filter(|ack| ack.version == version);
    AcceptedView { value: present.map(|desired| desired.value.to_string()), version, ack }
}

fn refused(rejected: &Rejected) -> ErrorView {
    let field = refuse::property(rejected).map(|name| format!("properties.{name}.value"));
    let remedy = match rejected {
        Rejected::Conflict { .. } => "read the device again, then decide again",
        Rejected::Invalid { .. } | Rejected::Several(_) => "correct the value",
        _ => "",
    };
    ErrorView::new(
        refuse::http_status(rejected),
        field.unwrap_or_default(),
        rejected.to_string(),
        remedy,
    )
}
