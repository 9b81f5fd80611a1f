//! One device's twin.

use std::sync::Arc;

use device_model::{
    Device, DeviceState, Generation, Property, PropertyName, Quality, QualityCode, Timestamp, Value,
};

use crate::desire::expire;
use crate::draft::{Draft, Moment};
use crate::places::Places;
use crate::property::octets;
use crate::{
    Change, ChangeKind, Condition, Current, PropertyChange, Rejected, Reported, TwinProperty, Uid,
};

/// Desired and reported of all properties of one device.
#[derive(Clone, Debug)]
pub struct Twin {
    pub(crate) device: Arc<Device>,
    pub(crate) uid: Uid,
    pub(crate) rev: u64,
    pub(crate) condition: Condition,
    pub(crate) last_online: Option<Timestamp>,
    /// In the order of `device.properties`.
    pub(crate) properties: Vec<TwinProperty>,
    /// Finds a property by name without looking at the others.
    pub(crate) places: Places,
    /// Row in the store.
    pub(crate) row: u32,
    /// Nothing expires or goes stale before this, by the steady clock, unless the other one is set.
    pub(crate) check_at: Option<Timestamp>,
    /// The last batch that touched it.
    pub(crate) batch: u64,
    /// Readings that were taken since the start.
    pub(crate) readings: u64,
}

/// One property that the device should still take.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta<'a> {
    /// Which.
    pub name: &'a PropertyName,
    /// What it should become.
    pub value: &'a Value,
    /// Its number.
    pub generation: Generation,
    /// Since when.
    pub set_at: Timestamp,
}

impl Twin {
    /// The device that this is the twin of.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Which life of the device.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Counts the committed changes of this life.
    pub fn rev(&self) -> u64 {
        self.rev
    }

    /// Whether the device can be reached.
    pub fn state(&self) -> DeviceState {
        self.condition.state
    }

    /// The same with its time and its reason.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// When its state was last said to be online.
    pub fn last_online(&self) -> Option<Timestamp> {
        self.last_online
    }

