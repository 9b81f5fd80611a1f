//! What a mapper was told, compared with what it should know.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use device_model::{Device, DeviceId, DeviceModel, Property};
use device_twin::Twin;
use dmi::convert::{DesiredTwin, Peer, device_to_proto};
use dmi::proto;

use super::registration::{Noted, OTHER};
use crate::catalogue::ModelId;
use crate::traces::Traces;

/// What a mapper was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) devices: HashMap<DeviceId, ToldDevice>,
    pub(crate) models: HashMap<ModelId, Arc<DeviceModel>>,
    /// Devices that stood in the answer to its registration, and that it may have refused.
    pub(crate) doubtful: Vec<DeviceId>,
    /// The same as the store keeps it, together with what an earlier run told; none for a mapper that knows leases.
    pub(super) noted: Option<Noted>,
}

impl Told {
    /// Before the first call to a mapper.
    pub(super) fn nothing(leased: bool) -> Self {
        Self { noted: (!leased).then(Noted::new), ..Self::default() }
    }

    /// Has the store keep it from now on: what it keeps.
    pub(super) fn note(&mut self) -> &Noted {
        let told = self.devices.iter().map(|(id, told)| (id.clone(), told.fingerprint()));
        let doubtful = self.doubtful.iter().map(|id| (id.clone(), OTHER));
        self.noted.insert(told.chain(doubtful).collect())
    }
}

/// What it was told of one device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ToldDevice {
    device: Arc<Device>,
    /// Of this life of it, and of the generations of all that is desired in it.
    desired: u64,
}

impl ToldDevice {
    /// What a message made of `twin` tells.
    pub(crate) fn of(twin: &Twin) -> Self {
        let mut hasher = DefaultHasher::new();
        twin.uid().hash(&mut hasher);
        for (_, state) in twin.properties() {
            state.desired.as_ref().map(|desired| desired.generation).hash(&mut hasher);
        }
        Self { device: twin.device().clone(), desired: hasher.finish() }
    }

    /// The same for equal devices with equal wishes, in every run of this program. Another program may have others:
    /// then a device is told once more than it needs to be.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut text = Hashed(DefaultHasher::new());
        // Writing into a hash cannot fail.
        let _ = write!(text, "{:?}", self.device);
        self.desired.hash(&mut text.0);
        text.0.finish().max(OTHER + 1)
    }
}

/// Takes text without keeping it.
struct Hashed(DefaultHasher);

impl std::fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The message for a twin's device with what is desired of it now, and which change that is.
pub(crate) fn message(
    twin: &Twin,
    peer: Peer,
    traces: &Traces,
) -> Result<proto::Device, device_model::Problem> {
    let desired = |property: &Property| {
        let (_, state) = twin.property(property.name.as_str())?;
        let desired = state.desired.as_ref()?;
        Some(DesiredTwin {
            value: desired.value.clone(),
            generation: desired.generation,
            set_at: desired.set_at,
            ack: state.ack.as_ref().map(|ack| (ack.generation, ack.code)),
            trace: traces.of(&twin.device().id, &property.name, desired.generation),
        })
    };
    device_to_proto(twin.device(), desired, peer)
}
