//! Whether the agent lives, whether it is well, and what it counted.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value as JsonValue, json};

use super::Context;
use super::view::ErrorView;
use crate::manifests::Fault;
use crate::metrics::Gauge;

/// The process answers.
pub(super) async fn alive() -> Json<JsonValue> {
    Json(json!({"status": "alive"}))
}

/// The twins answer; what is wrong with the manifests, in our eyes or in a mapper's, stands beside it and is no reason to
/// take the node away.
pub(super) async fn ready(State(context): State<Context>) -> Result<Json<JsonValue>, ErrorView> {
    let refused = context.twins.problems().await?;
    let mut faults = context.faults.all();
    faults.extend(
        refused.into_iter().map(|(id, problem)| Fault::of_device(&id, problem.to_string())),
    );
    let status = if faults.is_empty() { "ready" } else { "degraded" };
    Ok(Json(json!({"status": status, "mappers": context.mappers.count(), "problems": faults})))
}

/// Prometheus' text form.
pub(super) async fn metrics(
    State(context): State<Context>,
) -> Result<impl IntoResponse, ErrorView> {
    let counted = context.twins.counts().await?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let gauges = [
        Gauge { name: "devices", help: "devices with a twin", value: number(counted.devices) },
        Gauge {
            name: "devices_online",
            help: "devices whose state is online",
            value: number(counted.online),
        },
        Gauge {
            name: "desired_unsettled",
            help: "desired values without a final acknowledgement",
            value: number(counted.unsettled),
        },
        Gauge {
            name: "mappers",
            help: "mappers registered",
            value: number(context.mappers.count()),
        },
        Gauge {
            name: "device_problems",
            help: "devices whose description their mapper refuses",
            value: number(counted.refused),
        },
        Gauge {
            name: "manifest_problems",
            help: "things that are wrong in the manifests folder",
            value: number(context.faults.all().len()),
        },
    ];
    let text = context.metrics.render(&counted.rules, &gauges);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
