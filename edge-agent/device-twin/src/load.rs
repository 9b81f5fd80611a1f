//! Fitting a twin to its device's description: at the start, and whenever the description changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use device_model::{Access, Ack, AckCode, Device, DeviceId, PropertyName, Timestamp};

use crate::desire::take;
use crate::draft::{Draft, Moment};
use crate::places::Places;
use crate::report::acknowledge;
use crate::store::{StoredProperty, StoredTwin, Tombstone};
use crate::{
    Change, ChangeKind, Condition, Desired, Owner, PropertyChange, Rejected, Twin, TwinProperty,
    Uid, Writer,
};

/// Gives numbers to new rows of the store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) device: u32,
    pub(crate) property: u32,
}

impl Rows {
    pub(crate) fn next_device(&mut self) -> u32 {
        self.device += 1;
        self.device
    }

    pub(crate) fn next_property(&mut self) -> u32 {
        self.property += 1;
        self.property
    }
}

/// The memories of deleted devices and properties.
pub(crate) type Tombstones = BTreeMap<(DeviceId, Option<PropertyName>), Tombstone>;

/// What loading a device comes to.
pub(crate) struct Loaded {
    pub(crate) twin: Twin,
    pub(crate) change: Option<Change>,
    /// Properties that are gone.
    pub(crate) buried: Vec<Tombstone>,
}

/// Fits `former`, or nothing, to `device`.
///
/// Properties keep their state as long as name and type stay. `described` says whether the description is known to be
/// another than before; after a restart that cannot be known, and alone it is no change then.
///
/// # Errors
/// The twin can count no further.
pub(crate) fn load(
    former: Option<StoredTwin>,
    described: bool,
    device: Arc<Device>,
    tombstones: &Tombstones,
    rows: &mut Rows,
    moment: &mut Moment<'_>,
) -> Result<Loaded, Rejected> {
    let kind = if former.is_some() { ChangeKind::Described } else { ChangeKind::Added };
    let former = former.unwrap_or_else(|| newborn(&device, rows, moment.now));
    let mut left: HashMap<_, _> =
        former.properties.into_iter().map(|one| (one.name.clone(), one)).collect();
    let mut replaced = Vec::new();
    let mut properties = Vec::with_capacity(device.properties.len());
    for (at, property) in device.properties.iter().enumerate() {
        match left.remove(&property.name) {
            Some(known) if known.data_type == property.data_type => properties.push(known.state),
            other => {
                let key = (device.id.clone(), Some(property.name.clone()));
                let buried = tombstones.get(&key).filter(|tombstone| tombstone.uid == former.uid);
                let old = other.map(|known| known.state);
                // A number that was given once is never given again, whatever became of the property.
                let generation = old
                    .as_ref()
                    .map(|state| state.generation)
                    .max(buried.map(|tombstone| tombstone.generation))
                    .unwrap_or_default();
                let row = rows.next_property();
                properties.push(TwinProperty { generation, row, ..TwinProperty::default() });
                replaced.push((at, old));
            }
        }
    }
    let check_at = properties
        .iter()
        .any(|state| state.reported.is_some() || state.desired.is_some())
        .then_some(moment.clocks.steady);
    let mut twin = Twin {
        places: Places::of(&device),
        device,
        uid: former.uid,
        rev: former.rev,
        condition: former.condition,
        last_online: former.last_online,
        properties,
        row: former.row,
        check_at,
        batch: 0,
        readings: 0,
    };
    let mut draft = Draft::of(&mut twin)?;
    for at in 0..draft.twin().properties.len() {
        refuse_unfit(&mut draft, at, moment);
        match moment.settings.owner {
            Owner::Node => take_manifest(&mut draft, at, moment),
            Owner::Cloud => hand_over(&mut draft, at),
        }
    }
    let rev = draft.rev();
    let mut gone: Vec<_> = left.into_values().collect();
    gone.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let restructured = !gone.is_empty() || !replaced.is_empty() || kind == ChangeKind::Added;
    let mut change = draft.finish();
    if change.is_none() && (restructured || described) {
        twin.rev = rev;
        change = Some(bare_change(&twin));
    }
    let buried = gone.iter().map(|one| bury(&twin, one, rev, moment)).collect();
    if let Some(change) = &mut change
        && (restructured || described)
    {
        change.kind = kind;
        add_structure(change, &twin, replaced, gone);
    }
    Ok(Loaded { twin, change, buried })
}

fn newborn(device: &Device, rows: &mut Rows, now: Timestamp) -> StoredTwin {
    StoredTwin {
        row: rows.next_device(),
        id: device.id.clone(),
        uid: device.uid.as_deref().map_or_else(Uid::random, Uid::new),
        rev: 0,
        condition: Condition::unheard_of(now),
        last_online: None,
        properties: Vec::new(),
    }
}

