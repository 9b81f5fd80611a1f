//! The state of one property.

use std::sync::Arc;

use device_model::{AckCode, Generation, Property, Quality, QualityCode, Timestamp, Value};

use crate::Writer;

/// What is desired and what was reported of one property. Cheap to clone, unless the value is a long text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TwinProperty {
    /// What it should become: the value that counts now.
    pub desired: Option<Arc<Desired>>,
    /// The cloud's value that waits beneath a local override, to count again when that ends (rule R11).
    pub beneath: Option<Arc<Desired>>,
    /// What became of `desired`; `None` until a mapper has it.
    pub ack: Option<Arc<Acknowledged>>,
    /// What the device said last; `None` until it said something.
    pub reported: Option<Reported>,
    /// The highest generation that was given, also of values that are deleted: none is ever used again.
    pub generation: Generation,
    /// The highest number that the cloud gave one of its values; 0: none.
    pub cloud_version: u64,
    /// The device's revision at which `desired` or `ack` changed last; 0: never.
    pub desired_pv: u64,
    /// The manifest's desired text as it was last loaded.
    pub(crate) manifest: Option<Arc<str>>,
    /// Row in the store.
    pub(crate) row: u32,
    /// `received_at` of what the store has in `reported`.
    pub(crate) persisted_at: Timestamp,
    /// When `reported` was heard last, by the steady clock: the other one may have been set since.
    pub(crate) seen_at: Timestamp,
}

/// A value that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The value.
    pub value: Value,
    /// Its number, upwards for each property. A mapper writes once per generation.
    pub generation: Generation,
    /// When it was accepted.
    pub set_at: Timestamp,
    /// Who wants it.
    pub writer: Writer,
    /// When it no longer needs to be written.
    pub expires_at: Option<Timestamp>,
    /// The cloud's own number of it.
    pub cloud_version: Option<u64>,
}

/// What a mapper said became of a desired value.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// Which desired value.
    pub generation: Generation,
    /// How far it got.
    pub code: AckCode,
    /// One line for a person; may be empty.
    pub detail: Box<str>,
    /// When it got there: sample time of the reading that came with the code, else when that arrived.
    pub at: Timestamp,
}

/// What a device said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// The last value that was not bad; `None` if there was none yet.
    pub value: Option<Value>,
    /// How far to trust it. Bad: `value` is an old one.
    pub quality: Quality,
    /// Why.
    pub code: QualityCode,
    /// The device's own time.
    pub source_time: Option<Timestamp>,
    /// When the mapper had the device's answer, good or bad.
    pub sample_time: Timestamp,
    /// When it arrived here.
    pub received_at: Timestamp,
    /// The device's revision at which value, quality or code changed last.
    pub pv: u64,
}

impl TwinProperty {
    /// When the reported value was heard last, by the steady clock ([`Now`](crate::Now)).
    pub fn seen_at(&self) -> Option<Timestamp> {
        self.reported.as_ref().map(|_| self.seen_at)
    }

    /// Whether nothing more is to come of the desired value (rule R17): there is none, or its acknowledgement is final.
    pub fn settled(&self) -> bool {
        match (&self.desired, &self.ack) {
            (None, _) => true,
            (Some(_), ack) => ack.as_ref().is_some_and(|ack| ack.code.is_final()),
        }
    }

    /// Whether the device took the desired value and has it still (rule R17).
    ///
    /// With a verified value the read-back is the proof; with one that was only written, a reading must have been
    /// taken since. A property of which nothing is desired is in sync.
    pub fn in_sync(&self, property: &Property) -> bool {
        let Some(desired) = &self.desired else { return true };
        let (Some(ack), Some(reported)) = (&self.ack, &self.reported) else { return false };
        ack.code.is_success()
            && reported.shows(&desired.value, property)
            && (ack.code == AckCode::Verified || reported.sample_time >= ack.at)
    }

    /// The desired value, if the device does not show it and has not finally refused it (rule R18).
    pub fn wanted(&self, property: &Property) -> Option<&Arc<Desired>> {
        let desired = self.desired.as_ref()?;
        let refused =
            self.ack.as_ref().is_some_and(|ack| ack.code.is_final() && !ack.code.is_success());
        let shown =
            self.reported.as_ref().is_some_and(|reported| reported.shows(&desired.value, property));
        (!refused && !shown).then_some(desired)
    }

    pub(crate) fn wanted_generation(&self, property: &Property) -> Option<Generation> {
        self.wanted(property).map(|desired| desired.generation)
    }

    /// The revision of its newest change; 0: none yet.
    pub fn newest(&self) -> u64 {
        self.desired_pv.max(self.reported.as_ref().map_or(0, |reported| reported.pv))
    }

    /// Octets that it takes beside a fixed size: of its values, and of the words of its acknowledgement.
    pub(crate) fn weight(&self) -> usize {
        self.octets() + self.ack.as_ref().map_or(0, |ack| ack.detail.len())
    }

    /// Octets of its values that do not have a fixed size.
    pub(crate) fn octets(&self) -> usize {
        let values = [
            self.desired.as_ref().map(|desired| &desired.value),
            self.beneath.as_ref().map(|desired| &desired.value),
            self.reported.as_ref().and_then(|reported| reported.value.as_ref()),
        ];
        values.into_iter().flatten().map(octets).sum()
    }
}

impl Reported {
    /// It is of a former life of the device or the store: what the device has now is not known before it is read again. What
    /// is bad stays bad, for its own reason.
    pub(crate) fn doubt(&mut self) {
        if self.quality != Quality::Bad {
            (self.quality, self.code) = (Quality::Uncertain, QualityCode::Restored);
        }
    }

    /// Whether the device is known to have `wanted`, within the property's tolerance.
    fn shows(&self, wanted: &Value, property: &Property) -> bool {
        self.quality != Quality::Bad
            && self
                .value
                .as_ref()
                .is_some_and(|value| value.within(wanted, property.options.tolerance))
    }
}

/// Octets of a text or of bytes; 0 for what has a fixed size.
pub(crate) fn octets(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Bytes(octets) => octets.len(),
        Value::Int(_) | Value::Float(_) | Value::Double(_) | Value::Boolean(_) => 0,
    }
}
