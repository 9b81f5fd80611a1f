//! The local API: HTTP/1.1 over a Unix socket. `docs/api.md` describes it.

mod cloud;
mod connections;
mod convert;
mod desired;
mod events;
mod frames;
mod kubernetes;
mod limits;
mod listen;
mod messages;
#[cfg(test)]
mod openapi;
mod past;
mod refusal;
mod request;
mod schema;
pub mod sse;
mod status;
mod stream;
mod subscriptions;
mod token;
pub mod view;

use std::sync::Arc;
use std::task;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch};
use axum::{Json, Router};
use device_model::DeviceId;
use device_twin::{Limits, Twin};
use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;

use crate::catalogue::Catalogue;
use crate::health::Health;
use crate::history::History;
use crate::manifests::Faults;
use crate::mappers::Mappers;
use crate::metrics::Metrics;
use crate::socket::Socket;
use crate::subscriptions::Subscriptions;
use crate::twins::{Twins, Unavailable};
use crate::uplink::Handle;
pub(crate) use listen::{Certificate, Tcp};
use request::{Named, Parameters};
pub(crate) use token::Tokens;
use view::{DeviceView, ErrorView};

/// How long answers that are under way may take when the agent stops.
const GRACE: Duration = Duration::from_millis(500);

/// What the API reads and writes.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) twins: Twins,
    pub(crate) mappers: Arc<Mappers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) health: Arc<Health>,
    pub(crate) history: Arc<History>,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Where the node belongs to a cloud.
    pub(crate) uplink: Option<Handle>,
    pub(crate) limits: Limits,
    /// Whether nothing can be written.
    pub(crate) read_only: bool,
    pub(crate) stop: CancellationToken,
}

impl Context {
    /// Refuses to write where the agent is read only.
    fn writable(&self) -> Result<(), ErrorView> {
        if !self.read_only {
            return Ok(());
        }
        let message = "this agent is configured to be read only";
        let remedy = "set api.readOnly: false in its configuration, or write elsewhere";
        Err(ErrorView::new(403, "method", message, remedy))
    }
}

/// Answers requests on `socket`, and on `tcp` if there is one, until the context's token is cancelled.
pub(crate) async fn serve(socket: Socket, tcp: Option<Tcp>, context: Context) {
    let stop = context.stop.clone();
    let routes = routes(context);
    let (listener, _place) = socket.into_parts();
    let accept = move |cx: &mut task::Context<'_>| listener.poll_accept(cx).map_ok(first);
    let local = connections::serve(accept, async |stream| Ok(stream), routes.clone(), &stop);
    let remote = async {
        let Some(Tcp { listener, tls, tokens, .. }) = tcp else { return };
        let routes =
            routes.layer(middleware::from_fn_with_state(tokens.subscribe(), token::demand));
        let accept = move |cx: &mut task::Context<'_>| listener.poll_accept(cx).map_ok(first);
        match tls {
            Some(tls) => {
                let greet = move |stream| tls.accept(stream);
                connections::serve(accept, greet, routes, &stop).await;
            }
            None => connections::serve(accept, async |stream| Ok(stream), routes, &stop).await,
        }
    };
    let out_of_patience = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    // Somebody who asks for events and does not read them would hold a graceful end for ever.
    tokio::select! {
        _ = async { tokio::join!(local, remote) } => {}
        () = out_of_patience => {}
    }
}

/// The stream of a connection, without where it comes from.
fn first<T, U>((stream, _): (T, U)) -> T {
    stream
}

fn routes(context: Context) -> Router {
    Router::new()
        .route("/v1/devices", get(devices))
        .route("/v1/devices/{namespace}/{name}", get(device))
        .route("/v1/devices/{namespace}/{name}/desired", patch(desired::write))
        .route("/v1/devices/{namespace}/{name}/history", get(past::history))
        .route("/v1/devices/{namespace}/{name}/frames", get(frames::frames))
        .route("/v1/events", get(events::stream))
        .route("/v1/messages", get(messages::stream))
        .route("/v1/subscriptions", get(subscriptions::list))
        .route(
            "/v1/subscriptions/{filter}",
            get(subscriptions::one).put(subscriptions::add).delete(subscriptions::remove),
        )
        .route("/v1/outbox", get(cloud::outbox))
        .route("/v1/objects", get(cloud::objects))
        .route("/v1/limits", get(limits::limits))
        .route("/v1/openapi.json", get(document))
        .route("/healthz", get(status::alive))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(status::metrics))
        .merge(kubernetes::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(request::BODY_LIMIT))
        .layer(middleware::from_fn(no_browsers))
        .with_state(context)
}

