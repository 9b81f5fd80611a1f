//! Tells the API server whom to trust when it asks: the authority's certificate goes into the webhook's configuration.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::identity::{Authority, pem};

/// The configuration's name.
pub const CONFIGURATION: &str = "edgetwin";
/// Its webhooks.
pub const WEBHOOKS: [&str; 2] = ["definitions.edgetwin.io", "references.edgetwin.io"];
/// How long the API server may take for one try.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes the authority's certificate into the webhook's configuration, and tries until it is there or `stop` comes.
pub async fn trust(client: kube::Client, authority: Arc<Authority>, stop: CancellationToken) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let bundle = STANDARD.encode(pem("CERTIFICATE", authority.ca_der()));
    let webhooks = WEBHOOKS.map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}}));
    let patch = Patch::Strategic(json!({"webhooks": webhooks}));
    let params = PatchParams::default();
    let mut rests = ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(60))
        .with_jitter()
        .without_max_times()
        .build();
    let mut failing = false;
    loop {
        let patching = tokio::time::timeout(PATIENCE, api.patch(CONFIGURATION, &params, &patch));
        let error = match stop.run_until_cancelled(patching).await {
            None => return,
            Some(Ok(Ok(_))) => return info!("the API server knows whom to trust when it asks"),
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(_)) => format!("it took longer than {PATIENCE:?}"),
        };
        // Once, not once per try.
        if !std::mem::replace(&mut failing, true) {
            warn!(
                error,
                "cannot write ValidatingWebhookConfiguration {CONFIGURATION}; trying again"
            );
        }
        let rest = rests.next().unwrap_or(Duration::from_secs(60));
        if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
            return;
        }
    }
}
