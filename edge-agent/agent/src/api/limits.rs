//! `GET /v1/limits`: how much of everything is taken.

use axum::Json;
use axum::extract::State;
use device_twin::Limits;
use device_twin::store::MOST_SUBSCRIPTIONS;

use super::Context;
use super::desired::{LONGEST_EXPIRY, LONGEST_WAIT};
use super::request::{BODY_LIMIT, Parameters};
use super::schema::LAST;
use super::view::{ErrorView, LimitsView};
use crate::{history, messages};

/// How much of everything is taken
#[utoipa::path(
    get,
    path = "/v1/limits",
    operation_id = "limits",
    responses((status = 200, description = "The limits of this agent", body = LimitsView)),
)]
pub(super) async fn limits(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<Json<LimitsView>, ErrorView> {
    parameters.only(&[])?;
    let Limits { value, properties, twin } = context.limits;
    Ok(Json(LimitsView {
        body_octets: BODY_LIMIT,
        value_octets: value,
        properties,
        twin_octets: twin,
        version: LAST,
        wait_seconds: LONGEST_WAIT.as_secs(),
        expiry_seconds: LONGEST_EXPIRY.as_secs(),
        history_changes: context.history.depth(),
        history_octets: history::LARGEST,
        subscriptions: MOST_SUBSCRIPTIONS,
        messages: messages::MOST,
        message_octets: messages::LARGEST,
        read_only: context.read_only,
    }))
}
