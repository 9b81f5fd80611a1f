//! Writes DeviceStatuses, each as read, changed and written with the version that was read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use device_model::Timestamp;
use edge_link::content::Point;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, PostParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::document::{self, Change};
use crate::objects::{DeviceEntry, Numbers};
use crate::watch::of_devices;

/// Requests at once: enough for the rate at a slow API server, few enough to leave it to others.
const AT_ONCE: usize = 16;
/// How long one write may take, all tries together.
const PATIENCE: Duration = Duration::from_secs(15);
/// Tries against others who write the same.
const TRIES: usize = 4;

/// Writes DeviceStatuses. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    client: kube::Client,
    permits: Arc<Semaphore>,
}

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotWritten {
    /// The API server has another state of the twin than was believed: judge anew.
    #[error("the API server has another state of the twin")]
    Elsewhere(Option<Point>),
    /// Try again later.
    #[error("{0}")]
    Failed(String),
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Over `client`.
    pub(crate) fn new(client: kube::Client) -> Self {
        Self { client, permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Writes `change` into the status of `device`. `written` is how far the API server is believed to have an agent's
    /// twin: values of another place are never mixed with what is there.
    pub(crate) async fn write(
        &self,
        device: &DeviceEntry,
        change: &Change,
        written: Option<&Point>,
    ) -> Result<(), NotWritten> {
        let writing = async {
            let _permit = self.permits.acquire().await;
            self.write_now(device, change, written).await
        };
        let late = || NotWritten::Failed(format!("the API server took longer than {PATIENCE:?}"));
        tokio::time::timeout(PATIENCE, writing).await.unwrap_or_else(|_| Err(late()))
    }

    async fn write_now(
        &self,
        device: &DeviceEntry,
        change: &Change,
        written: Option<&Point>,
    ) -> Result<(), NotWritten> {
        let resource = of_devices("DeviceStatus", "devicestatuses");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), device.id.namespace(), &resource);
        let name = device.id.name();
        let post = PostParams::default();
        let mut last = String::new();
        for _ in 0..TRIES {
            let found = api.get_opt(name).await.map_err(|error| failed(&error))?;
            let (found, former) = match found {
                Some(status) if !belongs(&status, device) => (None, Some(status)),
                found => (found, None),
            };
            let present = found.as_ref().map_or(&Value::Null, |status| &status.data["status"]);
            let recorded = document::point(present);
            if change.point.is_some() && recorded.as_ref() != written {
                return Err(NotWritten::Elsewhere(recorded));
            }
            // The status of a former life is in the way until the API server collects it, which may take a minute.
            if let Some(former) = former {
                self.clear(&api, &former, device).await?;
            }
            let status =
                document::changed(present, device, change, Timestamp::from(SystemTime::now()));
            let (mut object, is_new) = match found {
                Some(object) => (object, false),
                None => (DynamicObject::new(name, &resource), true),
            };
            object.data["status"] = status;
            own(&mut object, device);
            let sent = match is_new {
                true => api.create(&post, &object).await,
                false => api.replace(name, &post, &object).await,
            };
            match sent {
                Ok(_) => return Ok(()),
                // Somebody was faster.
                Err(kube::Error::Api(error)) if error.code == 409 => last = error.message,
                Err(kube::Error::Api(error)) if error.code == 404 => last = error.message,
                Err(error) => return Err(failed(&error)),
            }
        }
        Err(NotWritten::Failed(last))
    }

    /// Takes the status of another life than that of `device` away, if that one is the present one; unless somebody was
    /// faster or has written it meanwhile.
    async fn clear(
        &self,
        api: &Api<DynamicObject>,
        status: &DynamicObject,
        device: &DeviceEntry,
    ) -> Result<(), NotWritten> {
        let resource = of_devices("Device", "devices");
        let devices: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), device.id.namespace(), &resource);
        let present = devices.get_opt(device.id.name()).await.map_err(|error| failed(&error))?;
        if present.and_then(|present| present.metadata.uid).as_deref() != Some(device.uid.as_str())
        {
            return Err(NotWritten::Failed("the device is gone, or is another one by now".into()));
        }
        let preconditions = Preconditions {
            uid: status.metadata.uid.clone(),
            resource_version: status.metadata.resource_version.clone(),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&status.name_any(), &params).await {
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
            Err(error) => Err(failed(&error)),
            Ok(_) => Ok(()),
        }
    }
}

/// Makes it the device's: it goes when the device goes, and keeps the numbers of its desired values.
fn own(object: &mut DynamicObject, device: &DeviceEntry) {
    let metadata = &mut object.metadata;
    metadata.namespace = Some(device.id.namespace().to_owned());
    metadata.owner_references = Some(vec![OwnerReference {
        api_version: device_model::API_VERSION.to_owned(),
        kind: "Device".to_owned(),
        name: device.id.name().to_owned(),
        uid: device.uid.to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]);
    let annotations = metadata.annotations.get_or_insert_default();
    if device.numbers.is_empty() {
        annotations.remove(Numbers::ANNOTATION);
    } else {
        annotations.insert(Numbers::ANNOTATION.to_owned(), device.numbers.to_annotation());
    }
    if !object.data["spec"].is_object() {
        object.data["spec"] = json!({});
    }
}

/// Whether a status is of this life of the device; one that has no owner is, since nobody else could have made it.
fn belongs(status: &DynamicObject, device: &DeviceEntry) -> bool {
    let owners = status.metadata.owner_references.iter().flatten();
    let mut devices = owners.filter(|owner| owner.kind == "Device").peekable();
    devices.peek().is_none() || devices.any(|owner| owner.uid == device.uid.as_str())
}

fn failed(error: &kube::Error) -> NotWritten {
    NotWritten::Failed(error.to_string())
}
