//! The objects of one history at the API server.

use anyhow::{Context, Result};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

/// The property that may be written; the first one of each device.
pub(super) const WRITABLE: &str = "speed";
/// Properties that are reported alone.
pub(super) const LEVELS: [&str; 2] = ["level", "flow"];
/// What the mapper of the tests' own speaks.
pub(super) const PROTOCOL: &str = "bench";

/// Devices of one namespace.
pub(super) struct Objects {
    namespace: String,
    node: String,
    client: kube::Client,
}

impl Objects {
    pub(super) async fn new(client: kube::Client, namespace: &str, node: &str) -> Result<Self> {
        let objects = Self { namespace: namespace.into(), node: node.into(), client };
        let properties = [WRITABLE].into_iter().chain(LEVELS).map(|name| {
            let mode = if name == WRITABLE { "ReadWrite" } else { "ReadOnly" };
            json!({"name": name, "type": "INT", "accessMode": mode})
        });
        let model = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
            "metadata": {"name": "m", "namespace": objects.namespace},
            "spec": {"protocol": PROTOCOL, "properties": properties.collect::<Vec<_>>()},
        });
        let model = serde_json::from_value(model)?;
        objects.api("DeviceModel").create(&PostParams::default(), &model).await?;
        Ok(objects)
    }

    pub(super) fn api(&self, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
        let plural = match &*kind.kind {
            "DeviceStatus" => "devicestatuses".to_owned(),
            other => format!("{}s", other.to_lowercase()),
        };
        let resource = ApiResource::from_gvk_with_plural(&kind, &plural);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Makes the device; its UID.
    pub(super) async fn create(&self, name: &str) -> Result<String> {
        let properties: Vec<_> = [WRITABLE].into_iter().chain(LEVELS).map(|name| {
            json!({"name": name, "visitors": {"protocolName": PROTOCOL, "configData": {}}, "reportToCloud": true})
        }).collect();
        let device = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "deviceModelRef": {"name": "m"}, "nodeName": self.node,
                "protocol": {"protocolName": PROTOCOL, "configData": {}},
                "properties": properties,
            },
        });
        let device = serde_json::from_value(device)?;
        let made = self.api("Device").create(&PostParams::default(), &device).await?;
        made.metadata.uid.context("no UID")
    }

    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        self.api("Device").delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Desires `value` of the writable property.
    pub(super) async fn desire(&self, name: &str, value: u64) -> Result<()> {
        let desired = json!({"value": value.to_string()});
        let patch = json!([{"op": "add", "path": "/spec/properties/0/desired", "value": desired}]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
        self.api("Device").patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// What the cloud shows of the device; null where it shows nothing.
    pub(super) async fn status(&self, name: &str) -> Result<Value> {
        let status = self.api("DeviceStatus").get_opt(name).await?;
        Ok(status.map_or(Value::Null, |status| status.data["status"].clone()))
    }
}

/// What `status` says of a property on that side, `reported` or `observedDesired`.
pub(super) fn shown<'a>(status: &'a Value, property: &str, side: &str) -> Option<&'a str> {
    let twins = status["twins"].as_array()?;
    let twin = twins.iter().find(|twin| twin["propertyName"] == property)?;
    twin[side]["value"].as_str().filter(|value| !value.is_empty())
}
