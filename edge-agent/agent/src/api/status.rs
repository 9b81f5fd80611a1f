//! Whether the agent lives, whether it is well, and what it counted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use exposition::Page;
use tokio::time::timeout;

use super::Context;
use super::request::Parameters;
use super::view::{
    AliveView, ErrorView, Life, ManifestProblem, Part, PartStatus, Readiness, ReadyView,
};
use crate::clock::clocks;
use crate::manifests::Fault;
use crate::metrics::Gauge;

/// Longest wait of `/readyz` for the twins, which wait for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the process answers
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "alive",
    responses((status = 200, description = "It does", body = AliveView)),
)]
pub(super) async fn alive(parameters: Parameters) -> Result<Json<AliveView>, ErrorView> {
    parameters.only(&[])?;
    Ok(Json(AliveView { status: Life::Alive }))
}

/// How the agent is, and each part of it
///
/// What is wrong with a manifest, in the agent's eyes or in a mapper's, stands beside it and is no reason to take the
/// node away.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    responses(
        (status = 200, description = "ready or degraded", body = ReadyView),
        (status = 503, description = "failed or stopping", body = ReadyView),
    ),
)]
pub(super) async fn ready(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<(StatusCode, Json<ReadyView>), ErrorView> {
    parameters.only(&[])?;
    let asked = timeout(PATIENCE, context.twins.problems()).await;
    let silent = asked.is_err();
    // The agent stops, or the store hangs: the status says so.
    let refused = asked.map(Result::unwrap_or_default).unwrap_or_default();
    let mut faults = context.faults.all();
    faults.extend(
        refused.into_iter().map(|(id, problem)| Fault::of_device(&id, problem.to_string())),
    );
    let mut parts = context.health.all();
    if let Some(store) = parts.iter_mut().find(|part| silent && part.name == Part::Store) {
        store.status = PartStatus::Failed;
        store.reason = format!("the twins do not answer within {PATIENCE:?}");
        store.remedy = "see whether the disk answers, and what the log says".into();
    }
    let worst = parts.iter().map(|part| part.status).max().unwrap_or(PartStatus::Ok);
    let status = match worst {
        _ if context.stop.is_cancelled() => Readiness::Stopping,
        _ if silent => Readiness::Failed,
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

/// Counters in Prometheus' text form
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    responses((status = 200, description = "The counters", body = String, content_type = "text/plain")),
)]
pub(super) async fn metrics(
    State(context): State<Context>,
    parameters: Parameters,
) -> Result<impl IntoResponse, ErrorView> {
    parameters.only(&[])?;
    let counted = context.twins.counts().await?;
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let link = context.uplink.as_ref().map(|uplink| uplink.status.figures());
    let mut gauges = vec![
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
            name: "bus_subscriptions",
            help: "stored subscriptions to topics of applications",
            value: number(context.subscriptions.wanted().len()),
        },
        Gauge {
            name: "oldest_reading_seconds",
            help: "age of the reported value that was refreshed the longest time ago",
            value: counted
                .oldest_reading
                .map_or(0, |oldest| clocks().steady.since(oldest).as_secs()),
        },
        Gauge {
            name: "twins_waiting",
            help: "requests that wait for the twins and their store",
            value: number(context.twins.waiting()),
        },
        Gauge {
            name: "store_failing",
            help: "whether the store takes nothing at present",
            value: u64::from(context.twins.store_health().fault().is_some()),
        },
    ];
    if let Some(link) = link {
        gauges.extend([
            Gauge {
                name: "cloud_linked",
                help: "whether there is a link to the cloud",
                value: u64::from(link.linked),
            },
            Gauge {
                name: "outbox_devices",
                help: "devices that the cloud does not have as they are",
                value: number(link.behind),
            },
            Gauge {
                name: "outbox_oldest_seconds",
                help: "for how long the device waits that waits longest for the cloud",
                value: link.oldest.as_secs(),
            },
            Gauge {
                name: "cloud_links",
                help: "links to the cloud since the start",
                value: link.links,
            },
            Gauge {
                name: "cloud_confirmed",
                help: "reports that the cloud confirmed since the start",
                value: link.confirmed,
            },
        ]);
    }
    let text = context.metrics.render(&counted.rules, context.twins.store_health(), &gauges);
    Ok(([(CONTENT_TYPE, Page::MEDIA_TYPE)], text))
}
