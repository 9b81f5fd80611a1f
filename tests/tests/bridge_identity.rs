//! The bridge's identity, resources, rights and webhook at a real API server, installed as `deploy/` has it.
#![cfg(feature = "peers")]

#[path = "../../cloud-bridge/bridge/tests/identity/contract.rs"]
#[expect(clippy::unwrap_used, reason = "a test's helpers are no test functions")]
mod contract;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cloud_bridge::identity::token::{TokenSecrets, create, take};
use cloud_bridge::identity::{Authority, Place, Secrets, Served, ServerNames};
use cloud_bridge::join::{KnownNodes, NodeLookup};
use cloud_bridge::webhook::{Definitions, serve, trust};
use device_model::{DeviceModel, Manifest, parse_manifests};
use e2e::cluster::{Cluster, client};
use e2e::wait::eventually;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::{Api, PostParams};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("..")).join(path)
}

/// Applies an overlay.
async fn install(cluster: &Cluster, overlay: &str) -> Result<()> {
    let built = cluster.kubectl(&["kustomize", &project(overlay).to_string_lossy()]).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("objects.yaml");
    fs::write(&file, built)?;
    cluster.apply(&file).await
}

/// Whether `client` may do `verb` on `resource.group/subresource`, in that namespace, else everywhere; to the one of `name`,
/// else to all.
async fn may(
    client: &kube::Client,
    verb: &str,
    what: &str,
    namespace: &str,
    name: &str,
) -> Result<bool> {
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review: SelfSubjectAccessReview = serde_json::from_value(
        json!({"spec": {"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "namespace": namespace,
            "name": name,
        }}}),
    )?;
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("an answer")?.allowed)
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_keep_keys_and_tokens_by_the_contract() -> Result<()> {
    let cluster = Cluster::start().await?;
    let client = cluster.client().await?;
    for namespace in ["keys", "tokens"] {
        cluster.kubectl(&["create", "namespace", namespace]).await?;
    }
    contract::place(Place::Secrets(Secrets::new(client.clone(), "keys"))).await;
    contract::tokens(Arc::new(TokenSecrets::new(client, "tokens"))).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_installed_rights_are_enough_and_no_more() -> Result<()> {
    let cluster = Cluster::start().await?;
    install(&cluster, "deploy/example").await?;
    let bridge = cluster.service_account("edgetwin", "cloud-bridge").await?;

    // What the identity needs, done for real with these rights alone.
    let own = client(&bridge).await?;
    let place = Place::Secrets(Secrets::new(own.clone(), "edgetwin"));
    let authority = Arc::new(Authority::open(&place).await?);
    let names = ServerNames { dns: ["bridge.example".into()].into(), ..ServerNames::default() };
    let hour = Duration::from_secs(3600);
    Served::open(authority.clone(), place.clone(), names.clone(), hour).await?;
    Served::open(authority.clone(), place, names, Duration::ZERO).await?;
    let administrator = TokenSecrets::new(cluster.client().await?, "edgetwin");
    let now = Timestamp::now();
    let end = now + SignedDuration::from_hours(1);
    let token = create(&administrator, "edge-1".parse()?, 1, end, now).await?;
    let store = TokenSecrets::new(own.clone(), "edgetwin");
    take(&store, &token.id, &token.secret, &"edge-1".parse()?, now).await?;
    let known = KnownNodes::new(own.clone()).exists(&"edge-1".parse()?).await;
    ensure!(known == Ok(false), "{known:?}");
    let stop = CancellationToken::new();
    tokio::time::timeout(PATIENCE, trust(own.clone(), authority.clone(), stop)).await?;
    let bundles = "--output=jsonpath={.webhooks[*].clientConfig.caBundle}";
    let bundles =
        cluster.kubectl(&["get", "validatingwebhookconfiguration", "edgetwin", bundles]).await?;
    ensure!(bundles.split(' ').count() == 2 && !bundles.starts_with("Cg=="), "{bundles}");

    for (verb, what, namespace, name) in [
        ("get", "devices.devices.kubeedge.io", "", ""),
        ("watch", "devicemodels.devices.kubeedge.io", "", ""),
        ("patch", "devicestatuses.devices.kubeedge.io", "", ""),
        ("delete", "devicestatuses.devices.kubeedge.io", "", ""),
        ("delete", "objectsyncs.reliablesyncs.kubeedge.io", "", ""),
        ("patch", "clusterobjectsyncs.reliablesyncs.kubeedge.io/status", "", ""),
        ("create", "nodes", "", ""),
        ("patch", "nodes/status", "", ""),
        ("update", "leases.coordination.k8s.io", "kube-node-lease", ""),
        ("watch", "leases.coordination.k8s.io", "edgetwin", ""),
        ("create", "events.events.k8s.io", "", ""),
        ("patch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", "edgetwin"),
    ] {
        ensure!(may(&own, verb, what, namespace, name).await?, "it may not {verb} {what}");
    }
    for (verb, what, namespace, name) in [
        ("update", "devices.devices.kubeedge.io", "", ""),
        ("delete", "devices.devices.kubeedge.io", "", ""),
        ("get", "secrets", "default", ""),
        ("list", "secrets", "edgetwin", ""),
        ("delete", "secrets", "edgetwin", ""),
        ("delete", "nodes", "", ""),
        ("update", "nodes", "", ""),
        ("get", "pods", "", ""),
        ("get", "configmaps", "edgetwin", ""),
        ("update", "leases.coordination.k8s.io", "kube-system", ""),
        ("patch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "", "other"),
        ("create", "serviceaccounts/token", "edgetwin", ""),
    ] {
        ensure!(!may(&own, verb, what, namespace, name).await?, "it may {verb} {what}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demos_manifests_go_to_a_cluster_as_they_are() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.apply(&project("deploy/kubernetes/crds.yaml")).await?;
    cluster.kubectl(&["create", "namespace", "demo"]).await?;
    // A field that the resources do not have would be dropped with a warning; here it is an error.
    let profiles = project("device-profiles/demo");
    let profiles = profiles.to_string_lossy();
    cluster.kubectl(&["apply", "--validate=strict", "--filename", &profiles]).await?;
    let table = cluster.kubectl(&["get", "devices", "--namespace", "demo"]).await?;
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(head == ["NAME", "NODE", "MODEL", "PROTOCOL", "AGE"], "{table}");
    ensure!(table.lines().any(|line| line.starts_with("pump ")), "{table}");

    let status = r#"{"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceStatus",
        "metadata": {"name": "pump", "namespace": "demo"}, "spec": {},
        "status": {"state": "online", "lastOnlineTime": "2026-01-01T00:00:00Z",
            "twins": [{"propertyName": "speed", "reported": {"value": "1450", "metadata": {"type": "INT"}}}]}}"#;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("status.json");
    fs::write(&file, status)?;
    cluster.apply(&file).await?;
    let table = cluster.kubectl(&["get", "devicestatuses", "--namespace", "demo"]).await?;
    ensure!(table.contains("LAST SEEN") && table.contains("online"), "{table}");
    Ok(())
}

/// What the demo's pump skid defines.
#[derive(Debug)]
struct Demo(Arc<DeviceModel>);

impl Definitions for Demo {
    fn model(&self, namespace: &str, name: &str) -> Option<Arc<DeviceModel>> {
        let metadata = &self.0.metadata;
        (metadata.namespace == namespace && metadata.name == name).then(|| self.0.clone())
    }

    fn devices_using(&self, _: &str, model: &str) -> Vec<String> {
        if model == self.0.metadata.name { vec!["pump".into()] } else { Vec::new() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_told_what_is_wrong_with_a_device() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.apply(&project("deploy/kubernetes/crds.yaml")).await?;
    cluster.kubectl(&["create", "namespace", "demo"]).await?;
    let text = fs::read_to_string(project("device-profiles/demo/pump-skid.yaml"))?;
    let manifests = parse_manifests(&text)?;
    let model = manifests.iter().find_map(|manifest| match manifest {
        Manifest::Model(model) => Some(Arc::new(model.clone())),
        Manifest::Device(_) => None,
    });
    let model = model.context("the profile has a model")?;

    // The webhook as deploy/ has it, but at this process.
    let place = tempfile::tempdir()?;
    let place = Place::Files(cloud_bridge::identity::Files::within(place.path()));
    let authority = Arc::new(Authority::open(&place).await?);
    let names = ServerNames { ips: [[127, 0, 0, 1].into()].into(), ..ServerNames::default() };
    let served = Served::open(authority.clone(), place, names, Duration::from_secs(3600)).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://{}/validate", listener.local_addr()?);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (stopped, demo) = (stop.clone(), Arc::new(Demo(model.clone())));
    tasks.spawn(async move { serve(listener, &served, demo, stopped).await });
    let configuration = project("deploy/kubernetes/components/webhook/configuration.yaml");
    let configuration = fs::read_to_string(configuration)?
        .lines()
        .map(|line| {
            if line.contains("service: {") {
                format!("    url: {url}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect::<String>()
        .replace("failurePolicy: Ignore", "failurePolicy: Fail");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("webhook.yaml");
    fs::write(&file, configuration)?;
    cluster.apply(&file).await?;
    let client = cluster.client().await?;
    tokio::time::timeout(PATIENCE, trust(client, authority, stop.clone())).await?;

    let device = async |change: &dyn Fn(&str) -> String| {
        let file = folder.path().join("device.yaml");
        fs::write(&file, change(&text))?;
        cluster.kubectl(&["apply", "--filename", &file.to_string_lossy()]).await
    };
    // The API server hears of the webhook by its own watch.
    let wrong = |text: &str| text.replace("\"1200\"", "\"fast\"");
    ensure!(wrong(&text) != text, "the profile desires another speed by now");
    eventually(PATIENCE, "a refusal", async || match device(&wrong).await {
        Ok(said) => anyhow::bail!("it was taken: {said}"),
        Err(error) => {
            let said = format!("{error:#}");
            ensure!(said.contains("spec.properties[speed].desired.value = \"fast\""), "{said}");
            Ok(())
        }
    })
    .await?;
    device(&str::to_owned).await?;
    let name = model.metadata.name.as_str();
    let deleted = cluster.kubectl(&["delete", "devicemodel", name, "--namespace", "demo"]).await;
    let said = format!("{:#}", deleted.err().context("a model in use was deleted")?);
    ensure!(said.contains("named by 1 Device(s): pump; delete them first"), "{said}");
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
