//! The file to twins, once at the start.

use std::collections::HashMap;
use std::sync::Arc;

use device_model::{DataType, Generation, Timestamp};
use rusqlite::{Connection, Row};

use super::Failure;
use super::convert::{
    ack_code, data_type, device_id, property_name, quality, quality_code, state, value, version,
};
use super::journal::Journal;
use crate::store::{Stored, StoredProperty, StoredTwin, Tombstone};
use crate::{Acknowledged, Condition, Desired, Reported, TwinProperty, Uid, Writer};

/// What every row has comes first: each column is looked for by its name, from the first one on.
const PROPERTIES: &str = "
SELECT property.row, device, name, type, desired.pv AS desired_pv, reported.pv AS reported_pv,
    received_at, reported.value AS reported_value, quality, code, source_time, sample_time,
    highest_generation, highest_cloud_version, manifest, desired.value AS desired_value, beneath_value,
    generation, set_at, writer, expires_at, cloud_version, ack_code, ack_detail, ack_at,
    beneath_set_at, beneath_cloud_version
FROM property LEFT JOIN desired USING (row) LEFT JOIN reported USING (row)
ORDER BY property.row";

/// The database alone: the journal may have something newer.
pub(super) fn load(connection: &Connection) -> Result<Stored, Failure> {
    let mut twins = Vec::new();
    let mut place = HashMap::new();
    let mut statement = connection.prepare("SELECT * FROM device")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let number = row.get("row")?;
        place.insert(number, twins.len());
        twins.push(StoredTwin {
            row: number,
            id: device_id(text(row, "namespace")?, text(row, "name")?)?,
            uid: Uid::new(text(row, "uid")?),
            rev: version(row.get("rev")?)?,
            condition: Condition {
                state: state(text(row, "state")?)?,
                since: Timestamp::from_millis(row.get("state_since")?),
                reason: row.get::<_, Option<String>>("state_reason")?.map(Into::into),
                problem: row.get::<_, Option<String>>("problem")?.map(Into::into),
            },
            last_online: moment(row, "last_online")?,
            properties: Vec::new(),
        });
    }
    let mut statement = connection.prepare(PROPERTIES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let device: u32 = row.get("device")?;
        let twin = place.get(&device).and_then(|at: &usize| twins.get_mut(*at));
        let twin = twin.ok_or_else(|| Failure::Damaged("a property of no device".into()))?;
        twin.properties.push(property(row)?);
    }
    Ok(Stored { epoch: epoch(connection)?, twins, tombstones: tombstones(connection)? })
}

pub(super) fn epoch(connection: &Connection) -> Result<u64, Failure> {
    version(meta(connection, "epoch")?)
}

/// The generation of the journal's frames that count.
pub(super) fn generation(connection: &Connection) -> Result<u64, Failure> {
    Ok(meta(connection, "journal")?.cast_unsigned())
}

fn meta(connection: &Connection, key: &str) -> Result<i64, Failure> {
    let statement = "SELECT value FROM meta WHERE key = ?1";
    Ok(connection.query_row(statement, [key], |row| row.get(0))?)
}

/// Puts what the journal has of a row over what the database has, if it is newer.
pub(super) fn overlay(stored: &mut Stored, journal: &Journal) -> Result<(), Failure> {
    if journal.is_empty() {
        return Ok(());
    }
    let mut places = HashMap::new();
    for (at, twin) in stored.twins.iter().enumerate() {
        places.extend(twin.properties.iter().enumerate().map(|(n, one)| (one.row(), (at, n))));
    }
    journal.each(|row, reported| {
        let Some((at, n)) = places.get(&row) else { return Ok(()) };
        let Some(StoredProperty { data_type, state, .. }) =
            stored.twins.get_mut(*at).and_then(|twin| twin.properties.get_mut(*n))
        else {
            return Ok(());
        };
        if reported.value.as_ref().is_some_and(|value| value.data_type() != *data_type) {
            return Err(Failure::Damaged(format!("the journal has no {data_type} of row {row}")));
        }
        let newer =
            |old: &Reported| (old.pv, old.received_at) < (reported.pv, reported.received_at);
        if state.reported.as_ref().is_none_or(newer) {
            state.persisted_at = reported.received_at;
            state.reported = Some(reported);
        }
        Ok(())
    })
}