/// A desired value that the description no longer allows is refused here: no mapper needs to try it.
fn refuse_unfit(draft: &mut Draft<'_>, at: usize, moment: &Moment<'_>) {
    let twin = draft.twin();
    let property = &twin.device.properties[at];
    let Some(desired) = &twin.properties[at].desired else { return };
    if let Err(reason) = property.accepts(&desired.value) {
        let code = match property.access {
            Access::ReadOnly => AckCode::Forbidden,
            Access::ReadWrite => AckCode::Invalid,
        };
        let ack = Ack { generation: desired.generation, code, detail: reason };
        acknowledge(draft, at, &ack, moment.now);
    }
}

/// A manifest counts when its text is not the one that was last loaded, so that a later write survives a restart.
fn take_manifest(draft: &mut Draft<'_>, at: usize, moment: &Moment<'_>) {
    let twin = draft.twin();
    let device = twin.device.clone();
    let state = &twin.properties[at];
    let value = device.properties[at].desired.as_ref().map(|desire| &desire.value);
    let text = value.map(ToString::to_string);
    if text.as_deref() == state.manifest.as_deref() {
        return;
    }
    let from_manifest =
        state.desired.as_ref().is_some_and(|desired| desired.writer == Writer::Manifest);
    draft.quietly().properties[at].manifest = text.map(Into::into);
    if value.is_some() || from_manifest {
        take(draft, at, value.cloned(), &Writer::Manifest, None, None, moment);
    }
}

/// What was desired while this node was on its own is the cloud's to keep or to change: it has its number still, so that
/// nothing is written again where the cloud wants the same. An override has an end, and stays until then.
fn hand_over(draft: &mut Draft<'_>, at: usize) {
    let Some(desired) = &draft.twin().properties[at].desired else { return };
    if desired.writer == Writer::Cloud || desired.expires_at.is_some() {
        return;
    }
    let handed = Desired { writer: Writer::Cloud, ..Desired::clone(desired) };
    draft.desired_side(at).desired = Some(Arc::new(handed));
}

/// The same twin in another life: with rows of its own, and with reported values that count as doubtful.
pub(crate) fn reborn(mut twin: StoredTwin, uid: Uid, rows: &mut Rows) -> StoredTwin {
    twin.row = rows.next_device();
    twin.uid = uid;
    for property in &mut twin.properties {
        property.state.row = rows.next_property();
        if let Some(reported) = &mut property.state.reported {
            reported.doubt();
        }
    }
    twin
}

fn bare_change(twin: &Twin) -> Change {
    Change {
        device: twin.device.clone(),
        uid: twin.uid.clone(),
        rev: twin.rev,
        kind: ChangeKind::Described,
        condition: None,
        properties: Vec::new(),
        delta_changed: false,
    }
}

/// Adds properties that came and went to `change`.
fn add_structure(
    change: &mut Change,
    twin: &Twin,
    replaced: Vec<(usize, Option<TwinProperty>)>,
    gone: Vec<StoredProperty>,
) {
    // The feed keeps it for a while.
    change.properties.reserve_exact(replaced.len() + gone.len());
    for (at, old) in replaced {
        let name = &twin.device.properties[at].name;
        match change.properties.iter_mut().find(|one| one.name == *name) {
            Some(known) => known.old = old,
            None => {
                let new = Some(twin.properties[at].clone());
                change.properties.push(PropertyChange { name: name.clone(), old, new });
            }
        }
    }
    for one in gone {
        change.delta_changed |= one.state.desired.is_some();
        let old = Some(one.state);
        change.properties.push(PropertyChange { name: one.name, old, new: None });
    }
}

fn bury(twin: &Twin, gone: &StoredProperty, rev: u64, moment: &Moment<'_>) -> Tombstone {
    Tombstone {
        device: twin.device.id.clone(),
        property: Some(gone.name.clone()),
        uid: twin.uid.clone(),
        rev,
        generation: gone.state.generation,
        deleted_at: moment.now,
        confirmed: false,
    }
}

impl Twin {
    /// What of this twin stays without its description.
    pub(crate) fn into_stored(self) -> StoredTwin {
        let names = self.device.properties.iter();
        StoredTwin {
            row: self.row,
            id: self.device.id.clone(),
            uid: self.uid,
            rev: self.rev,
            condition: self.condition,
            last_online: self.last_online,
            properties: names
                .zip(self.properties)
                .map(|(property, state)| StoredProperty {
                    name: property.name.clone(),
                    data_type: property.data_type,
                    state,
                })
                .collect(),
        }
    }
}
