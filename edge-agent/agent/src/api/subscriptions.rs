//! `/v1/subscriptions`: what this node listens to among the topics of applications.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use device_twin::Writer;
use device_twin::store::{MOST_SUBSCRIPTIONS, TopicFilter};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use super::Context;
use super::request::Parameters;
use super::schema;
use super::view::{ErrorView, SubscriptionList, SubscriptionView};
use crate::subscriptions::{Added, Entry, MOST_ENDED, Refused};

/// The filter that the path names.
pub(super) struct Filter(TopicFilter);

impl<S: Send + Sync> FromRequestParts<S> for Filter {
    type Rejection = ErrorView;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ErrorView> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, state).await.map_err(|rejection| {
                let remedy = "write /v1/subscriptions/FILTER, with / as %2F and # as %23";
                ErrorView::new(400, "path", rejection.body_text(), remedy)
            })?;
        TopicFilter::new(&text).map(Self).map_err(|error| {
            let message = format!("filter = \"{}\": {}", text.escape_debug(), error.why);
            ErrorView::new(400, "path", message, error.remedy)
        })
    }
}

impl IntoParams for Filter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let filter = ParameterBuilder::new()
            .name("filter")
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some("A filter of topics; / is written as %2F, and # as %23"))
            .schema(Some(schema::TopicFilter::schema()));
        vec![filter.build()]
    }
}

/// All subscriptions to topics of applications
#[utoipa::path(
    get,
    path = "/v1/subscriptions",
    operation_id = "subscriptions",
    responses((status = 200, description = "All of them, by filter", body = SubscriptionList)),
)]
pub(super) async fn list(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<Json<SubscriptionList>, ErrorView> {
    parameters.only(&[])?;
    let wanted = context.subscriptions.wanted();
    let subscriptions = wanted.iter().map(|entry| context.subscription(entry)).collect();
    Ok(Json(SubscriptionList { subscriptions }))
}

/// One subscription
#[utoipa::path(
    get,
    path = "/v1/subscriptions/{filter}",
    operation_id = "subscription",
    params(Filter),
    responses(
        (status = 200, description = "How it stands", body = SubscriptionView),
        (status = 404, description = "There is none of that filter", body = ErrorView),
    ),
)]
pub(super) async fn one(
    State(context): State<Context>,
    Filter(filter): Filter,
    parameters: Parameters,
) -> Result<Json<SubscriptionView>, ErrorView> {
    parameters.only(&[])?;
    let entry = context.kept(&filter).ok_or_else(|| unknown(&filter))?;
    Ok(Json(context.subscription(&entry)))
}

/// Subscribe to topics of applications
///
/// What they say there comes over `/v1/messages`. It is kept until it is deleted.
#[utoipa::path(
    put,
    path = "/v1/subscriptions/{filter}",
    operation_id = "subscribe",
    params(Filter),
    responses(
        (status = 200, description = "It was there before", body = SubscriptionView),
        (status = 201, description = "It is there now", body = SubscriptionView),
        (status = 403, description = "The agent is read only; or a browser asks", body = ErrorView),
        (status = 409, description = "There are as many as there may be; or the external broker is still to be told of too many that ended", body = ErrorView),
    ),
)]
pub(super) async fn add(
    State(context): State<Context>,
    Filter(filter): Filter,
    parameters: Parameters,
) -> Result<(StatusCode, Json<SubscriptionView>), ErrorView> {
    parameters.only(&[])?;
    context.writable()?;
    let added = context.subscriptions.add(filter.clone(), Writer::local("api")).await?;
    let entry = context.kept(&filter).ok_or_else(|| unknown(&filter))?;
    let status = match added {
        Added::New => StatusCode::CREATED,
        Added::AsBefore => StatusCode::OK,
    };
    Ok((status, Json(context.subscription(&entry))))
}

/// End a subscription
#[utoipa::path(
    delete,
    path = "/v1/subscriptions/{filter}",
    operation_id = "unsubscribe",
    params(Filter),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "The agent is read only; or a browser asks", body = ErrorView),
        (status = 404, description = "There is none of that filter", body = ErrorView),
    ),
)]
pub(super) async fn remove(
    State(context): State<Context>,
    Filter(filter): Filter,
    parameters: Parameters,
) -> Result<StatusCode, ErrorView> {
    parameters.only(&[])?;
    context.writable()?;
    match context.subscriptions.remove(filter.clone()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&filter)),
    }
}

impl Context {
    fn kept(&self, filter: &TopicFilter) -> Option<Entry> {
        let table = self.subscriptions.watch();
        let entry = table.borrow().get(filter).cloned();
        entry.filter(|entry| !entry.subscription.removed)
    }

    fn subscription(&self, entry: &Entry) -> SubscriptionView {
        let one = &entry.subscription;
        let (embedded, external) = self.subscriptions.states(entry);
        SubscriptionView {
            filter: one.filter.to_string(),
            writer: one.writer.to_string(),
            set_at: one.set_at,
            messages: entry.heard.load(Ordering::Relaxed),
            embedded,
            external,
        }
    }
}

impl From<Refused> for ErrorView {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany => {
                let message = format!("there are {MOST_SUBSCRIPTIONS} subscriptions already");
                let remedy =
                    "delete one, or join some with a wildcard: + for a level, # for the last ones";
                Self::new(409, "path", message, remedy)
            }
            Refused::TooManyEnded => {
                let message = format!(
                    "the external broker is still to be told of {MOST_ENDED} ended subscriptions"
                );
                let remedy = "let the external broker be reached, see /readyz; or start the agent without one, with \
                              mqtt: {mode: embedded}, which forgets them";
                Self::new(409, "path", message, remedy)
            }
            Refused::Unavailable(error) => error.into(),
        }
    }
}

fn unknown(filter: &TopicFilter) -> ErrorView {
    let message = format!("there is no subscription to {filter}");
    ErrorView::new(404, "path", message, "see /v1/subscriptions for what there is")
}
