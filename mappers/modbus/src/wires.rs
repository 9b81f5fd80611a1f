//! The settings of each wire: where devices on one wire disagree, those of the first count.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use device_model::DeviceId;

use crate::endpoint::Endpoint;

/// The wires of all devices seen.
#[derive(Default)]
pub(crate) struct Wires {
    wires: Mutex<HashMap<Endpoint, Wire>>,
}

struct Wire {
    /// The device whose settings count.
    owner: DeviceId,
    endpoint: Endpoint,
    settings: Arc<Settings>,
    /// Devices whose other settings were named in a warning.
    warned: BTreeSet<DeviceId>,
}

/// Whether a session's settings are still the wire's.
pub(crate) struct Settings(AtomicBool);

impl Settings {
    pub(crate) fn are_current(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn fresh() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }
}

impl Wires {
    /// Notes that `device` is on the wire. `true`: its settings differ from those that count, and nobody was told.
    pub(crate) fn note(&self, device: &DeviceId, endpoint: &Endpoint) -> bool {
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        let wire = wires.entry(endpoint.clone()).or_insert_with(|| Wire {
            owner: device.clone(),
            endpoint: endpoint.clone(),
            settings: Settings::fresh(),
            warned: BTreeSet::new(),
        });
        if wire.endpoint.has_settings_of(endpoint) {
            wire.warned.remove(device);
            return false;
        }
        if wire.owner != *device {
            return wire.warned.insert(device.clone());
        }
        wire.endpoint = endpoint.clone();
        wire.settings.0.store(false, Ordering::Relaxed);
        wire.settings = Settings::fresh();
        false
    }

    /// The settings that count for the wire.
    pub(crate) fn settings(&self, endpoint: &Endpoint) -> (Endpoint, Arc<Settings>) {
        let wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        match wires.get(endpoint) {
            Some(wire) => (wire.endpoint.clone(), wire.settings.clone()),
            None => (endpoint.clone(), Settings::fresh()),
        }
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
}
