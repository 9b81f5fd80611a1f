//! Mappers of an earlier run that are there still, and those that may yet open their socket.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use device_model::DeviceId;
use device_twin::store::Object;
use futures::future::join_all;
use tracing::{info, warn};

use super::registration::{self, Registration};
use super::{Mappers, OPENING, Registry, Start, Told, answers};
use crate::twins::Unavailable;

/// What an earlier run left.
#[derive(Debug)]
pub(super) struct Former {
    /// Registered mappers whose sockets did not answer so far.
    absent: Vec<Registration>,
    /// Until when they may.
    until: Instant,
    /// Devices that had a mapper. Whose it was, unless a registration tells, comes back within a lease's time.
    devices: HashSet<DeviceId>,
}

impl Former {
    /// Reads what the store kept. `devices` are all those of the earlier run.
    pub(super) fn read(objects: &[Object], devices: impl IntoIterator<Item = DeviceId>) -> Self {
        let mut absent = Vec::new();
        for object in objects {
            match registration::read(object) {
                Ok(registration) => absent.push(registration),
                Err(error) => {
                    warn!(mapper = %object.key.name, %error, "its registration cannot be read; restart that mapper");
                }
            }
        }
        let devices =
            if absent.is_empty() { HashSet::new() } else { devices.into_iter().collect() };
        Self { absent, until: Instant::now() + OPENING, devices }
    }

    /// Registers those whose sockets answer now. Whoever did not until the end is forgotten: a mapper that starts
    /// later registers by itself.
    pub(super) async fn resume(&mut self, mappers: &Mappers) -> Result<Vec<Start>, Unavailable> {
        if self.absent.is_empty() {
            return Ok(Vec::new());
        }
        let over = Instant::now() > self.until;
        let absent = std::mem::take(&mut self.absent);
        let there = join_all(absent.iter().map(|one| answers(&one.info.address))).await;
        let mut present = Vec::new();
        for (registration, there) in absent.into_iter().zip(there) {
            let name = &registration.info.name;
            if mappers.registry().mappers.contains_key(name) {
                continue;
            }
            if there {
                present.push(registration);
            } else if over {
                info!(mapper = %name, "mapper of the run before is gone: its socket does not answer");
                match mappers.forget(name).await {
                    Ok(()) => {}
                    Err(Unavailable::Store(_)) => self.absent.push(registration),
                    Err(error) => return Err(error),
                }
            } else {
                self.absent.push(registration);
            }
        }
        Ok(mappers.resume(present, &self.devices))
    }

    /// From now on devices are given to whoever is there.
    pub(super) fn release(&mut self) {
        self.devices = HashSet::new();
    }
}

impl Mappers {
    /// Takes mappers of an earlier run as registered, with the devices that they had. Others that had a mapper then,
    /// which are among `former`, wait for it.
    fn resume(&self, present: Vec<Registration>, former: &HashSet<DeviceId>) -> Vec<Start> {
        if present.is_empty() {
            return Vec::new();
        }
        let devices = self.catalogue.devices();
        let mut registry = self.registry();
        let mut starts = Vec::with_capacity(present.len());
        for Registration { info, noted } in present {
            // It registered by itself while its socket was tried.
            if registry.mappers.contains_key(&info.name) {
                continue;
            }
            let token: Arc<str> = uuid::Uuid::new_v4().to_string().into();
            let (number, dirty, stop) = registry.enter(&info, &token);
            let had = devices.iter().filter(|device| noted.contains_key(&device.id));
            for device in had {
                registry.leases.entrust(&device.id, &device.protocol, &info.name);
            }
            info!(
                mapper = %info.name, protocol = info.protocol, devices = noted.len(),
                socket = %info.address.display(), "mapper of the run before is there"
            );
            dirty.mark_all();
            let told = Told { noted: Some(noted), ..Told::default() };
            starts.push(Start { info, number, dirty, stop, told, kept: true });
        }
        let Registry { leases, mappers, .. } = &mut *registry;
        for device in devices.iter().filter(|device| !former.contains(&device.id)) {
            if let Some(owner) = leases.assign(&device.id, &device.protocol) {
                mappers[&owner].dirty.mark(&device.id);
            }
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{info, nobody};
    use super::*;

    #[tokio::test]
    async fn a_mapper_that_registered_meanwhile_is_not_replaced_by_its_former_self() {
        let dir = tempfile::tempdir().unwrap();
        let (mappers, _reconciler, _owner) = nobody();
        let former = |name: &str| Registration {
            info: info(name, &dir.path().join("old.sock")),
            noted: Default::default(),
        };
        let address = dir.path().join("new.sock");
        let Ok(_pending) = mappers.register(info("back", &address)).await else {
            panic!("nobody has that name")
        };
        let starts = mappers.resume(vec![former("back"), former("other")], &HashSet::new());
        let names: Vec<_> = starts.iter().map(|start| &*start.info.name).collect();
        assert_eq!(names, ["other"]);
        let registry = mappers.registry();
        assert_eq!(registry.mappers["back"].address, address);
        assert!(!registry.mappers["back"].stop.is_cancelled());
    }
}
