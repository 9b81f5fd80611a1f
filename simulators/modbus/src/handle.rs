//! A hand inside the simulation: registers, faults and counters while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bank::NoSuchRegister;
use crate::counters::Counters;
use crate::fault::Fault;
use crate::layout::Place;
use crate::table::Table;
use crate::units::Units;

/// Reads and changes a running simulation; clones reach the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    units: Arc<Units>,
    next_fault: Arc<AtomicU64>,
}

/// One fault that was set, to be cleared again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultId(u64);

/// What a [`Handle`] was asked for is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The simulation has no such unit.
    #[error("no unit {0}: take one of {1:?}")]
    Unit(u8, Vec<u8>),
    /// The unit has no such address.
    #[error("unit {0}: {1}")]
    Register(u8, #[source] NoSuchRegister),
    /// No device of the manifests has such a property.
    #[error("no property {property} of device {device}: devices are named namespace/name")]
    Property {
        /// `namespace/name`.
        device: String,
        /// The property's name.
        property: String,
    },
}

impl Handle {
    pub(crate) fn new(units: Arc<Units>) -> Self {
        Self { units, next_fault: Arc::default() }
    }

    /// What stands at `count` addresses from `start` now; bits as 0 and 1.
    ///
    /// # Errors
    /// There is no such unit, or not all of the addresses exist.
    pub fn read(
        &self,
        unit: u8,
        table: Table,
        start: u16,
        count: u16,
    ) -> Result<Vec<u16>, Missing> {
        let now = self.units.now();
        let mut bank = self.units.bank(unit).ok_or_else(|| self.no_unit(unit))?;
        bank.read(table, start, count, now).map_err(|missing| Missing::Register(unit, missing))
    }

    /// Puts `values` at the addresses from `start`, in read-only tables too; anything but 0 sets a bit.
    /// What moved there by itself stops.
    ///
    /// # Errors
    /// There is no such unit, or not all of the addresses exist; nothing was changed.
    pub fn write(&self, unit: u8, table: Table, start: u16, values: &[u16]) -> Result<(), Missing> {
        let now = self.units.now();
        let mut bank = self.units.bank(unit).ok_or_else(|| self.no_unit(unit))?;
        bank.write(table, start, values, now).map_err(|missing| Missing::Register(unit, missing))
    }

    /// The word in one holding register.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn holding(&self, unit: u8, address: u16) -> Result<u16, Missing> {
        Ok(self.read(unit, Table::Holding, address, 1)?.first().copied().unwrap_or_default())
    }

    /// Whether one coil is on.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn coil(&self, unit: u8, address: u16) -> Result<bool, Missing> {
        Ok(self.read(unit, Table::Coils, address, 1)?.first().is_some_and(|&bit| bit != 0))
    }

    /// Where the manifests put a property of a device (`namespace/name`).
    ///
    /// # Errors
    /// There is no such device or property, or the simulation came from a register file.
    pub fn place(&self, device: &str, property: &str) -> Result<Place, Missing> {
        let key = (device.to_owned(), property.to_owned());
        self.units.places().get(&key).copied().ok_or_else(|| {
            let (device, property) = key;
            Missing::Property { device, property }
        })
    }

    /// A property's value as the manifests encode it; booleans are 0 and 1.
    ///
    /// # Errors
    /// As [`Handle::place`].
    pub fn value(&self, device: &str, property: &str) -> Result<f64, Missing> {
        let place = self.place(device, property)?;
        let words = self.read(place.unit, place.table, place.address, place.count())?;
        Ok(match words.first() {
            Some(&bit) if place.table.is_bits() => bit.into(),
            _ => place.encoding.load(&words),
        })
    }

    /// Puts `value` where the manifests put that property, encoded as they say; what moved there stops.
    ///
    /// # Errors
    /// As [`Handle::place`].
    pub fn set_value(&self, device: &str, property: &str, value: f64) -> Result<(), Missing> {
        let place = self.place(device, property)?;
        if place.table.is_bits() {
            return self.write(place.unit, place.table, place.address, &[(value >= 0.5).into()]);
        }
        let mut words = self.read(place.unit, place.table, place.address, place.count())?;
        place.encoding.store(value, &mut words);
        self.write(place.unit, place.table, place.address, &words)
    }

    /// Sets a fault; it works from the next request on, beside those that are set already.
    pub fn inject(&self, fault: Fault) -> FaultId {
        let id = self.next_fault.fetch_add(1, Ordering::Relaxed);
        self.units.faults.set(id, fault);
        FaultId(id)
    }

    /// Clears one fault; nothing happens when it is cleared already.
    pub fn clear(&self, fault: FaultId) {
        self.units.faults.retain(|id, _| id != fault.0);
    }

    /// Clears every fault.
    pub fn clear_faults(&self) {
        self.units.faults.retain(|_, _| false);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.units.counters()
    }

    /// Waits until `reached` holds; looks again after each request, connection and bad frame.
    ///
    /// For tests: it wakes without polling and has no time limit of its own. Registers can be looked at from inside
    /// of `reached` through a clone of the handle. Cancel safe.
    pub async fn until(&self, mut reached: impl FnMut(&Counters) -> bool) -> Counters {
        loop {
            let mut changed = std::pin::pin!(self.units.tally.changed());
            // From here on no change is missed, even one that comes before the await.
            changed.as_mut().enable();
            let counters = self.counters();
            if reached(&counters) {
                return counters;
            }
            changed.await;
        }
    }

    /// Numbers of the simulated units.
    pub fn units(&self) -> Vec<u8> {
        self.units.numbers().collect()
    }

    fn no_unit(&self, unit: u8) -> Missing {
        Missing::Unit(unit, self.units())
    }
}
