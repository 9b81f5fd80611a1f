//! `PATCH …/desired`: somebody on this machine wants something of a device.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use device_model::{DeviceId, Generation, Timestamp};
use device_twin::{Command, Desire, DesireProperty, Given, Twin, Writer};
use dmi::trace::TraceId;
use serde_json::Value as JsonValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::refusal::{Wanted, refused};
use super::request::{self, Named, Parameters};
use super::schema::LAST;
use super::view::{AcceptedView, DesiredAnswer, DesiredPatch, ErrorView};
use super::{Context, convert, unknown};
use crate::clock::now;
use crate::config::Span;
use crate::feed::Origin;

/// Longest time that `expiresIn` may say.
pub(super) const LONGEST_EXPIRY: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest time that a request may wait.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Write desired values of a device
///
/// All properties are taken, or none. With `wait` the answer comes when each wish is finally acknowledged or replaced.
/// Whether a value goes with its property's type and range is said with 400.
#[utoipa::path(
    patch,
    path = "/v1/devices/{namespace}/{name}/desired",
    operation_id = "desire",
    params(
        Named,
        ("wait" = Option<String>, Query, description = "Wait so long for the device to take the values, at most 10 minutes",
            pattern = "^[0-9]{1,9}(ms|s|m|h)$", example = "500ms"),
        ("traceparent" = Option<String>, Header, description = "W3C Trace Context: the number of this change in the logs of the agent and of the mapper; one that is none is passed over",
            example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ),
    request_body(content = DesiredPatch, example = json!({"properties": {"speed": {"value": "1450"}}})),
    responses(
        (status = 200, description = "Stored; what became of it so far", body = DesiredAnswer),
        (status = 403, description = "Not writable: ReadOnly, or somebody else owns it, or the agent is read only; or a browser asks", body = ErrorView),
        (status = 404, description = "No such device or property", body = ErrorView),
        (status = 409, description = "ifVersion is no longer true; current says how things stand", body = ErrorView),
        (status = 413, description = "A body over 1 MiB, a value over 64 KiB, or a twin over 256 KiB", body = ErrorView),
        (status = 500, description = "The device's counters are used up", body = ErrorView),
    ),
)]
pub(super) async fn write(
    State(context): State<Context>,
    Named(id): Named,
    parameters: Parameters,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DesiredAnswer>, ErrorView> {
    context.writable()?;
    let parameters = parameters.only(&["wait"])?;
    let wait = parameters.get("wait", duration, "write it with a unit, such as wait=5s")?;
    let body = body.map_err(|rejection| request::unread(&rejection))?;
    let (desire, wanted) = desire(&id, &body)?;
    let trace = headers.get("traceparent").and_then(|header| header.to_str().ok());
    let origin = Origin::Wish { trace: trace.and_then(TraceId::from_traceparent) };
    let events = context.twins.feed().subscribe();
    let mut results = context.twins.apply(vec![Command::Desire(desire)], origin).await?;
    let result = results.pop().ok_or_else(|| unknown(&id))?;
    let answer = match result {
        Ok(answer) => answer,
        Err(rejected) => {
            let twin = context.twins.twin(&id).await?.ok_or_else(|| unknown(&id))?;
            return Err(refused(&rejected, &twin, &wanted));
        }
    };
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
fn desire(id: &DeviceId, body: &[u8]) -> Result<(Desire, Vec<Wanted>), ErrorView> {
    let example = r#"send {"properties":{"speed":{"value":"1450"}}}"#;
    let patch: DesiredPatch = request::json(body, example)?;
    if patch.properties.is_empty() {
        return Err(ErrorView::new(400, "properties", "nothing is wanted", example));
    }
    let mut desire = Desire::of(id.clone(), Writer::local("api"));
    desire.expires_at = expiry(&patch)?;
    let whole = version("ifVersion", patch.if_version)?;
    let mut all = Vec::new();
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
        let own = version(&format!("properties.{name}.ifVersion"), wanted.if_version)?;
        all.push(Wanted { name: name.clone(), versioned: own.is_some() });
        let mut property = DesireProperty::of(name, value);
        property.if_version = own.or(whole);
        desire.properties.push(property);
    }
    Ok((desire, all))
}

/// No version is as large as what this refuses.
fn version(field: &str, version: Option<u64>) -> Result<Option<u64>, ErrorView> {
    match version {
        Some(large) if large > LAST => {
            let message = format!("{large} is larger than {LAST}");
            Err(ErrorView::new(400, field, message, "send the version that the device shows"))
        }
        other => Ok(other),
    }
}

/// When what `patch` wants is to be given up.
fn expiry(patch: &DesiredPatch) -> Result<Option<Timestamp>, ErrorView> {
    let remedy = "write a length of time with a unit, such as \"10m\"";
    match (&patch.expires_in, patch.expires_at) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let message = "there are expiresIn and expiresAt";
            Err(ErrorView::new(400, "expiresAt", message, "send one of them"))
        }
        (Some(text), None) => {
            let wrong = || {
                let message = format!("\"{text}\" is no length of time from 1ms to 366 days");
                ErrorView::new(400, "expiresIn", message, remedy)
            };
            let fits = |span: &Duration| !span.is_zero() && *span <= LONGEST_EXPIRY;
            Ok(Some(now().plus(span(text).filter(fits).ok_or_else(wrong)?)))
        }
        (None, Some(time)) if time <= now() => {
            let message = format!("{time} is over");
            Err(ErrorView::new(400, "expiresAt", message, "send a time that is to come"))
        }
        (None, time) => Ok(time),
    }
}

fn span(text: &str) -> Option<Duration> {
    serde_json::from_value::<Span>(JsonValue::from(text)).ok().map(|span| *span)
}

fn duration(text: &str) -> Option<Duration> {
    span(text).map(|span| span.min(LONGEST_WAIT))
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
