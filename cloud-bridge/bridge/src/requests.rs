//! What a node asks of the API server through its link: its own Node, its own Lease, and nothing else.
//!
//! KubeEdge's edges say these as their kubelet would. The resource was checked to be the sender's own before it comes here;
//! what may be done to it is decided here, and the bridge does it with its own rights.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_link::content::{self, Answer, Refusal};
use edge_link::words::operation;
use edge_link::{Kind, Message, ObjectKey};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde_json::Value;

/// How long the API server may take; EdgeCore waits 60 s for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The namespace of the leases of nodes.
const LEASES: &str = "kube-node-lease";
/// Labels in Kubernetes' own domains that a node may give itself; all that KubeEdge's edges do.
const OWN_LABELS: [&str; 7] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node-role.kubernetes.io/agent",
    "node-role.kubernetes.io/edge",
];

/// Does what nodes ask for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests(kube::Client);

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    /// Over `client`.
    pub(crate) fn new(client: kube::Client) -> Self {
        Self(client)
    }

    /// The content of the answer to `message`, which is about `key`, the sender's own; `None`: it is not answered.
    pub(crate) async fn answer(&self, key: &ObjectKey, message: &Message) -> Option<Value> {
        let doing = self.act(key, message);
        let late =
            || refused(&Refusal::new("Timeout", 504, "the API server did not answer in time"));
        tokio::time::timeout(PATIENCE, doing).await.unwrap_or_else(|_| Some(late()))
    }

    async fn act(&self, key: &ObjectKey, message: &Message) -> Option<Value> {
        let said = message.route.operation.as_deref().unwrap_or_default();
        let name = key.name();
        let kind = key.kind();
        let is = |kinds: &[Kind]| kinds.contains(kind);
        match said {
            operation::INSERT if is(&[Kind::NODE]) => {
                Some(whole(self.register(name, message).await))
            }
            operation::UPDATE if is(&[Kind::NODE]) => {
                Some(short(self.relabel(name, message).await))
            }
            operation::QUERY if is(&[Kind::NODE]) => Some(bare(self.nodes().get(name).await)),
            operation::PATCH if is(&[Kind::NODE_PATCH]) => {
                Some(whole(self.patch_status(name, message).await))
            }
            operation::QUERY if is(&[Kind::LEASE]) => Some(whole(self.lease(name).await)),
            operation::INSERT if is(&[Kind::LEASE]) => {
                Some(whole(self.make_lease(name, message).await))
            }
            operation::UPDATE if is(&[Kind::LEASE]) => {
                Some(whole(self.renew_lease(name, message).await))
            }
            operation::QUERY => Some(refused(&Refusal::new(
                "Forbidden",
                403,
                &format!(
                    "{key} is not for nodes; this cloud keeps their Nodes, Leases and devices"
                ),
            ))),
            _ => None,
        }
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.0.clone())
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.0.clone(), LEASES)
    }

    async fn register(&self, name: &str, message: &Message) -> Result<Node, Refusal> {
        let mut node: Node = read(message)?;
        node.metadata.name = Some(name.to_owned());
        node.metadata.labels = node.metadata.labels.map(own_labels);
        // What others know of a node is not the node's to say.
        node.metadata.owner_references = None;
        node.metadata.finalizers = None;
        node.metadata.resource_version = None;
        let created = self.nodes().create(&PostParams::default(), &node).await.map_err(refusal)?;
        // The status of a new object is not taken with it.
        let Some(status) = &node.status else { return Ok(created) };
        let patch = serde_json::json!({ "status": status });
        let patched = self.patch(name, &patch).await;
        Ok(patched.unwrap_or(created))
    }

    async fn relabel(&self, name: &str, message: &Message) -> Result<Node, Refusal> {
        let node: Node = read(message)?;
        let labels = node.metadata.labels.map(own_labels).unwrap_or_default();
        let annotations = node.metadata.annotations.unwrap_or_default();
        let patch = serde_json::json!({"metadata": {"labels": labels, "annotations": annotations}});
        let params = PatchParams::default();
        self.nodes().patch(name, &params, &Patch::Strategic(&patch)).await.map_err(refusal)
    }

    async fn patch_status(&self, name: &str, message: &Message) -> Result<Node, Refusal> {
        let patch: Value =
            content::read(&message.content).map_err(|error| bad(&error.to_string()))?;
        // Only the status goes to the status; EdgeCore's first patch is an empty one.
        let patch = serde_json::json!({"status": patch.get("status").cloned().unwrap_or_default()});
        self.patch(name, &patch).await
    }

    async fn patch(&self, name: &str, patch: &Value) -> Result<Node, Refusal> {
        let params = PatchParams::default();
        self.nodes().patch_status(name, &params, &Patch::Strategic(patch)).await.map_err(refusal)
    }

    async fn lease(&self, name: &str) -> Result<Lease, Refusal> {
        self.leases().get(name).await.map_err(refusal)
    }

    async fn make_lease(&self, name: &str, message: &Message) -> Result<Lease, Refusal> {
        let lease = own_lease(name, read(message)?);
        self.leases().create(&PostParams::default(), &lease).await.map_err(refusal)
    }

    async fn renew_lease(&self, name: &str, message: &Message) -> Result<Lease, Refusal> {
        let lease = own_lease(name, read(message)?);
        self.leases().replace(name, &PostParams::default(), &lease).await.map_err(refusal)
    }
}

