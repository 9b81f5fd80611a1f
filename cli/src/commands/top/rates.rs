//! What lies between two looks at all devices.

use std::cmp::Reverse;
use std::collections::HashMap;

use device_model::{DeviceState, Quality, Timestamp};
use edge_agent::api::view::DeviceView;
use serde::Serialize;
use tokio::time::Instant;

use super::Sort;

/// One look.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) devices: Vec<DeviceView>,
    /// By a clock that nobody sets.
    pub(super) at: Instant,
    /// By the one that the values' times are of.
    pub(super) now: Timestamp,
}

/// All devices.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rates {
    /// Time of the second look.
    pub(super) time: Timestamp,
    /// Devices that can be reached.
    pub(super) online: usize,
    pub(super) values_per_second: f64,
    /// Desired values without a final acknowledgement.
    pub(super) open: usize,
    pub(super) devices: Vec<Row>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) device: String,
    pub(super) state: DeviceState,
    pub(super) mapper: Option<String>,
    pub(super) values_per_second: f64,
    /// Age of the value that was read the longest time ago, in milliseconds.
    pub(super) oldest_ms: Option<u64>,
    pub(super) good: usize,
    pub(super) uncertain: usize,
    pub(super) bad: usize,
    /// Properties that were never read.
    pub(super) silent: usize,
    /// Desired values without a final acknowledgement.
    pub(super) open: usize,
}

impl Rates {
    /// What happened between two looks.
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = after.at.duration_since(before.at).as_secs_f64().max(f64::EPSILON);
        let known: HashMap<String, u64> =
            before.devices.iter().map(|device| (device.id(), device.readings)).collect();
        let rows = after.devices.iter().map(|device| {
            // A device that was described anew, or whose agent was started anew, counts from 0.
            let former = known.get(&device.id()).filter(|known| **known <= device.readings);
            let taken = device.readings - former.copied().unwrap_or(device.readings);
            row(device, per_second(taken, seconds), after.now)
        });
        let devices: Vec<Row> = rows.collect();
        Self {
            time: after.now,
            online: devices.iter().filter(|row| row.state == DeviceState::Online).count(),
            values_per_second: to_hundredths(devices.iter().map(|row| row.values_per_second).sum()),
            open: devices.iter().map(|row| row.open).sum(),
            devices,
        }
    }

    /// Orders the devices; equal ones by name.
    pub(super) fn sort(&mut self, by: Sort) {
        self.devices.sort_by(|a, b| a.device.cmp(&b.device));
        match by {
            Sort::Name => {}
            Sort::Rate => {
                self.devices.sort_by(|a, b| b.values_per_second.total_cmp(&a.values_per_second));
            }
            Sort::Age => self.devices.sort_by_key(|row| Reverse(row.oldest_ms)),
            Sort::Quality => {
                self.devices.sort_by_key(|row| Reverse((row.bad, row.uncertain + row.silent)));
            }
        }
    }
}

fn row(device: &DeviceView, values_per_second: f64, now: Timestamp) -> Row {
    let reported = || device.properties.iter().filter_map(|property| property.reported.as_ref());
    let of = |quality: Quality| reported().filter(|reported| reported.quality == quality).count();
    let oldest = reported().map(|reported| reported.received_at).min();
    let age = |time: Timestamp| u64::try_from(now.since(time).as_millis()).unwrap_or(u64::MAX);
    Row {
        device: device.id(),
        state: device.state,
        mapper: device.mapper.clone(),
        values_per_second,
        oldest_ms: oldest.map(age),
        good: of(Quality::Good),
        uncertain: of(Quality::Uncertain),
        bad: of(Quality::Bad),
        silent: device.properties.iter().filter(|property| property.reported.is_none()).count(),
        open: device.properties.iter().filter(|property| !property.settled).count(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of readings in some seconds")]
fn per_second(count: u64, seconds: f64) -> f64 {
    to_hundredths(count as f64 / seconds)
}

/// More would be noise.
fn to_hundredths(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn device(name: &str, readings: u64, seconds: &[i64]) -> DeviceView {
        let property = |(number, second): (usize, &i64)| {
            let time = Timestamp::from_millis(second * 1000);
            json!({
                "name": format!("p{number}"), "type": "INT", "access": "ReadOnly", "unit": "",
                "minimum": null, "maximum": null, "desired": null, "ack": null,
                "reported": {"value": "1", "quality": if number == 1 { "bad" } else { "good" },
                    "code": "ok", "sourceTime": null, "sampleTime": time, "receivedAt": time, "version": 1},
                "settled": number != 0, "inSync": true,
            })
        };
        let properties: Vec<_> = seconds.iter().enumerate().map(property).collect();
        serde_json::from_value(json!({
            "namespace": "demo", "name": name, "protocol": "modbus", "model": "m", "state": "online",
            "stateSince": Timestamp::from_millis(0), "mapper": "modbus-1", "rev": 4, "epoch": 1,
            "incarnation": "a", "readings": readings, "properties": properties,
        }))
        .unwrap()
    }

    fn rates(before: Vec<DeviceView>, after: Vec<DeviceView>) -> Rates {
        let at = Instant::now();
        let now = Timestamp::from_millis(100_000);
        let before = Sample { devices: before, at, now };
        let after = Sample { devices: after, at: at + Duration::from_secs(2), now };
        Rates::between(&before, &after)
    }

    #[test]
    fn a_row_has_rate_age_and_quality() {
        let seen = rates(vec![device("a", 10, &[90, 98])], vec![device("a", 25, &[90, 98, 99])]);
        let row = &seen.devices[0];
        assert_eq!((row.values_per_second, row.oldest_ms), (7.5, Some(10_000)));
        assert_eq!((row.good, row.bad, row.uncertain, row.silent, row.open), (2, 1, 0, 0, 1));
        assert_eq!((seen.online, seen.open, seen.values_per_second), (1, 1, 7.5));
    }

    #[test]
    fn a_counter_that_began_anew_is_no_rate() {
        let seen =
            rates(vec![device("a", 10, &[])], vec![device("a", 3, &[]), device("b", 9, &[])]);
        assert!(seen.devices.iter().all(|row| row.values_per_second == 0.0), "{seen:?}");
        assert_eq!(seen.devices[0].oldest_ms, None);
    }

    #[test]
    fn devices_are_ordered_as_asked() {
        let before = vec![device("a", 0, &[1]), device("b", 0, &[2]), device("c", 0, &[2, 2])];
        let after = vec![device("a", 1, &[60]), device("b", 9, &[50]), device("c", 5, &[70, 70])];
        let mut seen = rates(before, after);
        let mut order = |by| {
            seen.sort(by);
            seen.devices.iter().map(|row| &row.device[5..]).collect::<String>()
        };
        assert_eq!(order(Sort::Rate), "bca");
        assert_eq!(order(Sort::Age), "bac");
        assert_eq!(order(Sort::Quality), "cab");
        assert_eq!(order(Sort::Name), "abc");
    }
}
