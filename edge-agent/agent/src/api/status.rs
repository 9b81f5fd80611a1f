//! Whether the agent lives, whether it is well, and what it counted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value as JsonValue, json};

use super::Context;
use super::view::{ErrorView, ManifestProblem, PartStatus, Readiness, ReadyView};
use crate::manifests::Fault;
use crate::metrics::Gauge;

/// The process answers.
pub(super) async fn alive() -> Json<JsonValue> {
    Json(json!({"status": "alive"}))
}

/// How each part is. What is wrong with a manifest, in our eyes or in a mapper's, stands beside it and is no reason to
/// take the node away.
pub(super) async fn ready(
    State(context): State<Context>,
) -> Result<(StatusCode, Json<ReadyView>), ErrorView> {
    let refused = context.twins.problems().await?;
    let mut faults = context.faults.all();
    faults.extend(
        refused.into_iter().map(|(id, problem)| Fault::of_device(&id, problem.to_string())),
    );
    let parts = context.health.all();
    let worst = parts.iter().map(|part| part.status).max().unwrap_or(PartStatus::Ok);
    let status = match worst {
        _ if context.stop.is_cancelled() => Readiness::Stopping,
        PartStatus::Failed => Readiness::Failed,
        PartStatus::Ok if faults.is_empty() => Readiness::Ready,
        PartStatus::Ok | PartStatus::Degraded => Readiness::Degraded,
    };
    let code = match status {
        Readiness::Ready | Readiness::Degraded => StatusCode::OK,
        Readiness::Failed | Readiness::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    let problems = faults.into_iter().map(|Fault { file, device, message }| ManifestProblem {
        file,
        device,
        message,
    });
    let mappers = context.mappers.count();
    Ok((code, Json(ReadyView { status, parts, mappers, problems: problems.collect() })))
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
        Gauge {
            name: "store_failing",
            help: "whether the store takes nothing at present",
            value: u64::from(context.twins.store_health().fault().is_some()),
        },
    ];
    let failures = context.twins.store_health().failures();
    let text = context.metrics.render(&counted.rules, failures, &gauges);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}
