//! What of the store of KubeEdge's EdgeCore (`edgecore.db`) is taken into one of ours.
//!
//! Its twins have no generation, no quality and no unique name; types are those of the device's model, where EdgeCore
//! had it. What it calls expected is desired here, and what it calls actual is reported.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use device_model::{
    DataType, DeviceId, DeviceInstance, DeviceModel, DeviceState, Generation, PropertyName,
    Quality, QualityCode, Timestamp, Value,
};
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;
use serde::de::value::{Error as Unread, StrDeserializer};

use super::sqlite::{copy, explain};
use super::{
    Content, MOST_SUBSCRIPTIONS, StoreError, StoredProperty, StoredTwin, Subscription, TopicFilter,
};
use crate::{Condition, Desired, Reported, TwinProperty, Uid, Writer};

/// Tables that hold nothing for a store of twins, and why.
const OTHER_TABLES: [(&str, &str); 2] = [
    ("device_attr", "attributes are not kept here; write them into the device's manifest"),
    ("target_urls", "there is no ServiceBus here"),
];

/// What was taken from an `edgecore.db`.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Devices with their properties, and subscriptions of rules.
    pub content: Content,
    /// What was not, by name.
    pub left: Vec<Left>,
}

/// Something that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// A device, a property or a table.
    pub name: String,
    /// Why not, and what to do where there is something.
    pub reason: String,
}

/// Reads the `edgecore.db` at `path`, through a copy in the directory `scratch`; `None`: it is another database.
///
/// # Errors
/// It cannot be read, is in use or damaged.
pub fn take_edgecore(
    path: &Path,
    scratch: &Path,
    now: Timestamp,
) -> Result<Option<Taken>, StoreError> {
    let copied = copy(path, &[], scratch)?;
    let taken = || {
        let connection = Connection::open_with_flags(&copied, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let is_there = has_table(&connection, "device_twin")? && has_table(&connection, "device")?;
        is_there.then(|| take(&connection, now)).transpose()
    };
    taken().map_err(|error| explain(&path.display().to_string(), error.into()))
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let count = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
    connection.query_row(count, [name], |row| row.get(0))
}

fn take(connection: &Connection, now: Timestamp) -> rusqlite::Result<Taken> {
    let mut taken = Taken::default();
    let manifests = manifests(connection)?;
    let mut places = HashMap::new();
    let mut statement = connection.prepare("SELECT id, last_online FROM device ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let last_online: Option<String> = row.get(1)?;
        match name.parse::<DeviceId>() {
            Ok(id) => {
                places.insert(name, taken.content.twins.len());
                taken.content.twins.push(twin(id, last_online.as_deref(), &manifests, now));
            }
            Err(error) => taken.leave(format!("device {name}"), &error),
        }
    }
    // There may be several rows of one name: EdgeCore goes on with the last.
    let mut newest = BTreeMap::new();
    let columns = "SELECT deviceid, name, expected, actual, expected_meta, actual_meta, attr_type
        FROM device_twin ORDER BY id";
    let mut statement = connection.prepare(columns)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, Option<String>>(column);
        let key = (text(0)?.unwrap_or_default(), text(1)?.unwrap_or_default());
        let row = TwinRow {
            wanted: text(2)?,
            shown: text(3)?,
            wanted_at: text(4)?,
            shown_at: text(5)?,
            data_type: text(6)?.unwrap_or_default(),
        };
        newest.insert(key, row);
    }
    for ((device, name), row) in newest {
        let Some(twin) = places.get(&device).and_then(|at| taken.content.twins.get_mut(*at)) else {
            taken.leave(format!("{device} {name}"), &"its device is not there");
            continue;
        };
        if row.data_type == "deleted" {
            continue;
        }
        let mut refused = Vec::new();
        let data_type = manifests.data_type(&twin.id, &name);
        match row.property(&name, data_type, now, &mut refused) {
            Ok(property) => {
                twin.rev = 1;
                twin.properties.push(property);
            }
            Err(reason) => refused.push(("", reason)),
        }
        for (side, reason) in refused {
            taken.leave(format!("{device} {name}{side}"), &reason);
        }
    }
    if has_table(connection, "sub_topics")? {
        subscriptions(connection, now, &mut taken)?;
    }
    for (table, reason) in OTHER_TABLES {
        if has_table(connection, table)? {
            let count = format!("SELECT count(*) FROM {table}");
            let rows: i64 = connection.query_row(&count, [], |row| row.get(0))?;
            if rows > 0 {
                taken.leave(format!("table {table} ({rows} rows)"), &reason);
            }
        }
    }
    Ok(taken)
}

/// What rules of the cloud want to hear of this node.
fn subscriptions(
    connection: &Connection,
    now: Timestamp,
    taken: &mut Taken,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT topic FROM sub_topics ORDER BY topic")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let topic: Option<String> = row.get(0)?;
        let topic = topic.unwrap_or_default();
        match TopicFilter::new(&topic) {
            Ok(_) if taken.content.objects.len() == MOST_SUBSCRIPTIONS => {
                let most =
                    format!("at most {MOST_SUBSCRIPTIONS} are kept; join some with wildcards");
                taken.leave(format!("subscription {topic}"), &most);
            }
            Ok(filter) => {
                let writer = Writer::local("edgecore");
                let one = Subscription { filter, writer, set_at: now, removed: false };
                taken.content.objects.push(one.object());
            }
            Err(error) => taken.leave(format!("subscription {topic}"), &error),
        }
    }
    Ok(())
}

