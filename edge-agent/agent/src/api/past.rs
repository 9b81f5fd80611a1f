//! `GET …/history`: what changed lately, for a live view.

use axum::Json;
use axum::extract::State;

use super::request::{Named, Parameters};
use super::view::{ErrorView, HistoryView, PastView, PropertyHistory};
use super::{Context, convert, unknown};
use crate::history::Past;

/// Largest `limit`.
const MOST: usize = 10_000;

/// The latest changes of a device's properties
///
/// From memory: they begin anew with the agent, and the oldest go where there are too many. A change that nobody could
/// follow in a burst is missing; the revisions tell.
#[utoipa::path(
    get,
    path = "/v1/devices/{namespace}/{name}/history",
    operation_id = "history",
    params(
        Named,
        ("property" = Option<String>, Query, description = "This property alone", example = "speed"),
        ("limit" = Option<u32>, Query, description = "So many changes of each property, the newest", minimum = 1, maximum = 10000),
    ),
    responses(
        (status = 200, description = "The properties that changed", body = HistoryView),
        (status = 404, description = "There is no device or no property of that name", body = ErrorView),
    ),
)]
pub(super) async fn history(
    State(context): State<Context>,
    Named(id): Named,
    parameters: Parameters,
) -> Result<Json<HistoryView>, ErrorView> {
    let parameters = parameters.only(&["property", "limit"])?;
    let count = |text: &str| text.parse::<usize>().ok().filter(|count| (1..=MOST).contains(count));
    let limit = parameters.get("limit", count, "write how many, from 1 to 10000")?.unwrap_or(MOST);
    let property = parameters.get("property", |name| Some(name.to_owned()), "")?;
    let twin = context.twins.twin(&id).await?.ok_or_else(|| unknown(&id))?;
    if let Some(name) = property.as_deref().filter(|name| twin.property(name).is_none()) {
        let message = format!("{id} has no property {name}");
        let remedy = format!("see /v1/devices/{id} for what it has");
        return Err(ErrorView::new(404, "property", message, remedy));
    }
    let properties = context.history.of(&id, property.as_deref(), limit);
    let properties = properties.into_iter().map(|(name, pasts)| PropertyHistory {
        name: name.to_string(),
        changes: pasts.iter().map(view).collect(),
    });
    Ok(Json(HistoryView { properties: properties.collect() }))
}

fn view(past: &Past) -> PastView {
    let Past { id, time, rev, reported, desired, ack, .. } = past;
    let seen = reported.as_ref();
    PastView {
        id: *id,
        time: *time,
        rev: *rev,
        value: seen.and_then(|seen| seen.value.as_ref()).map(ToString::to_string),
        quality: seen.map(|seen| seen.quality),
        code: seen.map(|seen| seen.code),
        desired: desired.as_ref().map(|desired| desired.value.to_string()),
        ack: ack.as_deref().map(convert::ack_view),
    }
}
