//! How a parcel is told to a peer: all of it to our agent, and to a real EdgeCore what it would not drop.

use std::collections::HashSet;

use device_model::{DeviceId, PropertyName, Quality, Reading};
use dmi::convert::{Peer, TwinReport, report_to_proto};
use dmi::proto::ReportDeviceStatusRequest;
use tracing::warn;

use crate::outbox::Parcel;

/// Longest value that EdgeCore keeps, in bytes.
const EDGECORE_LIMIT: usize = 512;
/// EdgeCore looks for a namespace in the whole topic of a device, finds these too early, and drops every report.
const EDGECORE_TOPIC: &str = "$hw/events/device/";

/// Wraps parcels for one peer; each complaint is logged once.
#[derive(Debug)]
pub(super) struct Wrapping {
    peer: Peer,
    unspeakable: HashSet<(DeviceId, PropertyName)>,
    namespaces: HashSet<String>,
}

impl Default for Wrapping {
    fn default() -> Self {
        Self::new(Peer::Edgetwin)
    }
}

impl Wrapping {
    pub(super) fn new(peer: Peer) -> Self {
        Self { peer, unspeakable: HashSet::new(), namespaces: HashSet::new() }
    }

    /// The call for `parcel`; none if nothing of it is for this peer. Readings come before acknowledgements, so that
    /// whoever waits for one sees the value.
    pub(super) fn wrap(&mut self, parcel: &Parcel) -> Option<ReportDeviceStatusRequest> {
        let device = &parcel.device;
        let desired = |name: &PropertyName| {
            let property = device.property(name.as_str())?;
            property.desired.as_ref().map(|desire| desire.value.to_string())
        };
        // Most devices desire nothing, and the search for it is dear.
        let echo = device.properties.iter().any(|property| property.desired.is_some());
        let mut twins = Vec::with_capacity(parcel.readings.len() + parcel.acks.len());
        for (name, reading) in &parcel.readings {
            if self.peer == Peer::KubeEdge && !self.speakable(&device.id, name, reading) {
                continue;
            }
            twins.push(TwinReport {
                property: name.clone(),
                reading: Some(reading.clone()),
                ack: None,
                observed: if echo { desired(name) } else { None },
            });
        }
        if self.peer == Peer::Edgetwin {
            twins.extend(parcel.acks.iter().map(|(name, ack)| TwinReport {
                property: name.clone(),
                reading: None,
                ack: Some(ack.clone()),
                observed: desired(name),
            }));
        }
        (!twins.is_empty()).then(|| report_to_proto(&device.id, twins, self.peer))
    }

    /// Whether EdgeCore keeps this reading. It has no quality, so a Bad one would look like an empty value; and it
    /// drops, without a word, a report with a character outside of its alphabet.
    fn speakable(&mut self, device: &DeviceId, name: &PropertyName, reading: &Reading) -> bool {
        let namespace = device.namespace();
        if EDGECORE_TOPIC.contains(namespace) && self.namespaces.insert(namespace.to_owned()) {
            warn!(namespace, "EdgeCore drops all reports of devices in this namespace; rename it");
        }
        let value = match &reading.value {
            Some(value) if reading.quality != Quality::Bad => value.to_string(),
            _ => return false,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/@#".contains(c);
        let fine = value.len() <= EDGECORE_LIMIT && value.chars().all(plain);
        if !fine && self.unspeakable.insert((device.clone(), name.clone())) {
            warn!(%device, property = %name, "EdgeCore would drop this value without a word; it is not sent");
        }
        fine
    }
}
