//! `PATCH …/desired`: somebody on this machine wants something of a device.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use device_model::{Access, DeviceId, Generation};
use device_twin::{Command, Desire, DesireProperty, Given, Rejected, Twin, Writer};
use serde_json::Value as JsonValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::request::{self, Named, Parameters};
use super::view::{AcceptedView, DesiredAnswer, DesiredPatch, ErrorView};
use super::{Context, convert, unknown};
use crate::config::Span;
use crate::feed::Origin;
use crate::refuse;

/// Longest time that a request may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

pub(super) async fn write(
    State(context): State<Context>,
    Named(id): Named,
    parameters: Parameters,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<DesiredAnswer>, ErrorView> {
    if context.read_only {
        let message = "this agent is configured to be read only";
        let remedy = "set api.readOnly: false in its configuration, or write elsewhere";
        return Err(ErrorView::new(403, "method", message, remedy));
    }
    let parameters = parameters.only(&["wait"])?;
    let wait = parameters.get("wait", duration, "write it with a unit, such as wait=5s")?;
    let body = body.map_err(|rejection| request::unread(&rejection))?;
    let desire = desire(&id, &body)?;
    let wanted: Vec<_> = desire.properties.iter().map(|one| one.property.clone()).collect();
    let events = context.twins.feed().subscribe();
    let mut results = context.twins.apply(vec![Command::Desire(desire)], Origin::Unasked).await?;
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
fn desire(id: &DeviceId, body: &[u8]) -> Result<Desire, ErrorView> {
    let example = r#"send {"properties":{"speed":{"value":"1450"}}}"#;
    let patch: DesiredPatch = request::json(body, example)?;
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

fn duration(text: &str) -> Option<Duration> {
    let span: Span = serde_json::from_value(JsonValue::from(text)).ok()?;
    Some((*span).min(LONGEST_WAIT))
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

/// Why `twin` does not take what is `wanted`.
fn refused(rejected: &Rejected, twin: &Twin, wanted: &[String]) -> ErrorView {
    let value = |name: &str| format!("properties.{name}.value");
    let named = refuse::property(rejected).map_or_else(|| "properties".into(), |name| value(&name));
    let code = refuse::http_status(rejected);
    let (field, message, remedy) = match rejected {
        Rejected::Unknown { .. } => {
            let unknown = wanted.iter().find(|name| twin.property(name).is_none());
            let field = unknown.map_or_else(|| named, |name| format!("properties.{name}"));
            let names = writable(twin);
            (
                field,
                rejected.to_string(),
                format!("write one of those that can be written: {names}"),
            )
        }
        Rejected::ReadOnly { .. } => {
            let remedy = format!("write one of those that can be written: {}", writable(twin));
            (named, rejected.to_string(), remedy)
        }
        Rejected::Conflict { expected, current } => {
            let versions = current.properties.iter().map(|(name, state)| {
                let version = state.desired.as_ref().map_or(0, |desired| desired.generation.0);
                format!("{name} is at version {version}, not {expected}")
            });
            let message = versions.collect::<Vec<_>>().join("; ");
            ("ifVersion".into(), message, "read the device again, then decide again".into())
        }
        Rejected::Several(parts) => match parts.first() {
            // Where the first is, what all of them are.
            Some(first) => {
                let wanted = std::slice::from_ref(&first.property);
                let ErrorView { field, remedy, .. } = refused(&first.reason, twin, wanted);
                (field, rejected.to_string(), remedy)
            }
            None => (named, rejected.to_string(), "correct the values".into()),
        },
        Rejected::Invalid { .. } => (named, rejected.to_string(), "correct the value".into()),
        Rejected::TooLarge { .. } => {
            let field = match wanted {
                [one] => value(one),
                _ => named,
            };
            (field, rejected.to_string(), "send a shorter value".into())
        }
        Rejected::NotOwner { .. } => (named, rejected.to_string(), "write it there".into()),
        Rejected::Stale { .. } | Rejected::FormerLife { .. } | Rejected::Exhausted(_) => {
            (named, rejected.to_string(), "read the device again, then decide again".into())
        }
    };
    ErrorView::new(code, field, message, remedy)
}

/// The properties that take wishes, by name.
fn writable(twin: &Twin) -> String {
    let names = twin.properties().filter(|(property, _)| property.access == Access::ReadWrite);
    names.map(|(property, _)| property.name.to_string()).collect::<Vec<_>>().join(", ")
}
