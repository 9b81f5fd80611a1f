//! Which rows of the store a batch changed: the difference of each touched twin before and after.

use std::collections::HashMap;
use std::sync::Arc;

use device_model::Timestamp;

use crate::store::{Durability, Row, StoredTwin};
use crate::{Condition, Twin, TwinProperty};

/// A device before a batch touched it.
#[derive(Debug)]
pub(crate) enum Before {
    Absent,
    /// In the store, not described yet.
    Parked(Box<StoredTwin>),
    Present(Box<Twin>),
}

impl Before {
    pub(crate) fn check_at(&self) -> Option<Timestamp> {
        match self {
            Self::Present(twin) => twin.check_at,
            Self::Absent | Self::Parked(_) => None,
        }
    }
}

/// Appends the rows that lead from `before` to `after`; returns how well they must be kept.
pub(crate) fn difference<'a>(
    before: &'a Before,
    after: Option<&'a Twin>,
    rows: &mut Vec<Row<'a>>,
) -> Durability {
    let row_before = match before {
        Before::Absent => None,
        Before::Parked(twin) => Some(twin.row),
        Before::Present(twin) => Some(twin.row),
    };
    if let Some(row) = row_before.filter(|row| after.is_none_or(|twin| twin.row != *row)) {
        rows.push(Row::RemoveDevice { row });
    }
    let Some(twin) = after else {
        return if row_before.is_some() { Durability::Synced } else { Durability::Written };
    };
    match before {
        Before::Present(old) if old.row == twin.row => {
            let durability = twin_row(old.rev, &old.condition, twin, rows);
            if Arc::ptr_eq(&old.device, &twin.device) {
                old.properties
                    .iter()
                    .zip(&twin.properties)
                    .fold(durability, |least, (old, new)| least.max(sides(old, new, rows)))
            } else {
                durability.max(properties(old.properties.iter(), twin, rows))
            }
        }
        Before::Parked(old) if old.row == twin.row => {
            let durability = twin_row(old.rev, &old.condition, twin, rows);
            durability.max(properties(old.properties.iter().map(|one| &one.state), twin, rows))
        }
        _ => {
            rows.push(Row::Device { row: twin.row, id: &twin.device.id, uid: &twin.uid });
            push_twin(twin, rows);
            properties([].into_iter(), twin, rows);
            Durability::Synced
        }
    }
}

fn push_twin<'a>(twin: &'a Twin, rows: &mut Vec<Row<'a>>) {
    let Twin { row, rev, last_online, ref condition, .. } = *twin;
    rows.push(Row::Twin { row, rev, condition, last_online });
}

/// The device's own row, unless a property's row tells the revision: most reports write one row only.
fn twin_row<'a>(
    rev: u64,
    condition: &Condition,
    twin: &'a Twin,
    rows: &mut Vec<Row<'a>>,
) -> Durability {
    if *condition != twin.condition {
        push_twin(twin, rows);
        return Durability::Synced;
    }
    if rev != twin.rev && !twin.properties.iter().any(|one| one.newest() == twin.rev) {
        push_twin(twin, rows);
    }
    Durability::Written
}

/// Rows of properties that may have come, gone or moved.
fn properties<'a>(
    old: impl Iterator<Item = &'a TwinProperty>,
    twin: &'a Twin,
    rows: &mut Vec<Row<'a>>,
) -> Durability {
    let mut durability = Durability::Written;
    let mut old: HashMap<u32, &TwinProperty> = old.map(|state| (state.row, state)).collect();
    let blank = &*BLANK;
    let pairs: Vec<_> =
        twin.properties().map(|(property, new)| (property, new, old.remove(&new.row))).collect();
    for row in old.into_keys() {
        rows.push(Row::RemoveProperty { row });
        durability = Durability::Synced;
    }
    for (property, new, known) in pairs {
        if known.is_none() {
            let (row, device) = (new.row, twin.row);
            let (name, data_type) = (&property.name, property.data_type);
            rows.push(Row::Property { row, device, name, data_type });
            durability = Durability::Synced;
        }
        durability = durability.max(sides(known.unwrap_or(blank), new, rows));
    }
    durability
}

static BLANK: std::sync::LazyLock<TwinProperty> = std::sync::LazyLock::new(TwinProperty::default);

/// Rows of the sides that changed. A revision is given with each change, so comparing those is enough.
fn sides<'a>(old: &TwinProperty, new: &'a TwinProperty, rows: &mut Vec<Row<'a>>) -> Durability {
    let mut durability = Durability::Written;
    if old.desired_pv != new.desired_pv
        || old.manifest != new.manifest
        || old.generation != new.generation
        || old.cloud_version != new.cloud_version
    {
        rows.push(Row::Desired { row: new.row, state: new });
        durability = Durability::Synced;
    }
    if let Some(reported) = &new.reported {
        let pv = old.reported.as_ref().map(|reported| reported.pv);
        if pv != Some(reported.pv) || old.persisted_at != new.persisted_at {
            rows.push(Row::Reported { row: new.row, reported });
        }
    }
    durability
}
