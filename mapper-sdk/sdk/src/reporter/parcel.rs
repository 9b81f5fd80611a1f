//! How a parcel is told to a peer: all of it to our agent, and to a real EdgeCore what it would not drop.

use std::borrow::Cow;
use std::collections::HashSet;

use device_model::{DeviceId, PropertyName, Quality, Reading};
use dmi::convert::{EncodedReport, Peer, TwinRef};
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

    /// An empty report.
    pub(super) const fn report(&self) -> EncodedReport {
        EncodedReport::new(self.peer)
    }

    /// Whether one report may tell of several devices.
    pub(super) fn several(&self) -> bool {
        self.peer == Peer::Edgetwin
    }

    /// Adds `parcel` to `report`. Says whether anything of it is for this peer. Readings come before
    /// acknowledgements, so that whoever waits for one sees the value.
    pub(super) fn wrap(&mut self, parcel: &Parcel, report: &mut EncodedReport) -> bool {
        let device = &parcel.device;
        let desired = |name: &PropertyName| {
            let property = device.property(name.as_str())?;
            property.desired.as_ref().map(|desire| Cow::Owned(desire.value.to_string()))
        };
        // Most devices desire nothing, and the search for it is dear.
        let echo = device.properties.iter().any(|property| property.desired.is_some());
        let acks = if self.peer == Peer::Edgetwin { parcel.acks.as_slice() } else { &[] };
        let acks = acks.iter().map(|(property, ack)| TwinRef {
            property,
            reading: None,
            ack: Some(ack),
            observed: desired(property),
        });
        let readings = parcel
            .readings
            .iter()
            .filter(|(name, reading)| {
                self.peer == Peer::Edgetwin || self.speakable(&device.id, name, reading)
            })
            .map(|(property, reading)| TwinRef {
                property,
                reading: Some(reading),
                ack: None,
                observed: if echo { desired(property) } else { None },
            });
        report.push(&device.id, readings.chain(acks))
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
