//! The node itself in the cloud: registered, its status told, its lease renewed. One request is under way at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use device_model::Timestamp;
use edge_link::content::{self, Answer, Refusal};
use edge_link::words::{group, operation, source};
use edge_link::{Kind, Look, Message, MessageId, Resource, Route};
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::machine::Machine;
use crate::clock::now;

/// How often the lease is renewed, and how long it lasts: a kubelet's own.
const RENEW: Duration = Duration::from_secs(10);
const LEASE: u64 = 40;
/// How often the status is told though nothing changed: a kubelet's own.
const STATUS: Duration = Duration::from_secs(300);
/// An answer that takes longer does not come any more.
const PATIENCE: Duration = Duration::from_secs(15);
/// After a refusal.
const REST: Duration = Duration::from_secs(10);
/// The namespace of the leases of nodes.
const LEASES: &str = "kube-node-lease";
/// Keeps pods away, which this node does not run.
const NO_PODS: &str = "edgetwin.io/no-pods";

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Register,
    Read,
    Relabel,
    Status,
    ReadLease,
    MakeLease,
    RenewLease,
}

/// What the cloud knows of this node.
pub(super) struct Node {
    name: String,
    labels: BTreeMap<String, String>,
    machine: Machine,
    address: Option<IpAddr>,
    /// Since when it is Ready: since the link began.
    since: Timestamp,
    pending: Option<(MessageId, Asked, Instant)>,
    /// The Node's UID, once it is known to exist.
    uid: Option<String>,
    /// The Node is there, and may have other labels than this node gives itself.
    relabel: bool,
    lease: Option<Json>,
    lease_missing: bool,
    status_due: Instant,
    lease_due: Instant,
    rest_until: Instant,
}

impl Node {
    pub(super) fn new(name: &str, labels: &BTreeMap<String, String>) -> Self {
        let start = Instant::now();
        Self {
            name: name.to_owned(),
            labels: labels.clone(),
            machine: Machine::here(),
            address: None,
            since: now(),
            pending: None,
            uid: None,
            relabel: false,
            lease: None,
            lease_missing: false,
            status_due: start,
            lease_due: start,
            rest_until: start,
        }
    }

    /// A link begins; this node has `address` on it.
    pub(super) fn connect(&mut self, address: Option<IpAddr>) {
        let begin = Instant::now();
        (self.address, self.since) = (address, now());
        (self.pending, self.uid, self.lease) = (None, None, None);
        (self.relabel, self.lease_missing) = (false, false);
        (self.status_due, self.lease_due, self.rest_until) = (begin, begin, begin);
    }

    /// Whether the cloud has registered it over this link.
    pub(super) fn is_registered(&self) -> bool {
        self.uid.is_some()
    }

    /// When [`Node::next`] has something.
    pub(super) fn due(&self) -> Instant {
        match &self.pending {
            Some((_, _, until)) => *until,
            None if self.uid.is_none() || self.relabel => self.rest_until,
            None => self.status_due.min(self.lease_due).max(self.rest_until),
        }
    }

    /// The next request to send now, if any.
    pub(super) fn next(&mut self) -> Option<Message> {
        let now = Instant::now();
        if let Some((_, asked, until)) = &self.pending {
            if *until > now {
                return None;
            }
            // CloudCore does not answer a change of labels that failed.
            if *asked != Asked::Relabel {
                debug!(?asked, "the cloud does not answer; it is asked again");
            }
            self.pending = None;
        }
        if self.rest_until > now {
            return None;
        }
        let asked = match &self.uid {
            None => Asked::Register,
            Some(_) if std::mem::take(&mut self.relabel) => Asked::Relabel,
            Some(_) if self.status_due <= now => Asked::Status,
            Some(_) if self.lease_due > now => return None,
            Some(_) if self.lease.is_some() => Asked::RenewLease,
            Some(_) if self.lease_missing => Asked::MakeLease,
            Some(_) => Asked::ReadLease,
        };
        Some(self.ask(asked))
    }