fn text<'a>(row: &'a Row<'_>, column: &str) -> Result<&'a str, Failure> {
    row.get_ref(column)?.as_str().map_err(|error| Failure::Damaged(format!("{column}: {error}")))
}

fn moment(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>, Failure> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

fn property(row: &Row<'_>) -> Result<StoredProperty, Failure> {
    let data_type = data_type(text(row, "type")?)?;
    let mut state = TwinProperty { row: row.get("row")?, ..TwinProperty::default() };
    if let Some(pv) = row.get::<_, Option<i64>>("desired_pv")? {
        state.desired_pv = version(pv)?;
        state.generation = Generation(version(row.get("highest_generation")?)?);
        state.cloud_version = version(row.get("highest_cloud_version")?)?;
        state.manifest = row.get::<_, Option<String>>("manifest")?.map(Into::into);
        state.desired = desired(row, data_type)?.map(Arc::new);
        state.beneath = beneath(row, data_type)?.map(Arc::new);
        if let (Some(code), Some(desired)) = (row.get("ack_code")?, &state.desired) {
            state.ack = Some(Arc::new(Acknowledged {
                generation: desired.generation,
                code: ack_code(code)?,
                detail: text(row, "ack_detail")?.into(),
                at: Timestamp::from_millis(row.get("ack_at")?),
            }));
        }
    }
    if let Some(pv) = row.get::<_, Option<i64>>("reported_pv")? {
        let received_at = Timestamp::from_millis(row.get("received_at")?);
        state.persisted_at = received_at;
        state.reported = Some(Reported {
            value: value(data_type, row.get_ref("reported_value")?)?,
            quality: quality(text(row, "quality")?)?,
            code: quality_code(text(row, "code")?)?,
            source_time: moment(row, "source_time")?,
            sample_time: Timestamp::from_millis(row.get("sample_time")?),
            received_at,
            pv: version(pv)?,
        });
    }
    Ok(StoredProperty { name: property_name(text(row, "name")?)?, data_type, state })
}

fn desired(row: &Row<'_>, data_type: DataType) -> Result<Option<Desired>, Failure> {
    let Some(value) = value(data_type, row.get_ref("desired_value")?)? else { return Ok(None) };
    Ok(Some(Desired {
        value,
        generation: Generation(version(row.get("generation")?)?),
        set_at: Timestamp::from_millis(row.get("set_at")?),
        writer: Writer::from_text(text(row, "writer")?),
        expires_at: moment(row, "expires_at")?,
        cloud_version: row.get::<_, Option<i64>>("cloud_version")?.map(version).transpose()?,
    }))
}

fn beneath(row: &Row<'_>, data_type: DataType) -> Result<Option<Desired>, Failure> {
    let Some(value) = value(data_type, row.get_ref("beneath_value")?)? else { return Ok(None) };
    let cloud_version = row.get::<_, Option<i64>>("beneath_cloud_version")?;
    Ok(Some(Desired {
        value,
        generation: Generation::default(),
        set_at: Timestamp::from_millis(row.get("beneath_set_at")?),
        writer: Writer::Cloud,
        expires_at: None,
        cloud_version: cloud_version.map(version).transpose()?,
    }))
}

fn tombstones(connection: &Connection) -> Result<Vec<Tombstone>, Failure> {
    let mut statement = connection.prepare("SELECT * FROM tombstone")?;
    let mut rows = statement.query([])?;
    let mut tombstones = Vec::new();
    while let Some(row) = rows.next()? {
        let property = Some(text(row, "property")?).filter(|name| !name.is_empty());
        tombstones.push(Tombstone {
            device: device_id(text(row, "namespace")?, text(row, "name")?)?,
            property: property.map(property_name).transpose()?,
            uid: Uid::new(text(row, "uid")?),
            rev: version(row.get("rev")?)?,
            generation: Generation(version(row.get("generation")?)?),
            deleted_at: Timestamp::from_millis(row.get("deleted_at")?),
            confirmed: row.get("confirmed")?,
        });
    }
    Ok(tombstones)
}
