//! One device's twin.

use std::sync::Arc;

use device_model::{Device, DeviceState, Generation, Property, PropertyName, Timestamp, Value};

use crate::{TwinProperty, Uid};

/// Desired and reported of all properties of one device.
#[derive(Clone, Debug)]
pub struct Twin {
    pub(crate) device: Arc<Device>,
    pub(crate) uid: Uid,
    pub(crate) rev: u64,
    pub(crate) state: DeviceState,
    pub(crate) last_online: Option<Timestamp>,
    /// In the order of `device.properties`.
    pub(crate) properties: Vec<TwinProperty>,
    /// Indices of `properties`, sorted by name.
    pub(crate) order: Arc<[u16]>,
    /// Row in the store.
    pub(crate) row: u32,
    /// Nothing expires or goes stale before this.
    pub(crate) check_at: Option<Timestamp>,
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
        self.state
    }

    /// When its state was last said to be online.
    pub fn last_online(&self) -> Option<Timestamp> {
        self.last_online
    }

    /// Each property's description and state, in the device's order.
    pub fn properties(&self) -> impl ExactSizeIterator<Item = (&Property, &TwinProperty)> {
        self.device.properties.iter().zip(&self.properties)
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

    /// Place of the property of that name.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        let at = |index: &u16| self.device.properties[usize::from(*index)].name.as_str();
        let place = self.order.binary_search_by(|index| at(index).cmp(name)).ok()?;
        Some(usize::from(self.order[place]))
    }
}
