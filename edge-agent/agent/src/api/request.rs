//! What a request says beside its path, read so that every fault is answered with field and remedy.

use std::collections::BTreeMap;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use device_model::DeviceId;
use serde::de::DeserializeOwned;
use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::view::ErrorView;

/// Longest body that is read, in bytes.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;

/// The device that the path names.
pub(super) struct Named(pub(super) DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ErrorView;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ErrorView> {
        let wrong = |message: String| {
            let remedy = "write /v1/devices/NAMESPACE/NAME as /v1/devices shows them";
            ErrorView::new(400, "path", message, remedy)
        };
        let Path((namespace, name)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| wrong(rejection.body_text()))?;
        DeviceId::new(&namespace, &name).map(Self).map_err(|error| wrong(error.to_string()))
    }
}

impl IntoParams for Named {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let part = |name, description, example| {
            let text = ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some("^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"));
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(description))
                .schema(Some(text))
                .example(Some(json!(example)))
                .build()
        };
        vec![
            part("namespace", "Kubernetes namespace", "demo"),
            part("name", "Name within it", "pump"),
        ]
    }
}

/// The query's parameters.
pub(super) struct Parameters(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ErrorView;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ErrorView> {
        let Query(pairs) =
            Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|rejection| {
                let remedy = "write it as ?name=value&name=value";
                ErrorView::new(400, "query", rejection.body_text(), remedy)
            })?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

impl Parameters {
    /// Refuses those that are not among `known`.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, ErrorView> {
        let Some(name) = self.0.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(self);
        };
        let remedy = match known {
            [] => "leave it out; there are none here".into(),
            known => format!("leave it out; there are {}", known.join(" and ")),
        };
        Err(ErrorView::new(400, name, format!("no query parameter is called \"{name}\""), remedy))
    }

    /// The value of one, if it is there.
    pub(super) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        remedy: &str,
    ) -> Result<Option<T>, ErrorView> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let wrong =
            || ErrorView::new(400, name, format!("{name} = \"{text}\" cannot be read"), remedy);
        parse(text).map(Some).ok_or_else(wrong)
    }
}

/// Why a body could not be taken in.
pub(super) fn unread(rejection: &BytesRejection) -> ErrorView {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("the body is larger than {BODY_LIMIT} bytes");
        return ErrorView::new(413, "body", message, "write fewer properties at a time");
    }
    ErrorView::new(400, "body", rejection.body_text(), "send it again, with its whole length")
}

/// Reads a body of JSON.
pub(super) fn json<T: DeserializeOwned>(body: &[u8], remedy: &str) -> Result<T, ErrorView> {
    let wrong = |field: &str, error: &serde_json::Error| {
        ErrorView::new(400, field, error.to_string(), remedy)
    };
    if body.is_empty() {
        return Err(ErrorView::new(400, "body", "the body is empty", remedy));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let syntax = !error.inner().is_data() || path == ".";
        wrong(if syntax { "body" } else { &path }, error.inner())
    })?;
    reader.end().map_err(|error| wrong("body", &error))?;
    Ok(value)
}
