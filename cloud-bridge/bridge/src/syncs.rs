//! ObjectSyncs: what EdgeCores have, as they acknowledged it. An agent of ours says itself what it has.
//!
//! They are KubeEdge's: named `<node>.<uid>`, in the object's namespace, or cluster-wide for a Node. So a CloudCore can go on
//! from where a bridge stopped, and a bridge from where a CloudCore did.

use edge_link::content::Holding;
use edge_link::down::Acknowledged;
use edge_link::{Kind, ObjectKey, Uid, Version};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch,
    PatchParams, PostParams,
};
use kube::{Client, ResourceExt};
use serde_json::json;

/// What stands for "told of it, and nothing acknowledged yet".
const NEVER: &str = "0";
/// Records that are read in one request.
const PAGE: u32 = 500;

/// Which mapper an object was for, in a record of ours: an EdgeCore that is told of its end tells that mapper alone, and the
/// object itself is gone by then.
const PROTOCOL: &str = "edgetwin.io/protocol";

/// An object that a node has.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) holding: Holding,
    /// Of a device or a model, where the record says it.
    pub(crate) protocol: Option<String>,
}

/// The records of EdgeCores. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Syncs(Client);

impl std::fmt::Debug for Syncs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Syncs").finish_non_exhaustive()
    }
}

impl Syncs {
    /// Over `client`.
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// What `node` has by these records.
    pub(crate) async fn held(&self, node: &str) -> kube::Result<Vec<Held>> {
        let mut held = Vec::new();
        for resource in [of("ObjectSync"), of("ClusterObjectSync")] {
            let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource);
            let mut params = ListParams::default().limit(PAGE);
            loop {
                let page = api.list(&params).await?;
                held.extend(page.items.iter().filter_map(|record| read(record, node)));
                match page.metadata.continue_.filter(|token| !token.is_empty()) {
                    Some(token) => params.continue_token = Some(token),
                    None => break,
                }
            }
        }
        Ok(held)
    }

    /// `node` is about to be told of that life of `key`: a later bridge must know that it may have it. `protocol` is that of a
    /// device or a model.
    pub(crate) async fn begin(
        &self,
        node: &str,
        key: &ObjectKey,
        uid: &Uid,
        protocol: Option<&str>,
    ) -> kube::Result<()> {
        let (api, resource) = self.place(key);
        let name = name(node, uid);
        let mut record = DynamicObject::new(&name, &resource);
        record.metadata.namespace = key.namespace().map(str::to_owned);
        record.metadata.annotations =
            protocol.map(|protocol| [(PROTOCOL.to_owned(), protocol.to_owned())].into());
        record.data = json!({"spec": {
            "objectAPIVersion": if *key.kind() == Kind::NODE { "v1" } else { device_model::API_VERSION },
            "objectKind": kind_name(key.kind()),
            "objectName": key.name(),
        }});
        match api.create(&PostParams::default(), &record).await {
            Ok(_) => self.set(&api, &name, NEVER).await,
            // Another bridge was faster, or an earlier one.
            Err(kube::Error::Api(error)) if error.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `node` has what it acknowledged.
    pub(crate) async fn note(&self, node: &str, told: &Acknowledged) -> kube::Result<()> {
        let (api, _) = self.place(&told.key);
        let name = name(node, &told.uid);
        let done = match &told.version {
            Some(version) => self.set(&api, &name, &version.resource_version).await,
            None => api.delete(&name, &DeleteParams::default()).await.map(drop),
        };
        match done {
            Err(kube::Error::Api(error)) if error.code == 404 => match &told.version {
                // Somebody cleared it away.
                Some(version) => {
                    self.begin(node, &told.key, &told.uid, None).await?;
                    self.set(&api, &name, &version.resource_version).await
                }
                None => Ok(()),
            },
            other => other,
        }
    }

    async fn set(&self, api: &Api<DynamicObject>, name: &str, version: &str) -> kube::Result<()> {
        let patch = json!({"status": {"objectResourceVersion": version}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
    }

    fn place(&self, key: &ObjectKey) -> (Api<DynamicObject>, ApiResource) {
        match key.namespace() {
            Some(namespace) => {
                let resource = of("ObjectSync");
                (Api::namespaced_with(self.0.clone(), namespace, &resource), resource)
            }
            None => {
                let resource = of("ClusterObjectSync");
                (Api::all_with(self.0.clone(), &resource), resource)
            }
        }
    }
}

fn of(kind: &str) -> ApiResource {
    let kind = GroupVersionKind::gvk("reliablesyncs.kubeedge.io", "v1alpha1", kind);
    ApiResource::from_gvk(&kind)
}

fn name(node: &str, uid: &Uid) -> String {
    format!("{node}.{uid}")
}

/// What a record says of `node`, if it is of that node: its name ends with the UID, which holds no dot.
fn read(record: &DynamicObject, node: &str) -> Option<Held> {
    let name = record.name_any();
    let (of, uid) = name.rsplit_once('.')?;
    if of != node {
        return None;
    }
    let spec = &record.data["spec"];
    let kind = Kind::new(&spec["objectKind"].as_str()?.to_ascii_lowercase()).ok()?;
    let namespace = record.metadata.namespace.as_deref();
    let key = ObjectKey::new(namespace, kind, spec["objectName"].as_str()?).ok()?;
    let version = record.data["status"]["objectResourceVersion"].as_str();
    // An empty version is as good as none: what is there now is sent.
    let version = version.filter(|version| !version.is_empty()).unwrap_or(NEVER);
    let holding = Holding { key, uid: Uid::new(uid)?, version: Version::new(version) };
    Some(Held { holding, protocol: record.annotations().get(PROTOCOL).cloned() })
}

fn kind_name(kind: &Kind) -> &str {
    match kind.as_str() {
        "device" => "Device",
        "devicemodel" => "DeviceModel",
        "node" => "Node",
        "pod" => "Pod",
        other => other,
    }
}
