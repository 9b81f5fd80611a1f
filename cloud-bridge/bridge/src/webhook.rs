//! What the API server asks before it takes a Device or a DeviceModel.
//!
//! The answer comes from the very code that the agent runs, so that a mistake shows where it is made, with field, value and
//! remedy, and not as a device that stays silent. A model that devices name is not deleted under them.

mod trust;
mod verdict;

use std::fmt::Debug;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use device_model::DeviceModel;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::https;
use crate::identity::{IdentityError, Served, server_config};

pub use trust::{CONFIGURATION, WEBHOOKS, trust};
pub use verdict::{Verdict, judge};

/// Where the API server asks.
pub const PATH: &str = "/validate";
/// Twice the most that etcd takes for one object, and what is around it: an update brings the old object, too.
const BODY: usize = 8 << 20;

/// What is defined in the cluster.
pub trait Definitions: Debug + Send + Sync {
    /// The DeviceModel of that name.
    fn model(&self, namespace: &str, name: &str) -> Option<Arc<DeviceModel>>;

    /// Names of the Devices in that namespace that name that model.
    fn devices_using(&self, namespace: &str, model: &str) -> Vec<String>;
}

/// Answers the API server at `listener` until `stop`.
///
/// # Errors
/// TLS cannot be set up; nothing was served.
pub async fn serve(
    listener: TcpListener,
    served: &Arc<Served>,
    definitions: Arc<dyn Definitions>,
    stop: CancellationToken,
) -> Result<(), IdentityError> {
    let tls = server_config(served)?;
    let routes = Router::new()
        .route(PATH, post(validate))
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(definitions);
    https::serve(listener, tls, routes, &stop).await;
    Ok(())
}

async fn validate(
    State(definitions): State<Arc<dyn Definitions>>,
    Json(review): Json<AdmissionReview<DynamicObject>>,
) -> Response {
    let request: AdmissionRequest<DynamicObject> = match review.try_into() {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let mut response = AdmissionResponse::from(&request);
    match judge(&request, &*definitions) {
        Verdict::Allowed => {}
        Verdict::Warned(warnings) => response.warnings = Some(warnings),
        Verdict::Refused(reason) => {
            let AdmissionRequest { kind, namespace, name, operation, .. } = &request;
            let namespace = namespace.as_deref().unwrap_or_default();
            info!(
                kind = kind.kind,
                namespace,
                name,
                ?operation,
                reason,
                "refused at the API server"
            );
            response = response.deny(reason);
        }
    }
    Json(response.into_review()).into_response()
}
