//! Rows to the file.

use rusqlite::{Connection, named_params, params};

use super::Failure;
use super::convert::{column, int, time};
use crate::store::{Row, Tombstone};
use crate::{Condition, Reported, TwinProperty};

const UPDATE_REPORTED: &str = "
UPDATE reported SET pv = ?2, value = ?3, quality = ?4, code = ?5, source_time = ?6, sample_time = ?7, received_at = ?8
WHERE row = ?1";
const INSERT_REPORTED: &str = "INSERT INTO reported VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
/// What comes from the journal may be older than what stands here, and its property may be gone.
const FOLD_REPORTED: &str = "
INSERT INTO reported SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE EXISTS (SELECT 1 FROM property WHERE row = ?1)
ON CONFLICT DO UPDATE SET pv = ?2, value = ?3, quality = ?4, code = ?5, source_time = ?6, sample_time = ?7,
    received_at = ?8
WHERE (pv, received_at) < (?2, ?8)";
const PUT_DESIRED: &str = "
INSERT OR REPLACE INTO desired VALUES (:row, :pv, :highest_generation, :highest_cloud_version, :manifest,
    :value, :generation, :set_at, :writer, :expires_at, :cloud_version,
    :beneath_value, :beneath_set_at, :beneath_cloud_version, :ack_code, :ack_detail, :ack_at)";
const PUT_TOMBSTONE: &str =
    "INSERT OR REPLACE INTO tombstone VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Writes `rows` into the open transaction.
pub(super) fn write(connection: &Connection, rows: &[Row<'_>]) -> Result<(), Failure> {
    for row in rows {
        match row {
            Row::Reported { row, reported } => write_reported(connection, *row, reported)?,
            Row::Desired { row, state } => write_desired(connection, *row, state)?,
            Row::Twin { row, rev, condition, last_online } => {
                let Condition { state, since, reason, problem } = condition;
                connection
                    .prepare_cached(
                        "UPDATE device SET rev = ?2, state = ?3, state_since = ?4, state_reason = ?5,
                            problem = ?6, last_online = ?7 WHERE row = ?1",
                    )?
                    .execute(params![
                        row,
                        int(*rev),
                        state.as_str(),
                        time(*since),
                        reason.as_deref(),
                        problem.as_deref(),
                        last_online.map(time),
                    ])?;
            }
            Row::Device { row, id, uid } => {
                connection
                    .prepare_cached(
                        "INSERT INTO device (row, namespace, name, uid) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![row, id.namespace(), id.name(), uid.as_str()])?;
            }
            Row::Property { row, device, name, data_type } => {
                connection
                    .prepare_cached("INSERT INTO property VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![row, device, name.as_str(), data_type.lower()])?;
            }
            Row::RemoveDevice { row } => {
                connection.prepare_cached("DELETE FROM device WHERE row = ?1")?.execute([row])?;
            }
            Row::RemoveProperty { row } => {
                connection.prepare_cached("DELETE FROM property WHERE row = ?1")?.execute([row])?;
            }
            Row::Bury(tombstone) => bury(connection, tombstone)?,
            Row::Forget(tombstone) => {
                let Tombstone { device, property, .. } = tombstone;
                let property = property.as_ref().map_or("", |name| name.as_str());
                connection
                    .prepare_cached(
                        "DELETE FROM tombstone WHERE namespace = ?1 AND name = ?2 AND property = ?3",
                    )?
                    .execute(params![device.namespace(), device.name(), property])?;
            }
        }
    }
    Ok(())
}

/// The path of every reading: one update by row number.
fn write_reported(connection: &Connection, row: u32, reported: &Reported) -> Result<(), Failure> {
    if execute(connection, UPDATE_REPORTED, row, reported)? == 0 {
        execute(connection, INSERT_REPORTED, row, reported)?;
    }
    Ok(())
}

/// Writes what the journal has of a row, unless this file has something newer.
pub(super) fn fold_reported(
    connection: &Connection,
    row: u32,
    reported: &Reported,
) -> Result<(), Failure> {
    execute(connection, FOLD_REPORTED, row, reported).map(drop)
}

fn execute(
    connection: &Connection,
    statement: &str,
    row: u32,
    reported: &Reported,
) -> Result<usize, Failure> {
    let Reported { value, quality, code, source_time, sample_time, received_at, pv } = reported;
    Ok(connection.prepare_cached(statement)?.execute(params![
        row,
        int(*pv),
        value.as_ref().map(column),
        quality.as_str(),
        code.as_str(),
        source_time.map(time),
        time(*sample_time),
        time(*received_at),
    ])?)
}

fn write_desired(connection: &Connection, row: u32, state: &TwinProperty) -> Result<(), Failure> {
    let desired = state.desired.as_deref();
    let beneath = state.beneath.as_deref();
    let ack = state.ack.as_deref();
    connection.prepare_cached(PUT_DESIRED)?.execute(named_params! {
        ":row": row,
        ":pv": int(state.desired_pv),
        ":highest_generation": int(state.generation.0),
        ":highest_cloud_version": int(state.cloud_version),
        ":manifest": state.manifest.as_deref(),
        ":value": desired.map(|desired| column(&desired.value)),
        ":generation": desired.map(|desired| int(desired.generation.0)),
        ":set_at": desired.map(|desired| time(desired.set_at)),
        ":writer": desired.map(|desired| desired.writer.to_string()),
        ":expires_at": desired.and_then(|desired| desired.expires_at).map(time),
        ":cloud_version": desired.and_then(|desired| desired.cloud_version).map(int),
        ":beneath_value": beneath.map(|beneath| column(&beneath.value)),
        ":beneath_set_at": beneath.map(|beneath| time(beneath.set_at)),
        ":beneath_cloud_version": beneath.and_then(|beneath| beneath.cloud_version).map(int),
        ":ack_code": ack.map(|ack| ack.code.number()),
        ":ack_detail": ack.map(|ack| &*ack.detail),
        ":ack_at": ack.map(|ack| time(ack.at)),
    })?;
    Ok(())
}

fn bury(connection: &Connection, tombstone: &Tombstone) -> Result<(), Failure> {
    let Tombstone { device, property, uid, rev, generation, deleted_at, confirmed } = tombstone;
    connection.prepare_cached(PUT_TOMBSTONE)?.execute(params![
        device.namespace(),
        device.name(),
        property.as_ref().map_or("", |name| name.as_str()),
        uid.as_str(),
        int(*rev),
        int(generation.0),
        time(*deleted_at),
        confirmed,
    ])?;
    Ok(())
}
