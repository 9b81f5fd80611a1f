//! What a simulation is made of, from text.

use std::collections::BTreeMap;
use std::fmt;

use crate::layout::{Layout, Place};
use crate::manifest::{self, DeviceSpec, Wire};
use crate::problem::{Problem, SpecError};
use crate::register_file;

/// Units with their registers, before they run.
#[derive(Clone, Debug, Default)]
pub struct Blueprint {
    pub(crate) layouts: BTreeMap<u8, Layout>,
    pub(crate) places: BTreeMap<(String, String), Place>,
    pub(crate) seed: u64,
}

/// A wire that manifests name, and what is on it.
#[derive(Clone, Debug)]
pub struct Station {
    /// Where the mapper looks for it.
    pub wire: Wire,
    /// The devices on it, `namespace/name`.
    pub devices: Vec<String>,
    /// Their units.
    pub blueprint: Blueprint,
}

impl Blueprint {
    /// Reads DeviceModels and Devices, or a register file; which of them shows in the text.
    ///
    /// # Errors
    /// Every problem in the text, each with field, value and remedy; among them two devices on different wires that
    /// claim one unit (then take [`Blueprint::stations`]).
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if register_file::is_one(text) {
            return Self::from_register_file(text);
        }
        Self::from_manifests(text)
    }

    /// Reads the devices in `text`: KubeEdge DeviceModel and Device manifests (`devices.kubeedge.io/v1beta1`). The devices
    /// of every wire become units of this one blueprint.
    ///
    /// # Errors
    /// As [`Blueprint::parse`].
    pub fn from_manifests(text: &str) -> Result<Self, SpecError> {
        let devices = manifest::parse(text)?;
        let mut blueprint = Self::default();
        let mut owners: BTreeMap<u8, &DeviceSpec> = BTreeMap::new();
        let mut problems = Vec::new();
        for device in &devices {
            match owners.get(&device.unit) {
                Some(owner) if owner.wire != device.wire => problems.push(Problem::new(
                    format!("Device {} spec.protocol.configData.slaveID", device.name),
                    device.unit,
                    format!(
                        "{} has this unit on another wire: serve each wire by itself, or change one of them",
                        owner.name
                    ),
                )),
                _ => {
                    owners.insert(device.unit, device);
                    blueprint.add(device);
                }
            }
        }
        SpecError::unless_empty(problems).map(|()| blueprint)
    }

    /// Reads a register file; see the crate documentation for its form.
    ///
    /// # Errors
    /// As [`Blueprint::parse`].
    pub fn from_register_file(text: &str) -> Result<Self, SpecError> {
        Ok(Self { layouts: register_file::parse(text)?, ..Self::default() })
    }

    /// Reads manifests as [`Blueprint::from_manifests`] does, but keeps apart what hangs on different wires.
    ///
    /// # Errors
    /// Every problem in the text, each with field, value and remedy.
    pub fn stations(text: &str) -> Result<Vec<Station>, SpecError> {
        let mut stations: Vec<Station> = Vec::new();
        for device in manifest::parse(text)? {
            let index = stations.iter().position(|station| station.wire == device.wire);
            let index = index.unwrap_or_else(|| {
                let wire = device.wire.clone();
                let blueprint = Self::default();
                stations.push(Station { wire, devices: Vec::new(), blueprint });
                stations.len() - 1
            });
            if let Some(station) = stations.get_mut(index) {
                station.devices.push(device.name.clone());
                station.blueprint.add(&device);
            }
        }
        Ok(stations)
    }

    /// Makes random waveforms differ from those of another seed; equal seeds give equal values.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Adds or replaces one unit.
    #[must_use]
    pub fn unit(mut self, number: u8, layout: Layout) -> Self {
        self.layouts.insert(number, layout);
        self
    }

    /// Numbers of its units.
    pub fn units(&self) -> Vec<u8> {
        self.layouts.keys().copied().collect()
    }

    /// The devices that its units belong to, `namespace/name`; none from a register file.
    pub fn devices(&self) -> Vec<String> {
        let mut names: Vec<_> = self.places.keys().map(|(device, _)| device.clone()).collect();
        names.dedup();
        names
    }

    fn add(&mut self, device: &DeviceSpec) {
        device.lay_out(self.layouts.entry(device.unit).or_default());
        for point in &device.points {
            self.places.insert((device.name.clone(), point.property.clone()), point.place);
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "tcp {host}:{port}"),
            Self::RtuOverTcp { host, port } => write!(f, "rtu-over-tcp {host}:{port}"),
            Self::Serial { path, .. } => write!(f, "rtu {path}"),
        }
    }
}
