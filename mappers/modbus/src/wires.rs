//! The settings of each wire: where devices on one wire disagree, those of the first count.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device_model::DeviceId;

use crate::endpoint::Endpoint;

/// The wires of all devices.
#[derive(Default)]
pub(crate) struct Wires {
    wires: Mutex<HashMap<Endpoint, Wire>>,
}

struct Wire {
    /// How each of its devices sets it up, in the order in which they came: the first one's settings count.
    devices: Vec<(DeviceId, Endpoint)>,
    settings: Arc<Settings>,
}

/// Whether a session's settings are still the wire's.
pub(crate) struct Settings(AtomicBool);

impl Settings {
    pub(crate) fn are_current(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An open session ends.
    fn outdate(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn fresh() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }
}

impl Wires {
    /// Notes that `device` is on the wire. `true`: its settings differ from those that count, and nobody was told.
    pub(crate) fn note(&self, device: &DeviceId, endpoint: &Endpoint) -> bool {
        let mut wires = self.wires();
        let wire = wires
            .entry(endpoint.clone())
            .or_insert_with(|| Wire { devices: Vec::new(), settings: Settings::fresh() });
        let place = wire.devices.iter().position(|(other, _)| other == device);
        let before = match place {
            Some(place) => Some(std::mem::replace(&mut wire.devices[place].1, endpoint.clone())),
            None => {
                wire.devices.push((device.clone(), endpoint.clone()));
                None
            }
        };
        let changed = before.is_none_or(|before| !before.has_settings_of(endpoint));
        if place == Some(0) && changed {
            wire.settings.outdate();
            wire.settings = Settings::fresh();
        }
        changed && !wire.devices[0].1.has_settings_of(endpoint)
    }

    /// Notes that `device` is not on the wire any more. The next one's settings count if it was the first.
    pub(crate) fn forget(&self, device: &DeviceId, endpoint: &Endpoint) {
        let mut wires = self.wires();
        let Some(wire) = wires.get_mut(endpoint) else { return };
        let Some(place) = wire.devices.iter().position(|(other, _)| other == device) else {
            return;
        };
        let (_, before) = wire.devices.remove(place);
        match wire.devices.first() {
            None => {
                wires.remove(endpoint);
            }
            Some((_, first)) if place == 0 && !first.has_settings_of(&before) => {
                wire.settings.outdate();
                wire.settings = Settings::fresh();
            }
            Some(_) => {}
        }
    }

    /// The settings that count for the wire.
    pub(crate) fn settings(&self, endpoint: &Endpoint) -> (Endpoint, Arc<Settings>) {
        match self.wires().get(endpoint) {
            Some(Wire { devices, settings }) => (devices[0].1.clone(), settings.clone()),
            None => (endpoint.clone(), Settings::fresh()),
        }
    }

    fn wires(&self) -> MutexGuard<'_, HashMap<Endpoint, Wire>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::device;

    fn endpoint(protocol: &str) -> Endpoint {
        let visitor = "{register: holding, offset: 0}";
        crate::endpoint::address(&device(protocol, "INT", "ReadOnly", visitor)).unwrap().0
    }

    #[test]
    fn the_first_devices_settings_count_until_it_changes_them() {
        let wires = Wires::default();
        let [a, b] = ["a", "b"].map(|name| DeviceId::new("demo", name).unwrap());
        let slow = endpoint("{serialPort: /dev/ttyS0, slaveID: 1}");
        let fast = endpoint("{serialPort: /dev/ttyS0, slaveID: 2, baudRate: 19200}");
        assert!(!wires.note(&a, &slow));
        assert!(wires.note(&b, &fast), "b is told");
        assert!(!wires.note(&b, &fast), "once");
        let (endpoint, settings) = wires.settings(&fast);
        assert!(endpoint.has_settings_of(&slow) && settings.are_current());
        assert!(!wires.note(&a, &fast));
        assert!(!settings.are_current(), "an open session must end");
        let (endpoint, settings) = wires.settings(&slow);
        assert!(endpoint.has_settings_of(&fast) && settings.are_current());
    }

    #[test]
    fn what_a_removed_device_wanted_of_its_wire_is_forgotten() {
        let wires = Wires::default();
        let [a, b] = ["a", "b"].map(|name| DeviceId::new("demo", name).unwrap());
        let slow = endpoint("{serialPort: /dev/ttyS0, slaveID: 1}");
        let fast = endpoint("{serialPort: /dev/ttyS0, slaveID: 2, baudRate: 19200}");
        wires.note(&a, &slow);
        wires.note(&b, &fast);
        let (_, settings) = wires.settings(&slow);
        wires.forget(&a, &slow);
        assert!(!settings.are_current(), "an open session must end");
        let (endpoint, settings) = wires.settings(&slow);
        assert!(endpoint.has_settings_of(&fast) && settings.are_current());
        assert!(wires.note(&a, &slow), "it is the second one now");
        wires.forget(&a, &slow);
        assert!(settings.are_current());
        wires.forget(&b, &fast);
        assert!(!wires.note(&a, &slow), "the wire is as new");
        assert!(wires.settings(&fast).0.has_settings_of(&slow));
    }
}