/// Labels that a node may give itself: any but those in Kubernetes' domains, by which workloads are kept away from nodes
/// that are not trusted.
fn own_labels(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let reserved = |label: &str| {
        let domain = label.split_once('/').map_or("", |(domain, _)| domain);
        ["kubernetes.io", "k8s.io"].iter().any(|end| {
            domain == *end || domain.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'))
        })
    };
    labels
        .into_iter()
        .filter(|(label, _)| OWN_LABELS.contains(&label.as_str()) || !reserved(label))
        .collect()
}

fn own_lease(name: &str, mut lease: Lease) -> Lease {
    lease.metadata.name = Some(name.to_owned());
    lease.metadata.namespace = Some(LEASES.to_owned());
    lease
}

fn read<T: serde::de::DeserializeOwned>(message: &Message) -> Result<T, Refusal> {
    content::read(&message.content).map_err(|error| bad(&error.to_string()))
}

fn bad(reason: &str) -> Refusal {
    Refusal::new("BadRequest", 400, reason)
}

/// What the API server said, as the edge is told it.
fn refusal(error: kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => Refusal::new(&status.reason, status.code, &status.message),
        other => Refusal::new("InternalError", 500, &format!("the API server: {other}")),
    }
}

/// `{"Object":…,"Err":…}`.
fn whole<T: Serialize>(answer: Result<T, Refusal>) -> Value {
    Answer::to_content(&answer.map(|object| content::json(&object)))
}

/// The object alone, or the refusal.
fn bare(answer: Result<Node, kube::Error>) -> Value {
    match answer {
        Ok(node) => content::json(&node),
        Err(error) => refused(&refusal(error)),
    }
}

/// That it is done, or the refusal.
fn short<T>(answer: Result<T, Refusal>) -> Value {
    match answer {
        Ok(_) => "OK".into(),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Value {
    refusal.to_content()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gives_itself_labels_of_its_own_and_none_that_keep_workloads_away() {
        let labels = [
            ("site", "plant-a"),
            ("example.org/line", "3"),
            ("kubernetes.io/hostname", "edge-1"),
            ("node-role.kubernetes.io/edge", ""),
            ("node-role.kubernetes.io/control-plane", ""),
            ("node-restriction.kubernetes.io/secure", "yes"),
            ("topology.k8s.io/zone", "a"),
            ("notkubernetes.io/x", "y"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let kept: Vec<_> = own_labels(labels.into()).into_keys().collect();
        let wanted = [
            "example.org/line",
            "kubernetes.io/hostname",
            "node-role.kubernetes.io/edge",
            "notkubernetes.io/x",
            "site",
        ];
        assert_eq!(kept, wanted);
    }
}