/// A page that a browser shows could reach us with its user's rights, by DNS rebinding even as if it came from here.
/// No page is ours, and nothing but a browser sends this header.
async fn no_browsers(request: Request, next: Next) -> Response {
    let Some(origin) = request.headers().get(ORIGIN) else { return next.run(request).await };
    let message = format!("a page of {} asks", String::from_utf8_lossy(origin.as_bytes()));
    let remedy = "ask from a program; web pages are not served here";
    ErrorView::new(403, "Origin", message, remedy).into_response()
}

/// A [`view::DeviceList`], put into words device by device: all views at once take many times the answer's memory.
#[derive(Serialize)]
struct Devices {
    devices: Views,
}

struct Views {
    context: Context,
    twins: Vec<Twin>,
}

impl Serialize for Views {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.twins.iter().map(|twin| self.context.view(twin)))
    }
}

/// Every device with its twin
#[utoipa::path(
    get,
    path = "/v1/devices",
    operation_id = "devices",
    responses((status = 200, description = "All of them, by namespace and name", body = view::DeviceList)),
)]
async fn devices(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<Json<Devices>, ErrorView> {
    parameters.only(&[])?;
    let twins = context.twins.twins().await?;
    Ok(Json(Devices { devices: Views { context, twins } }))
}

/// One device with its twin
#[utoipa::path(
    get,
    path = "/v1/devices/{namespace}/{name}",
    operation_id = "device",
    params(Named),
    responses(
        (status = 200, description = "The device", body = DeviceView),
        (status = 404, description = "There is none of that name", body = ErrorView),
    ),
)]
async fn device(
    State(context): State<Context>,
    Named(id): Named,
    parameters: Parameters,
) -> Result<Json<DeviceView>, ErrorView> {
    parameters.only(&[])?;
    let twin = context.twins.twin(&id).await?.ok_or_else(|| unknown(&id))?;
    Ok(Json(context.view(&twin)))
}

/// This document
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    operation_id = "document",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
)]
async fn document(parameters: Parameters) -> Result<impl IntoResponse, ErrorView> {
    parameters.only(&[])?;
    Ok(([(CONTENT_TYPE, "application/json")], include_str!("../../openapi.json")))
}

async fn no_such_path(request: Request) -> ErrorView {
    let message = format!("{} is no path of this API", request.uri().path());
    ErrorView::new(404, "path", message, "see /v1/openapi.json for what there is")
}

async fn no_such_method(request: Request) -> ErrorView {
    let path = request.uri().path();
    let message = format!("{} does not go with {path}", request.method());
    let remedy = if path.starts_with("/v1/subscriptions") {
        "read with GET; add with PUT /v1/subscriptions/FILTER, take away with DELETE"
    } else if path.ends_with("/desired") {
        "write desired values with PATCH; read them with GET /v1/devices/NAMESPACE/NAME"
    } else {
        "read with GET; write desired values with PATCH /v1/devices/NAMESPACE/NAME/desired"
    };
    ErrorView::new(405, "method", message, remedy)
}

fn unknown(id: &DeviceId) -> ErrorView {
    let message = format!("device {id} is not known here");
    ErrorView::new(404, "path", message, "see /v1/devices for what is, or add its manifest")
}

impl ErrorView {
    /// All four parts.
    pub(crate) fn new(
        code: u16,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (field, message, remedy) = (field.into(), message.into(), remedy.into());
        Self { code, field, message, remedy, current: None }
    }
}

impl From<Unavailable> for ErrorView {
    fn from(error: Unavailable) -> Self {
        let remedy = match &error {
            Unavailable::Full => "send it again in a moment",
            Unavailable::Stopped => "send it again when the agent is back",
            Unavailable::Store(store) => {
                let remedy =
                    "nothing of it was done: send it again when /readyz no longer names the store";
                return Self::new(error.http_status(), "", store.to_string(), remedy);
            }
        };
        Self::new(error.http_status(), "", error.to_string(), remedy)
    }
}

impl IntoResponse for ErrorView {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self)).into_response()
    }
}