    /// How many readings of it were taken since the device was loaded, also those that only said the same again.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Each property's description and state, in the device's order.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = (&Property, &TwinProperty)> {
        self.device.properties.iter().map(Arc::as_ref).zip(&self.properties)
    }

    /// One property's description and state.
    pub fn property(&self, name: &str) -> Option<(&Property, &TwinProperty)> {
        let index = self.index(name)?;
        Some((&self.device.properties[index], &self.properties[index]))
    }

    /// What the device should still take (rule R18). It is a state, not a queue: only the newest matters.
    pub fn delta(&self) -> impl Iterator<Item = Delta<'_>> {
        self.properties().filter_map(|(property, state)| {
            let wanted = state.wanted(property)?;
            Some(Delta {
                name: &property.name,
                value: &wanted.value,
                generation: wanted.generation,
                set_at: wanted.set_at,
            })
        })
    }

    /// Octets that its properties take beside a fixed size: of texts and bytes. What they share with others counts as
    /// theirs.
    pub fn weight(&self) -> usize {
        self.properties.iter().map(TwinProperty::weight).sum()
    }

    /// Place of the property of that name.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.places.find(name, |at| self.device.properties[at].name.as_str())
    }

    /// Checks that a request is for this life and this revision of the device (rules R5 and R26).
    pub(crate) fn meant<'a>(
        &self,
        uid: Option<&Uid>,
        if_version: Option<u64>,
        named: impl Iterator<Item = &'a str>,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejected> {
        if let Some(uid) = uid.filter(|uid| **uid != self.uid) {
            moment.counters.former_lives += 1;
            return Err(Rejected::FormerLife { device: self.device.id.clone(), uid: uid.clone() });
        }
        if let Some(expected) = if_version.filter(|version| *version != self.rev) {
            moment.counters.conflicts += 1;
            let properties = named
                .filter_map(|name| self.property(name))
                .map(|(property, state)| (property.name.clone(), state.clone()))
                .collect();
            let current = Box::new(Current { rev: self.rev, properties });
            return Err(Rejected::Conflict { expected, current });
        }
        Ok(())
    }

    pub(crate) fn unknown_property(&self, name: &str) -> Rejected {
        let name: String = name.chars().take(128).collect();
        Rejected::Unknown { what: format!("property {name} of device {}", self.device.id) }
    }

    /// Whether `value` fits into the twin beside the others (rule R9).
    pub(crate) fn has_room(
        &self,
        at: usize,
        value: &Value,
        moment: &Moment<'_>,
    ) -> Result<(), Rejected> {
        let limit = moment.settings.limits.twin;
        let new = octets(value);
        if new == 0 {
            return Ok(());
        }
        let others: usize = self.properties.iter().map(TwinProperty::octets).sum();
        if others + new > limit {
            return Err(Rejected::TooLarge {
                what: format!("the twin with this value of {}", self.device.properties[at].name),
                limit: format!("{limit} octets"),
            });
        }
        Ok(())
    }

    /// What time alone does: expiry (rules R11 and R14) and staleness (rule R24).
    pub(crate) fn tick(&mut self, moment: &Moment<'_>) -> Option<Change> {
        let mut draft = Draft::of(self).ok()?;
        draft.quietly().check_at = None;
        for at in 0..draft.twin().properties.len() {
            let expires = expire(&mut draft, at, moment);
            let stale = go_stale(&mut draft, at, moment);
            for time in [expires, stale].into_iter().flatten() {
                draft.check_at(time);
            }
        }
        draft.finish()
    }

    /// What was reported before the start may be of an old copy of the store.
    pub(crate) fn doubt(&mut self, moment: &Moment<'_>) -> Option<Change> {
        let mut draft = Draft::of(self).ok()?;
        for at in 0..draft.twin().properties.len() {
            let state = &draft.twin().properties[at];
            let heard = state.seen_at > moment.opened_at;
            let believed =
                |one: &Reported| one.quality != Quality::Bad && one.code != QualityCode::Restored;
            if heard || !state.reported.as_ref().is_some_and(believed) {
                continue;
            }
            let rev = draft.rev();
            if let Some(reported) = &mut draft.reported_side(at).reported {
                reported.doubt();
                reported.pv = rev;
            }
        }
        draft.finish()
    }

    /// Its end.
    pub(crate) fn removal(&self) -> Change {
        let gone = |(property, state): (&Property, &TwinProperty)| PropertyChange {
            name: property.name.clone(),
            old: Some(state.clone()),
            new: None,
        };
        Change {
            device: self.device.clone(),
            uid: self.uid.clone(),
            rev: self.rev + 1,
            kind: ChangeKind::Removed,
            condition: None,
            properties: self.properties().map(gone).collect(),
            delta_changed: false,
        }
    }

    /// What the mapper makes of the description.
    pub(crate) fn judged(&mut self, problem: Option<Arc<str>>) -> Result<Option<Change>, Rejected> {
        let mut draft = Draft::of(self)?;
        draft.set_problem(problem);
        Ok(draft.finish())
    }

    /// The mapper is gone: nobody can tell the state. Values go stale in their own time.
    pub(crate) fn lose(&mut self, reason: &Arc<str>, now: Timestamp) -> Option<Change> {
        if self.state() == DeviceState::Unknown {
            // What was said of that before is still so.
            return None;
        }
        let mut draft = Draft::of(self).ok()?;
        draft.set_state(DeviceState::Unknown, Some(reason.clone()), now);
        draft.finish()
    }
}

/// Marks a value that nobody refreshed; returns when it will be due if it is not yet.
fn go_stale(draft: &mut Draft<'_>, at: usize, moment: &Moment<'_>) -> Option<Timestamp> {
    let twin = draft.twin();
    let reported = twin.properties[at].reported.as_ref()?;
    let doubted = matches!(reported.code, QualityCode::Stale | QualityCode::Restored);
    if reported.quality == Quality::Bad || doubted {
        return None;
    }
    let seen = twin.properties[at].seen_at.max(moment.opened_at);
    let due = seen.plus(twin.device.properties[at].stale_after());
    if due > moment.clocks.steady {
        return Some(due);
    }
    let rev = draft.rev();
    let property = draft.reported_side(at);
    if let Some(reported) = &mut property.reported {
        property.persisted_at = reported.received_at;
        (reported.quality, reported.code) = (Quality::Uncertain, QualityCode::Stale);
        reported.pv = rev;
    }
    None
}
