//! `GET /v1/outbox` and `GET /v1/objects`: what lies between this node and its cloud.

use axum::Json;
use axum::extract::State;
use edge_link::content::Holding;

use super::Context;
use super::request::Parameters;
use super::view::{ErrorView, ObjectList, ObjectView, OutboxView, WaitingView};
use crate::clock::now;
use crate::twins::Unavailable;
use crate::uplink::{Handle, Waiting};

impl Context {
    fn uplink(&self) -> Result<&Handle, ErrorView> {
        self.uplink.as_ref().ok_or_else(|| {
            let message = "this node belongs to no cloud";
            ErrorView::new(
                404,
                "",
                message,
                "join it with `edgetwin join`, or write cloud.addresses",
            )
        })
    }
}

/// What the cloud does not have of the devices
#[utoipa::path(
    get,
    path = "/v1/outbox",
    operation_id = "outbox",
    responses(
        (status = 200, description = "Devices that wait for the cloud", body = OutboxView),
        (status = 404, description = "The node belongs to no cloud", body = ErrorView),
    ),
)]
pub(super) async fn outbox(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<Json<OutboxView>, ErrorView> {
    parameters.only(&[])?;
    let uplink = context.uplink()?;
    let waiting = uplink.outbox().await.ok_or(Unavailable::Stopped)?;
    let view = |Waiting { device, rev, confirmed, since }| {
        let age = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let since = device_model::Timestamp::from_millis(now().as_millis().saturating_sub(age));
        WaitingView { device, rev, confirmed, since }
    };
    let devices = waiting.into_iter().map(view).collect();
    Ok(Json(OutboxView { linked: uplink.status.figures().linked, devices }))
}

/// What the cloud gave this node
#[utoipa::path(
    get,
    path = "/v1/objects",
    operation_id = "objects",
    responses(
        (status = 200, description = "Objects that this node keeps", body = ObjectList),
        (status = 404, description = "The node belongs to no cloud", body = ErrorView),
    ),
)]
pub(super) async fn objects(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<Json<ObjectList>, ErrorView> {
    parameters.only(&[])?;
    let held = context.uplink()?.objects().await.ok_or(Unavailable::Stopped)?;
    let view = |Holding { key, uid, version }: Holding| ObjectView {
        namespace: key.namespace().unwrap_or_default().to_owned(),
        kind: key.kind().to_string(),
        name: key.name().to_owned(),
        uid: uid.to_string(),
        resource_version: version.resource_version.to_string(),
        generation: version.generation,
    };
    let mut objects: Vec<_> = held.into_iter().map(view).collect();
    objects.sort();
    Ok(Json(ObjectList { objects }))
}
