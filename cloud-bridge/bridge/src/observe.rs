//! Metrics and readiness over HTTP, for Prometheus and for whoever keeps the bridge running.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::join::Counts;
use crate::plane::View;

/// What is shown.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) view: View,
    pub(crate) counts: Arc<Counts>,
}

/// Answers at `listener` until `stop`: `/metrics`, `/healthz`, `/readyz`.
pub(crate) async fn serve(listener: TcpListener, seen: Seen, stop: CancellationToken) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(seen);
    let serving = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        error!(%error, "metrics are not served any more");
    }
}

async fn metrics(State(Seen { view, counts }): State<Seen>) -> String {
    let (devices, models) = view.objects.counts();
    let mut page = exposition::Page::default();
    view.metrics.render(&mut page, devices, models);
    counts.render(&mut page);
    page.into_text()
}

async fn ready(State(seen): State<Seen>) -> (StatusCode, &'static str) {
    if *seen.view.synced.borrow() {
        (StatusCode::OK, "ok\n")
    } else {
        let reason = "the API server has not told what there is; see the log for why\n";
        (StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}
