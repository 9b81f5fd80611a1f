//! A store's content as one JSON document. Its shape is described in `docs/store.md`.

use std::collections::HashSet;
use std::sync::Arc;

use device_model::{
    AckCode, DataType, DeviceId, DeviceState, Generation, PropertyName, Quality, QualityCode,
    Timestamp, Value,
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Confirmed, Content, Object, ObjectKey, StoredProperty, StoredTwin, Tombstone};
use crate::draft::LAST_VERSION;
use crate::{Acknowledged, Condition, Reported, TwinProperty, Uid, Writer};

const API_VERSION: &str = "edgetwin.io/v1";
const KIND: &str = "StoreExport";

/// What stands in an export. Versions are whole numbers below 2^53, times RFC 3339, values their text form.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    api_version: String,
    kind: String,
    exported_at: Timestamp,
    #[serde(deserialize_with = "version")]
    epoch: u64,
    devices: Vec<DeviceEntry>,
    tombstones: Vec<TombstoneEntry>,
    confirmations: Vec<ConfirmationEntry>,
    objects: Vec<ObjectEntry>,
}

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct DocumentError {
    /// The field.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeviceEntry {
    id: DeviceId,
    uid: String,
    #[serde(deserialize_with = "version")]
    rev: u64,
    state: DeviceState,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_online: Option<Timestamp>,
    properties: Vec<PropertyEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PropertyEntry {
    name: PropertyName,
    #[serde(rename = "type")]
    data_type: DataType,
    #[serde(deserialize_with = "version")]
    generation: u64,
    #[serde(deserialize_with = "version")]
    cloud_version: u64,
    #[serde(deserialize_with = "version")]
    desired_rev: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    desired: Option<DesiredEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beneath: Option<DesiredEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ack: Option<AckEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reported: Option<ReportedEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DesiredEntry {
    value: String,
    #[serde(deserialize_with = "version")]
    generation: u64,
    set_at: Timestamp,
    writer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cloud_version: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AckEntry {
    code: u16,
    detail: Box<str>,
    at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReportedEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    quality: Quality,
    code: QualityCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_time: Option<Timestamp>,
    sample_time: Timestamp,
    received_at: Timestamp,
    #[serde(deserialize_with = "version")]
    rev: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TombstoneEntry {
    device: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    property: Option<PropertyName>,
    uid: String,
    #[serde(deserialize_with = "version")]
    rev: u64,
    #[serde(deserialize_with = "version")]
    generation: u64,
    deleted_at: Timestamp,
    confirmed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmationEntry {
    device: DeviceId,
    uid: String,
    #[serde(deserialize_with = "version")]
    epoch: u64,
    #[serde(deserialize_with = "version")]
    rev: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObjectEntry {
    kind: Arc<str>,
    namespace: Arc<str>,
    name: Arc<str>,
    uid: String,
    resource_version: String,
    /// Base64, in its URL alphabet.
    body: String,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > LAST_VERSION {
        let text = format!("{number} is no version; they are whole numbers below 2^53");
        return Err(serde::de::Error::custom(text));
    }
    Ok(number)
}

impl Document {
    /// The document of `content`.
    pub fn new(content: &Content, now: Timestamp) -> Self {
        let confirmations = content.confirmations.iter().map(|(device, confirmed)| {
            let Confirmed { uid, epoch, rev } = confirmed;
            let (device, uid) = (device.clone(), uid.to_string());
            ConfirmationEntry { device, uid, epoch: *epoch, rev: *rev }
        });
        Self {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            exported_at: now,
            epoch: content.epoch,
            devices: content.twins.iter().map(DeviceEntry::from).collect(),
            tombstones: content.tombstones.iter().map(TombstoneEntry::from).collect(),
            confirmations: confirmations.collect(),
            objects: content.objects.iter().map(ObjectEntry::from).collect(),
        }
    }

    /// What it says.
    ///
    /// # Errors
    /// It is no export of a known version, or a value is none of its type.
    pub fn content(self) -> Result<Content, DocumentError> {
        let fixed = [("apiVersion", &*self.api_version, API_VERSION), ("kind", &*self.kind, KIND)];
        for (field, found, wanted) in fixed {
            if found != wanted {
                let problem = format!("\"{found}\" is not known; this program reads \"{wanted}\"");
                return Err(DocumentError { field: field.into(), problem });
            }
        }
        let mut names = HashSet::new();
        let mut twins = Vec::with_capacity(self.devices.len());
        for device in self.devices {
            let field = format!("devices: {}", device.id);
            if !names.insert(device.id.clone()) {
                return Err(DocumentError {
                    field,
                    problem: "stands there twice; leave one".into(),
                });
            }
            twins.push(device.stored(&field)?);
        }
        let confirmed = |one: ConfirmationEntry| {
            let ConfirmationEntry { device, uid, epoch, rev } = one;
            (device, Confirmed { uid: Uid::new(&uid), epoch, rev })
        };
        let objects = self.objects.into_iter().map(ObjectEntry::stored);
        Ok(Content {
            epoch: self.epoch,
            twins,
            tombstones: self.tombstones.into_iter().map(TombstoneEntry::stored).collect(),
            confirmations: self.confirmations.into_iter().map(confirmed).collect(),
            objects: objects.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&StoredTwin> for DeviceEntry {
    fn from(twin: &StoredTwin) -> Self {
        let Condition { state, since, reason, problem } = twin.condition.clone();
        Self {
            id: twin.id.clone(),
            uid: twin.uid.to_string(),
            rev: twin.revision(),
            state,
            since,
            reason,
            problem,
            last_online: twin.last_online,
            properties: twin.properties.iter().map(PropertyEntry::from).collect(),
        }
    }
}

impl DeviceEntry {
    fn stored(self, field: &str) -> Result<StoredTwin, DocumentError> {
        let Self { id, uid, rev, state, since, reason, problem, last_online, .. } = self;
        let mut names = HashSet::new();
        let mut properties = Vec::with_capacity(self.properties.len());
        for property in self.properties {
            let field = format!("{field}, property {}", property.name);
            if !names.insert(property.name.clone()) {
                return Err(DocumentError {
                    field,
                    problem: "stands there twice; leave one".into(),
                });
            }
            properties.push(property.stored(&field)?);
        }
        let condition = Condition { state, since, reason, problem };
        Ok(StoredTwin { row: 0, id, uid: Uid::new(&uid), rev, condition, last_online, properties })
    }
}

impl From<&StoredProperty> for PropertyEntry {
    fn from(property: &StoredProperty) -> Self {
        let state = &property.state;
        let ack = state.ack.as_deref().map(|ack| AckEntry {
            code: ack.code.number(),
            detail: ack.detail.clone(),
            at: ack.at,
        });
        Self {
            name: property.name.clone(),
            data_type: property.data_type,
            generation: state.generation.0,
            cloud_version: state.cloud_version,
            desired_rev: state.desired_pv,
            manifest: state.manifest.clone(),
            desired: state.desired.as_deref().map(DesiredEntry::from),
            beneath: state.beneath.as_deref().map(DesiredEntry::from),
            ack,
            reported: state.reported.as_ref().map(ReportedEntry::from),
        }
    }
}

impl PropertyEntry {
    fn stored(self, field: &str) -> Result<StoredProperty, DocumentError> {
        let data_type = self.data_type;
        let parse = |part: &str, text: &str| {
            Value::parse(data_type, text).map_err(|error| DocumentError {
                field: format!("{field}, {part}.value"),
                problem: error.to_string(),
            })
        };
        let desired = |part: &str, entry: Option<DesiredEntry>| {
            let entry = entry.map(|one| Ok((parse(part, &one.value)?, one))).transpose()?;
            Ok(entry.map(|(value, one)| Arc::new(one.stored(value))))
        };
        let mut state = TwinProperty {
            desired: desired("desired", self.desired)?,
            beneath: desired("beneath", self.beneath)?,
            generation: Generation(self.generation),
            cloud_version: self.cloud_version,
            desired_pv: self.desired_rev,
            manifest: self.manifest,
            ..TwinProperty::default()
        };
        if let (Some(AckEntry { code, detail, at }), Some(desired)) = (self.ack, &state.desired) {
            let known = AckCode::from_number(code).ok_or_else(|| DocumentError {
                field: format!("{field}, ack.code"),
                problem: format!("{code} is none; docs/twin.md lists them"),
            })?;
            let generation = desired.generation;
            state.ack = Some(Arc::new(Acknowledged { generation, code: known, detail, at }));
        }
        if let Some(one) = self.reported {
            let value = one.value.as_deref().map(|text| parse("reported", text)).transpose()?;
            state.persisted_at = one.received_at;
            state.reported = Some(Reported {
                value,
                quality: one.quality,
                code: one.code,
                source_time: one.source_time,
                sample_time: one.sample_time,
                received_at: one.received_at,
                pv: one.rev,
            });
        }
        Ok(StoredProperty { name: self.name, data_type, state })
    }
}

impl From<&crate::Desired> for DesiredEntry {
    fn from(desired: &crate::Desired) -> Self {
        Self {
            value: desired.value.to_string(),
            generation: desired.generation.0,
            set_at: desired.set_at,
            writer: desired.writer.to_string(),
            expires_at: desired.expires_at,
            cloud_version: desired.cloud_version,
        }
    }
}

impl DesiredEntry {
    fn stored(self, value: Value) -> crate::Desired {
        crate::Desired {
            value,
            generation: Generation(self.generation),
            set_at: self.set_at,
            writer: Writer::from_text(&self.writer),
            expires_at: self.expires_at,
            cloud_version: self.cloud_version,
        }
    }
}

impl From<&Reported> for ReportedEntry {
    fn from(reported: &Reported) -> Self {
        Self {
            value: reported.value.as_ref().map(ToString::to_string),
            quality: reported.quality,
            code: reported.code,
            source_time: reported.source_time,
            sample_time: reported.sample_time,
            received_at: reported.received_at,
            rev: reported.pv,
        }
    }
}

impl From<&Tombstone> for TombstoneEntry {
    fn from(tombstone: &Tombstone) -> Self {
        Self {
            device: tombstone.device.clone(),
            property: tombstone.property.clone(),
            uid: tombstone.uid.to_string(),
            rev: tombstone.rev,
            generation: tombstone.generation.0,
            deleted_at: tombstone.deleted_at,
            confirmed: tombstone.confirmed,
        }
    }
}

impl TombstoneEntry {
    fn stored(self) -> Tombstone {
        Tombstone {
            device: self.device,
            property: self.property,
            uid: Uid::new(&self.uid),
            rev: self.rev,
            generation: Generation(self.generation),
            deleted_at: self.deleted_at,
            confirmed: self.confirmed,
        }
    }
}

impl From<&Object> for ObjectEntry {
    fn from(object: &Object) -> Self {
        let ObjectKey { kind, namespace, name } = object.key.clone();
        let (uid, resource_version) = (object.uid.clone(), object.resource_version.clone());
        let body = Value::Bytes(object.body.clone()).to_string();
        Self { kind, namespace, name, uid, resource_version, body }
    }
}

impl ObjectEntry {
    fn stored(self) -> Result<Object, DocumentError> {
        let Self { kind, namespace, name, uid, resource_version, body } = self;
        let field = format!("objects: {kind} {namespace}/{name}, body");
        let body = match Value::parse(DataType::Bytes, &body) {
            Ok(Value::Bytes(body)) => body,
            Ok(_) => Vec::new(),
            Err(error) => return Err(DocumentError { field, problem: error.to_string() }),
        };
        Ok(Object { key: ObjectKey { kind, namespace, name }, uid, resource_version, body })
    }
}
