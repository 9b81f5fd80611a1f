//! What stands here as Kubernetes would show it, to be read: `/apis/devices.kubeedge.io/v1beta1`, and as much of the
//! way there as its clients ask for.
//!
//! Errors are Kubernetes' `Status`. There is no watch; `/v1/events` tells changes.

mod objects;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value as JsonValue, json};

use super::Context;
use super::request::Parameters;
use super::view::ErrorView;
use crate::twins::Unavailable;

const GROUP: &str = "devices.kubeedge.io";
const VERSION: &str = "v1beta1";

/// A kind of object that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Device,
    Model,
    Status,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Device, Self::Model, Self::Status];

    fn named(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Device => "Device",
            Self::Model => "DeviceModel",
            Self::Status => "DeviceStatus",
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Device => "devices",
            Self::Model => "devicemodels",
            Self::Status => "devicestatuses",
        }
    }
}

pub(super) fn routes() -> Router<Context> {
    let group = format!("/apis/{GROUP}");
    let here = format!("{group}/{VERSION}");
    let discovery = [
        ("/version", get(version)),
        ("/api", get(core)),
        ("/apis", get(groups)),
        (&group, get(async || Json(this_group()))),
        (&here, get(resources)),
    ];
    let mut router = Router::new();
    for (path, answer) in discovery {
        // Some clients write these with a slash at the end.
        router = router.route(path, answer.clone()).route(&format!("{path}/"), answer);
    }
    router
        .route(&format!("{here}/{{kind}}"), get(all))
        .route(&format!("{here}/namespaces/{{namespace}}/{{kind}}"), get(of_namespace))
        .route(&format!("{here}/namespaces/{{namespace}}/{{kind}}/{{name}}"), get(one))
}

/// An error as Kubernetes' clients read it.
#[derive(Debug)]
struct Refusal {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { code, reason, message } = self;
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
    }
}

impl From<ErrorView> for Refusal {
    fn from(error: ErrorView) -> Self {
        let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::BAD_REQUEST);
        Self { code, reason: "BadRequest", message: error.to_string() }
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        let (code, reason) = (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        Self { code, reason, message: error.to_string() }
    }
}

async fn version() -> Json<JsonValue> {
    let version = concat!("v", env!("CARGO_PKG_VERSION"), "+edgetwin");
    // Clients want each of these members.
    Json(json!({
        "major": "1", "minor": "0", "gitVersion": version, "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": "linux",
    }))
}

/// Nothing of the core group is here.
async fn core() -> Json<JsonValue> {
    Json(json!({"kind": "APIVersions", "versions": [], "serverAddressByClientCIDRs": []}))
}

async fn groups() -> Json<JsonValue> {
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [this_group()]}))
}

fn this_group() -> JsonValue {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": GROUP,
        "versions": [version], "preferredVersion": version,
    })
}

async fn resources() -> Json<JsonValue> {
    let resources = Kind::ALL.map(|kind| {
        json!({
            "name": kind.plural(), "singularName": kind.name().to_lowercase(), "namespaced": true,
            "kind": kind.name(), "verbs": ["get", "list"],
        })
    });
    let group = format!("{GROUP}/{VERSION}");
    Json(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": resources}),
    )
}

async fn all(
    State(context): State<Context>,
    Path(plural): Path<String>,
    parameters: Parameters,
) -> Result<Json<JsonValue>, Refusal> {
    list(&context, &plural, None, parameters).await
}

async fn of_namespace(
    State(context): State<Context>,
    Path((namespace, plural)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<Json<JsonValue>, Refusal> {
    list(&context, &plural, Some(&namespace), parameters).await
}

/// Everything of a kind. A client's `limit` bounds a page; the one page here holds all, which servers may do.
async fn list(
    context: &Context,
    plural: &str,
    namespace: Option<&str>,
    parameters: Parameters,
) -> Result<Json<JsonValue>, Refusal> {
    let known =
        ["limit", "watch", "resourceVersion", "resourceVersionMatch", "timeoutSeconds", "pretty"];
    let parameters = parameters.only(&known)?;
    let truth =
        |text: &str| text.parse::<bool>().or_else(|_| (text == "1").then_some(true).ok_or(())).ok();
    if parameters.get("watch", truth, "write true or false")? == Some(true) {
        let message = "there is no watch here; follow /v1/events".into();
        return Err(Refusal {
            code: StatusCode::METHOD_NOT_ALLOWED,
            reason: "MethodNotAllowed",
            message,
        });
    }
    let kind = Kind::named(plural).ok_or_else(|| no_kind(plural))?;
    // Before the twins: what changes meanwhile is newer than it says.
    let version = context.twins.feed().newest();
    let objects = objects(context, kind).await?;
    let within =
        |object: &JsonValue| namespace.is_none_or(|one| object["metadata"]["namespace"] == one);
    let items: Vec<_> = objects.into_iter().filter(within).collect();
    Ok(Json(json!({
        "kind": format!("{}List", kind.name()), "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": {"resourceVersion": version.to_string()}, "items": items,
    })))
}

async fn one(
    State(context): State<Context>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    parameters: Parameters,
) -> Result<Json<JsonValue>, Refusal> {
    parameters.only(&["resourceVersion", "pretty"])?;
    let kind = Kind::named(&plural).ok_or_else(|| no_kind(&plural))?;
    let of_name = |object: &JsonValue| {
        object["metadata"]["namespace"] == *namespace && object["metadata"]["name"] == *name
    };
    let found = objects(&context, kind).await?.into_iter().find(of_name);
    found.map(Json).ok_or_else(|| Refusal {
        code: StatusCode::NOT_FOUND,
        reason: "NotFound",
        message: format!("{plural}.{GROUP} \"{name}\" not found in namespace {namespace}"),
    })
}

async fn objects(context: &Context, kind: Kind) -> Result<Vec<JsonValue>, Unavailable> {
    Ok(match kind {
        Kind::Model => {
            context.catalogue.models().iter().map(|model| objects::model(model)).collect()
        }
        Kind::Device => context.twins.twins().await?.iter().map(objects::device).collect(),
        Kind::Status => context.twins.twins().await?.iter().map(objects::status).collect(),
    })
}

fn no_kind(plural: &str) -> Refusal {
    let there = Kind::ALL.map(Kind::plural).join(", ");
    Refusal {
        code: StatusCode::NOT_FOUND,
        reason: "NotFound",
        message: format!("there are no {plural} in {GROUP}/{VERSION}; there are {there}"),
    }
}
