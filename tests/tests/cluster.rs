//! The real control plane that other tests stand on: it keeps what it took, and nobody shares it.
#![cfg(feature = "peers")]

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::Cluster;
use e2e::wait::eventually;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What a controller does takes seconds; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

const LAMP: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.test.edgetwin.io}
spec:
  group: test.edgetwin.io
  scope: Namespaced
  names: {plural: lamps, singular: lamp, kind: Lamp}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {on: {type: boolean}}}
          status: {type: object, properties: {hours: {type: integer}}}
"#;

const ROLE: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}
- {kind: ServiceAccount, name: reader, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: default}
";

const NODE: &str = r"
apiVersion: v1
kind: Node
metadata: {name: gateway}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: gateway, namespace: kube-node-lease}
spec: {holderIdentity: gateway, leaseDurationSeconds: 4}
";

/// Has `text` applied.
async fn apply(cluster: &Cluster, text: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("objects.yaml");
    fs::write(&file, text)?;
    cluster.apply(&file).await
}

/// Reads the config map `kept` as the user of that kubeconfig.
async fn read(cluster: &Cluster, kubeconfig: &Path) -> Result<String> {
    let value = ["get", "configmap", "kept", "--output=jsonpath={.data.value}"];
    cluster.kubectl_as(kubeconfig, &value).await
}

#[tokio::test]
async fn a_killed_api_server_comes_back_with_what_it_had() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    println!("ready after {:?}", cluster.ready_after());
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=value=7"]).await?;
    let before = cluster.address();
    cluster.crash_api_server()?;
    assert!(read(&cluster, cluster.kubeconfig()).await.is_err());
    assert!(cluster.usage().is_err());
    cluster.start_api_server().await?;
    assert_eq!(cluster.address(), before);
    assert_eq!(read(&cluster, cluster.kubeconfig()).await?, "7");
    assert!(cluster.usage()?.resident > 0);
    Ok(())
}

#[tokio::test]
async fn two_clusters_know_nothing_of_each_other() -> Result<()> {
    let (one, other) = tokio::try_join!(Cluster::start(), Cluster::start())?;
    println!("ready after {:?} and {:?}", one.ready_after(), other.ready_after());
    one.kubectl(&["create", "configmap", "kept", "--from-literal=value=7"]).await?;
    assert_eq!(read(&one, one.kubeconfig()).await?, "7");
    let error = read(&other, other.kubeconfig()).await.unwrap_err().to_string();
    assert!(error.contains("NotFound"), "{error}");
    // Who may do everything there is nobody here.
    let server = format!("--server=https://{}", one.address());
    let authority = format!("--certificate-authority={}", one.authority().display());
    let stranger = [&server, &authority, "get", "configmaps"];
    let error = one.kubectl_as(other.kubeconfig(), &stranger).await.unwrap_err().to_string();
    assert!(error.contains("Unauthorized"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_cluster_ends_with_a_test_that_panics() -> Result<()> {
    let cluster = Cluster::start().await?;
    let (address, file) = (cluster.address(), cluster.kubeconfig().to_owned());
    let mut tests = JoinSet::new();
    tests.spawn(async move {
        assert!(cluster.usage().is_err(), "it runs, so this test panics");
    });
    assert!(tests.join_next().await.context("a test")?.unwrap_err().is_panic());
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(!file.exists());
    Ok(())
}

#[tokio::test]
async fn users_and_accounts_may_do_what_applied_roles_allow() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=value=7"]).await?;
    let user = cluster.user("somebody", Some("readers"))?;
    let error = read(&cluster, &user).await.unwrap_err().to_string();
    assert!(error.contains("Forbidden"), "{error}");
    apply(&cluster, ROLE).await?;
    let account = cluster.service_account("default", "reader").await?;
    for reader in [user, account] {
        // The API server learns of a role a moment after it has taken it.
        let value = eventually(PATIENCE, "the role", async || read(&cluster, &reader).await);
        assert_eq!(value.await?, "7");
        let error = cluster.kubectl_as(&reader, &["delete", "configmap", "kept"]).await;
        assert!(error.unwrap_err().to_string().contains("Forbidden"));
    }
    Ok(())
}

#[tokio::test]
async fn requests_for_a_resource_of_ours_are_counted() -> Result<()> {
    let cluster = Cluster::start().await?;
    apply(&cluster, LAMP).await?;
    let lamp =
        "{apiVersion: test.edgetwin.io/v1, kind: Lamp, metadata: {name: l}, spec: {on: true}}";
    apply(&cluster, lamp).await?;
    for patch in [r#"{"status":{"hours":1}}"#, r#"{"status":{"hours":2}}"#] {
        let patch =
            ["patch", "lamp", "l", "--subresource=status", "--type=merge", "--patch", patch];
        cluster.kubectl(&patch).await?;
    }
    assert_eq!(cluster.requests("POST", "lamps").await?, 1);
    assert_eq!(cluster.requests("PATCH", "lamps").await?, 0);
    assert_eq!(cluster.requests("PATCH", "lamps/status").await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_node_that_renews_no_lease_becomes_unknown() -> Result<()> {
    let flags = [
        "--node-monitor-period=500ms",
        "--node-monitor-grace-period=4s",
        "--node-startup-grace-period=4s",
    ];
    let cluster = Cluster::start().await?.with_controllers_that(&flags).await?;
    apply(&cluster, NODE).await?;
    let ready = [
        "get",
        "node",
        "gateway",
        "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}",
    ];
    eventually(PATIENCE, "the node's condition", async || {
        let ready = cluster.kubectl(&ready).await?;
        ensure!(ready == "Unknown", "{ready:?}");
        Ok(())
    })
    .await
    .with_context(|| cluster.log("kube-controller-manager"))?;
    for (name, usage) in cluster.usage_of_all()? {
        println!(
            "{name}: {} MB, largest {} MB",
            usage.resident / 1_000_000,
            usage.peak / 1_000_000
        );
    }
    Ok(())
}