impl Taken {
    fn leave(&mut self, name: String, reason: &dyn Display) {
        self.left.push(Left { name, reason: reason.to_string() });
    }
}

fn twin(
    id: DeviceId,
    last_online: Option<&str>,
    manifests: &Manifests,
    now: Timestamp,
) -> StoredTwin {
    let uid = manifests.devices.get(&id).and_then(|device| device.metadata.uid.as_deref());
    let reason = Some("nothing was heard of it since it was taken from edgecore.db".into());
    let last_online = last_online
        .and_then(|text| Timestamp::deserialize(StrDeserializer::<Unread>::new(text)).ok());
    StoredTwin {
        row: 0,
        uid: uid.map_or_else(Uid::random, Uid::new),
        id,
        rev: 0,
        condition: Condition { state: DeviceState::Unknown, since: now, reason, problem: None },
        last_online,
        properties: Vec::new(),
    }
}

/// The manifests that EdgeCore had from its cloud.
#[derive(Default)]
struct Manifests {
    devices: HashMap<DeviceId, DeviceInstance>,
    models: HashMap<DeviceId, DeviceModel>,
}

/// What cannot be read gives no types, and is nothing that we keep.
fn manifests(connection: &Connection) -> rusqlite::Result<Manifests> {
    let mut manifests = Manifests::default();
    if !has_table(connection, "meta")? {
        return Ok(manifests);
    }
    let mut statement = connection
        .prepare("SELECT type, value FROM meta WHERE type IN ('device', 'devicemodel')")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, text): (String, String) = (row.get(0)?, row.get(1)?);
        if kind == "device" {
            if let Ok(device) = serde_json::from_str::<DeviceInstance>(&text)
                && let Ok(id) = device.metadata.id()
            {
                manifests.devices.insert(id, device);
            }
        } else if let Ok(model) = serde_json::from_str::<DeviceModel>(&text)
            && let Ok(id) = model.metadata.id()
        {
            manifests.models.insert(id, model);
        }
    }
    Ok(manifests)
}

impl Manifests {
    /// The type of a property by the model of its device.
    fn data_type(&self, device: &DeviceId, property: &str) -> Option<DataType> {
        let model = self.devices.get(device)?.spec.device_model_ref.as_ref()?;
        let model = DeviceId::new(device.namespace(), &model.name).ok()?;
        let properties = &self.models.get(&model)?.spec.properties;
        let property = properties.iter().find(|one| one.name == property)?;
        DataType::from_name(&property.data_type)
    }
}

/// A row of `device_twin`.
struct TwinRow {
    wanted: Option<String>,
    shown: Option<String>,
    wanted_at: Option<String>,
    shown_at: Option<String>,
    data_type: String,
}

/// What stands in `expected_meta` and `actual_meta`.
#[derive(Deserialize)]
struct Meta {
    timestamp: i64,
}

/// When a side was written, if that was noted.
fn moment(meta: Option<&str>) -> Option<Timestamp> {
    let meta: Meta = serde_json::from_str(meta?).ok()?;
    Some(Timestamp::from_millis(meta.timestamp)).filter(|time| time.as_millis() > 0)
}

impl TwinRow {
    /// The property; a side that is no value of the type goes to `refused`.
    fn property(
        self,
        name: &str,
        model: Option<DataType>,
        now: Timestamp,
        refused: &mut Vec<(&'static str, String)>,
    ) -> Result<StoredProperty, String> {
        let name = PropertyName::new(name).map_err(|error| error.to_string())?;
        let data_type = model.or_else(|| DataType::from_name(&self.data_type));
        // EdgeCore keeps texts; one without a type is one.
        let data_type = data_type.unwrap_or(DataType::String);
        let mut value = |side, text: Option<String>| {
            // It takes the empty text for no value, too.
            let text = text.filter(|text| !text.is_empty())?;
            let parsed = Value::parse(data_type, &text);
            parsed.map_err(|error| refused.push((side, error.to_string()))).ok()
        };
        let wanted = value(", expected value", self.wanted);
        let shown = value(", actual value", self.shown);
        let mut state = TwinProperty::default();
        if let Some(value) = wanted {
            state.generation = Generation(1);
            state.desired_pv = 1;
            state.desired = Some(Arc::new(Desired {
                value,
                generation: Generation(1),
                set_at: moment(self.wanted_at.as_deref()).unwrap_or(now),
                writer: Writer::local("edgecore"),
                expires_at: None,
                cloud_version: None,
            }));
        }
        if let Some(value) = shown {
            let at = moment(self.shown_at.as_deref()).unwrap_or(now);
            state.persisted_at = at;
            state.reported = Some(Reported {
                value: Some(value),
                quality: Quality::Uncertain,
                code: QualityCode::Restored,
                source_time: None,
                sample_time: at,
                received_at: at,
                pv: 1,
            });
        }
        Ok(StoredProperty { name, data_type, state })
    }
}
