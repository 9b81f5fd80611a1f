//! What the table shows: all devices, kept up to date by the stream of events.

use edge_agent::api::view::{
    DesiredView, DeviceView, Doubt, Event, EventKind, PropertyView, ReportedView,
};

/// Whether an event could be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The board is up to date.
    Yes,
    /// It speaks of something that the board does not know: the devices must be fetched again.
    Unknown,
}

/// All devices as last heard.
#[derive(Debug, Default)]
pub(crate) struct Board {
    devices: Vec<DeviceView>,
    changes: u64,
}

impl Board {
    /// Takes in all devices as they are now.
    pub(crate) fn load(&mut self, devices: Vec<DeviceView>) {
        self.devices = devices;
    }

    /// All devices.
    pub(crate) fn devices(&self) -> &[DeviceView] {
        &self.devices
    }

    /// How many readings brought something new.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether every property of every device has been read.
    pub(crate) fn is_complete(&self) -> bool {
        let mut properties = self.devices.iter().flat_map(|device| &device.properties);
        !self.devices.is_empty()
            && properties.all(|property| {
                property.reported.as_ref().is_some_and(|reported| reported.value.is_some())
            })
    }

    /// Takes in one event.
    pub(crate) fn apply(&mut self, event: &Event) -> Applied {
        if matches!(event.kind, EventKind::Added | EventKind::Removed) {
            return Applied::Unknown;
        }
        let found = self.devices.iter_mut().find(|device| {
            device.namespace == event.device.namespace() && device.name == event.device.name()
        });
        let Some(device) = found else { return Applied::Unknown };
        if event.rev < device.rev {
            // The fetch was newer.
            return Applied::Yes;
        }
        device.rev = event.rev;
        if event.kind == EventKind::State {
            if device.state != event.state {
                device.state_since = event.time;
            }
            device.state = event.state;
            device.state_reason.clone_from(&event.reason);
        }
        let Some(name) = &event.property else { return Applied::Yes };
        let property = device.properties.iter_mut().find(|known| known.name == name.as_str());
        let Some(property) = property else { return Applied::Unknown };
        if event.kind == EventKind::Reported {
            self.changes += 1;
        }
        take(property, event);
        Applied::Yes
    }
}

/// Brings `property` up to the state after `event`.
fn take(property: &mut PropertyView, event: &Event) {
    if event.kind == EventKind::Reported
        && let (Some(quality), Some(code)) = (event.quality, event.code)
    {
        let version = property.reported.as_ref().map_or(0, |reported| reported.version) + 1;
        property.reported = Some(ReportedView {
            value: event.reported.clone(),
            quality,
            code,
            source_time: None,
            sample_time: event.time,
            received_at: event.time,
            version,
            clock: Doubt::of(event.time),
        });
    }
    let text = property.desired.as_ref().map(|desired| &desired.value);
    if text != event.desired.as_ref() {
        property.desired = event.desired.clone().map(|value| DesiredView {
            value,
            version: event.ack.as_ref().map(|ack| ack.version).unwrap_or_default(),
            set_at: event.time,
            expires_at: None,
            writer: String::new(),
            clock: Doubt::of(event.time),
        });
    }
    property.ack.clone_from(&event.ack);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn board() -> Board {
        let device = json!({
            "namespace": "demo", "name": "pump", "protocol": "modbus", "model": "pump-skid",
            "state": "unknown", "stateSince": "2026-11-21T12:00:00.000Z",
            "mapper": null, "rev": 4, "epoch": 1, "incarnation": "a",
            "properties": [{
                "name": "speed", "type": "INT", "access": "ReadWrite", "unit": "rpm",
                "minimum": "0", "maximum": "3000", "desired": null, "ack": null, "reported": null,
                "settled": true, "inSync": true,
            }],
        });
        Board { devices: vec![serde_json::from_value(device).unwrap()], changes: 0 }
    }

    fn event(kind: &str, property: &str, rev: u64) -> Event {
        serde_json::from_value(json!({
            "id": 9, "device": "demo/pump", "property": property, "kind": kind, "reported": "1450",
            "desired": "1450", "quality": "good", "code": "ok", "state": "online",
            "ack": {"version": 2, "code": 209, "word": "verified"},
            "time": "2026-11-21T12:00:00.000Z", "rev": rev,
        }))
        .unwrap()
    }

    #[test]
    fn an_event_brings_value_wish_and_acknowledgement() {
        let mut board = board();
        assert!(!board.is_complete());
        assert_eq!(board.apply(&event("reported", "speed", 5)), Applied::Yes);
        assert!(board.is_complete());
        let speed = board.devices()[0].property("speed").unwrap();
        assert_eq!(speed.reported.as_ref().unwrap().value.as_deref(), Some("1450"));
        assert_eq!(speed.desired.as_ref().unwrap().value, "1450");
        assert_eq!(speed.ack.as_ref().unwrap().word, "verified");
        assert_eq!(board.devices()[0].state.to_string(), "unknown");
        let mut state = event("state", "speed", 6);
        state.property = None;
        assert_eq!(board.apply(&state), Applied::Yes);
        assert_eq!(board.devices()[0].state.to_string(), "online");
        assert_eq!(board.changes(), 1);
    }

    #[test]
    fn an_event_older_than_the_fetch_changes_nothing() {
        let mut board = board();
        assert_eq!(board.apply(&event("reported", "speed", 3)), Applied::Yes);
        assert!(!board.is_complete());
    }

    #[test]
    fn an_unknown_property_or_a_new_device_asks_for_a_fetch() {
        let mut board = board();
        assert_eq!(board.apply(&event("reported", "flow", 5)), Applied::Unknown);
        assert_eq!(board.apply(&event("added", "speed", 5)), Applied::Unknown);
    }
}