    fn ask(&mut self, asked: Asked) -> Message {
        let (operation, namespace, kind, content) = match asked {
            Asked::Register => (operation::INSERT, None, Kind::NODE, self.object()),
            Asked::Read => (operation::QUERY, None, Kind::NODE, Json::Null),
            Asked::Relabel => (operation::UPDATE, None, Kind::NODE, self.object()),
            Asked::Status => {
                let patch = json!({ "status": self.status() });
                (operation::PATCH, None, Kind::NODE_PATCH, patch.to_string().into())
            }
            Asked::ReadLease => (operation::QUERY, Some(LEASES), Kind::LEASE, Json::Null),
            Asked::MakeLease => (operation::INSERT, Some(LEASES), Kind::LEASE, self.new_lease()),
            Asked::RenewLease => {
                let mut lease = self.lease.clone().unwrap_or_default();
                lease["spec"]["renewTime"] = micros(now()).into();
                (operation::UPDATE, Some(LEASES), Kind::LEASE, lease)
            }
        };
        let resource = Resource::object(namespace, kind, &self.name).unwrap_or(Resource::Node);
        let route = Route::new(source::EDGED, group::META, operation, &resource);
        let id = MessageId::random();
        self.pending = Some((id.clone(), asked, Instant::now() + PATIENCE));
        Message::new(id, now(), route, content)
    }

    /// Takes an answer; whether it was one to this node's requests. It may want another request sent.
    pub(super) fn answer(&mut self, message: &Message) -> (bool, Option<Message>) {
        let is_it = |(id, _, _): &mut (MessageId, Asked, Instant)| {
            message.header.parent.as_ref() == Some(id)
        };
        let Some((_, asked, _)) = self.pending.take_if(is_it) else { return (false, None) };
        let again = match content::answer(message) {
            Ok(answer) => {
                self.done(asked, answer);
                None
            }
            Err(refusal) => self.refused(asked, &refusal),
        };
        (true, again.map(|asked| self.ask(asked)))
    }

    fn done(&mut self, asked: Asked, answer: Answer) {
        let begin = Instant::now();
        let Answer::Object(object) = answer else { return };
        match asked {
            Asked::Register | Asked::Read => {
                self.uid = Look::at(&object).uid.map(|uid| uid.to_string());
                let labels = &object["metadata"]["labels"];
                self.relabel = self.own_labels().iter().any(|(key, value)| labels[key] != *value);
                info!(node = self.name, "the cloud has registered this node");
            }
            Asked::Relabel => {}
            Asked::Status => self.status_due = begin + STATUS,
            Asked::ReadLease => self.lease = Some(object),
            Asked::MakeLease | Asked::RenewLease => {
                (self.lease, self.lease_missing) = (Some(object), false);
                self.lease_due = begin + RENEW;
            }
        }
    }

    fn refused(&mut self, asked: Asked, refusal: &Refusal) -> Option<Asked> {
        match asked {
            Asked::Register if refusal.is_already_there() => return Some(Asked::Read),
            // The Node was deleted: it is made again.
            Asked::Read | Asked::Status | Asked::Relabel if refusal.is_not_found() => {
                self.uid = None;
                return None;
            }
            Asked::ReadLease if refusal.is_not_found() => {
                self.lease_missing = true;
                return None;
            }
            // Somebody else wrote it, or it is gone: what is there now is read first.
            Asked::MakeLease | Asked::RenewLease
                if refusal.is_not_found()
                    || refusal.is_already_there()
                    || refusal.reason == "Conflict" =>
            {
                (self.lease, self.lease_missing) = (None, false);
                return None;
            }
            _ => {}
        }
        warn!(?asked, %refusal, "the cloud refuses what this node says of itself; it is tried again");
        self.rest_until = Instant::now() + REST;
        None
    }

    fn own_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for (key, value) in [
            ("beta.kubernetes.io/arch", self.machine.arch),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", self.machine.arch),
            ("kubernetes.io/hostname", &self.name),
            ("kubernetes.io/os", "linux"),
            ("node-role.kubernetes.io/agent", ""),
            ("node-role.kubernetes.io/edge", ""),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        labels
    }

    fn object(&self) -> Json {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.own_labels()},
            "spec": {"taints": [{"key": NO_PODS, "effect": "NoSchedule"}]},
            "status": self.status(),
        })
    }

    fn status(&self) -> Json {
        let heartbeat = now().to_string();
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": heartbeat, "lastTransitionTime": self.since.to_string(),
            })
        };
        let hostname = json!({"type": "Hostname", "address": self.name});
        let address = self.address.map(|ip| json!({"type": "InternalIP", "address": ip}));
        json!({
            "addresses": address.into_iter().chain([hostname]).collect::<Vec<_>>(),
            "capacity": self.machine.capacity,
            "allocatable": self.machine.capacity,
            "nodeInfo": self.machine.info,
            "conditions": [
                condition("Ready", "True", "EdgetwinReady", "the agent is linked"),
                condition("MemoryPressure", "False", "Unwatched", "this node runs no pods"),
                condition("DiskPressure", "False", "Unwatched", "this node runs no pods"),
                condition("PIDPressure", "False", "Unwatched", "this node runs no pods"),
            ],
        })
    }

    fn new_lease(&self) -> Json {
        let owner = self.uid.as_ref().map(
            |uid| json!([{"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": uid}]),
        );
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": LEASES, "ownerReferences": owner},
            "spec": {
                "holderIdentity": self.name,
                "leaseDurationSeconds": LEASE,
                "renewTime": micros(now()),
            },
        })
    }
}

/// A `MicroTime` of Kubernetes: six digits of a second, always.
fn micros(time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.split(['.', 'Z']).next().unwrap_or_default();
    let micros = time.as_millis().rem_euclid(1000) * 1000;
    format!("{seconds}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use edge_link::content::Refusal;

    use super::*;

    fn node() -> Node {
        Node::new("edge-1", &BTreeMap::from([("site".into(), "a".into())]))
    }

    /// What it asks next, and the answer to that.
    fn step(node: &mut Node, content: Json) -> (String, Option<Message>) {
        let asked = node.next().expect("something to ask");
        (told(&asked), reply(node, &asked, content))
    }

    fn told(asked: &Message) -> String {
        let route = &asked.route;
        format!("{} {}", route.operation.as_deref().unwrap(), route.resource.as_deref().unwrap())
    }

    fn reply(node: &mut Node, asked: &Message, content: Json) -> Option<Message> {
        let answer = asked.response(MessageId::random(), now(), content).unwrap();
        let (taken, again) = node.answer(&answer);
        assert!(taken);
        assert!(!node.answer(&answer).0, "once");
        again
    }

    fn object() -> Json {
        json!({"Object": {"metadata": {"name": "edge-1", "uid": "u"}}, "Err": null})
    }

    fn refusal(reason: &str, code: u16) -> Json {
        Answer::to_content(&Err(Refusal::new(reason, code, "")))
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_registered_told_and_kept_alive() {
        let mut node = node();
        node.connect(Some([127, 0, 0, 1].into()));
        assert_eq!(step(&mut node, object()).0, "insert null/node/edge-1");
        assert_eq!(step(&mut node, "OK".into()).0, "update null/node/edge-1", "its labels");
        assert_eq!(step(&mut node, object()).0, "patch null/nodepatch/edge-1");
        let lease = "kube-node-lease/lease/edge-1";
        assert_eq!(step(&mut node, refusal("NotFound", 404)).0, format!("query {lease}"));
        assert_eq!(step(&mut node, object()).0, format!("insert {lease}"));
        assert!(node.next().is_none());
        tokio::time::advance(RENEW).await;
        assert_eq!(step(&mut node, object()).0, format!("update {lease}"));
        tokio::time::advance(RENEW).await;
        assert_eq!(step(&mut node, refusal("Conflict", 409)).0, format!("update {lease}"));
        assert_eq!(step(&mut node, object()).0, format!("query {lease}"));
        assert_eq!(step(&mut node, object()).0, format!("update {lease}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_there_is_read_and_one_that_was_deleted_is_registered_again() {
        let mut node = node();
        node.connect(None);
        let (_, again) = step(&mut node, refusal("AlreadyExists", 409));
        let read = again.expect("it reads what is there");
        assert_eq!(told(&read), "query null/node/edge-1");
        let labels = json!({"metadata": {"uid": "u", "labels": node.own_labels()}});
        reply(&mut node, &read, labels);
        assert_eq!(step(&mut node, refusal("NotFound", 404)).0, "patch null/nodepatch/edge-1");
        assert_eq!(step(&mut node, object()).0, "insert null/node/edge-1");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_or_not_answered_is_asked_again_after_a_while() {
        let mut node = node();
        node.connect(None);
        step(&mut node, refusal("Forbidden", 403));
        assert!(node.next().is_none());
        tokio::time::advance(REST).await;
        assert!(node.next().is_some());
        assert!(node.next().is_none(), "it waits for an answer");
        tokio::time::advance(PATIENCE).await;
        assert!(node.next().is_some());
    }

    #[test]
    fn a_micro_time_has_six_digits() {
        assert_eq!(micros(Timestamp::from_millis(1_000)), "1970-01-01T00:00:01.000000Z");
        assert_eq!(micros(Timestamp::from_millis(1_234)), "1970-01-01T00:00:01.234000Z");
    }
}
