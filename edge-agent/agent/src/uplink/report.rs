//! A twin in the words of the cloud: what of it changed, as it is now.

use std::collections::BTreeMap;

use device_model::{DeviceState, Property, QualityCode, Timestamp};
use device_twin::{Reported, Twin, TwinProperty as State};
use edge_link::content::{
    self, AgentState, Progress, Side, StateReport, StateSaid, TwinProperty, TwinReport, TwinVersion,
};
use serde_json::{Map, Value as Json, json};

/// A report for a cloud of ours: everything that changed after `progress.base_rev`, and the state.
pub(super) fn whole(twin: &Twin, progress: &Progress, now: Timestamp) -> Json {
    let state = AgentState { said: said(twin), reason: reason(twin) };
    let property = |(property, state): (&Property, &State)| {
        let changed = state.newest() > progress.base_rev;
        let told = changed.then(|| tell(property, state))?;
        let stays = !property.report && told.expected.is_none();
        (!stays).then(|| (property.name.clone(), told))
    };
    let report = TwinReport {
        event_id: String::new(),
        timestamp: now,
        twin: twin.properties().filter_map(property).collect(),
        edgetwin: Some(progress.clone()),
    };
    state.beside(&report)
}

/// A report of values for a KubeEdge cloud. It must hold no null: CloudCore dies of it.
pub(super) fn values(twin: &Twin, progress: &Progress, now: Timestamp) -> Json {
    let property = |(property, state): (&Property, &State)| {
        let read = current(state).is_some_and(|reported| reported.value.is_some());
        let changed = state.newest() > progress.base_rev;
        (property.report && read && changed).then(|| (property.name.clone(), tell(property, state)))
    };
    content::json(&TwinReport {
        event_id: String::new(),
        timestamp: now,
        twin: twin.properties().filter_map(property).collect(),
        edgetwin: None,
    })
}

/// A report of the state for a KubeEdge cloud.
pub(super) fn state(twin: &Twin, now: Timestamp) -> Json {
    content::text(&StateReport {
        event_id: String::new(),
        timestamp: now,
        device: said(twin),
        edgetwin: None,
    })
}

fn said(twin: &Twin) -> StateSaid {
    let online = twin.state() == DeviceState::Online;
    let last = twin.last_online().or(online.then(|| twin.condition().since));
    StateSaid {
        name: twin.device().id.name().to_owned(),
        state: twin.state().to_string(),
        last_online_time: last.map(|time| time.to_string()).unwrap_or_default(),
    }
}

/// What is wrong with the description goes before why the device is in its state: nothing else mends it.
fn reason(twin: &Twin) -> Option<Box<str>> {
    let condition = twin.condition();
    condition.problem.as_ref().or(condition.reason.as_ref()).map(|text| (&**text).into())
}

/// What is not for the cloud (`reportToCloud: false`) says what became of the cloud's own wish, and nothing else.
fn tell(property: &Property, state: &State) -> TwinProperty {
    let kind = BTreeMap::from([("type".to_owned(), property.data_type.lower().into())]);
    let generation = state.desired.as_ref().map_or(0, |desired| desired.generation.0);
    TwinProperty {
        expected: expected(state),
        actual: property.report.then(|| actual(state)).flatten(),
        optional: None,
        metadata: Some(kind),
        expected_version: Some(TwinVersion { cloud: generation, edge: 0 }),
        actual_version: current(state)
            .map(|reported| TwinVersion { cloud: generation, edge: reported.pv }),
    }
}

/// What is desired, where the mapper has said something of it; its number is the cloud's, if that gave one.
fn expected(state: &State) -> Option<Side> {
    let (desired, ack) = (state.desired.as_ref()?, state.ack.as_ref()?);
    let version = desired.cloud_version.unwrap_or(desired.generation.0);
    let mut metadata = Map::new();
    metadata.insert("timestamp".into(), desired.set_at.as_millis().into());
    metadata.insert("version".into(), version.into());
    metadata.insert("ackCode".into(), ack.code.number().into());
    metadata.insert("ackVersion".into(), version.into());
    metadata.insert("ackTimestamp".into(), ack.at.as_millis().into());
    if !ack.detail.is_empty() {
        metadata.insert("ackDetail".into(), (&*ack.detail).into());
    }
    if desired.writer != device_twin::Writer::Cloud {
        metadata.insert("writer".into(), desired.writer.to_string().into());
    }
    Some(Side { value: Some(desired.value.to_string()), metadata: Some(members(metadata)) })
}

/// What was reported, unless it is of a former life of the store: the cloud may have something newer, and is told when the
/// device was read again.
fn current(state: &State) -> Option<&Reported> {
    state.reported.as_ref().filter(|reported| reported.code != QualityCode::Restored)
}

fn actual(state: &State) -> Option<Side> {
    let reported = current(state)?;
    let mut metadata = json!({
        "timestamp": reported.sample_time.as_millis(),
        "receivedTimestamp": reported.received_at.as_millis(),
        "quality": reported.quality.as_str(),
        "qualityCode": reported.code.as_str(),
        "version": reported.pv,
    });
    if let Some(time) = reported.source_time {
        metadata["sourceTimestamp"] = time.as_millis().into();
    }
    let metadata = match metadata {
        Json::Object(metadata) => members(metadata),
        _ => BTreeMap::new(),
    };
    Some(Side { value: reported.value.as_ref().map(ToString::to_string), metadata: Some(metadata) })
}

fn members(map: Map<String, Json>) -> BTreeMap<String, Json> {
    map.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use device_model::{Device, Manifest, Reading, Value, parse_manifests};
    use device_twin::{Command, MemoryStore, PropertyReport, Report, Settings, Twins};

    use super::*;

    const ROOM: &str = r#"
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: room, namespace: default}
spec:
  properties:
  - {name: heat, type: INT, accessMode: ReadWrite}
  - {name: presence, type: INT, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: hall, namespace: default}
spec:
  deviceModelRef: {name: room}
  protocol: {protocolName: modbus}
  properties:
  - {name: heat}
  - {name: presence, reportToCloud: false, desired: {value: "1"}}
"#;

    fn hall() -> Arc<Device> {
        let mut manifests = parse_manifests(ROOM).unwrap().into_iter();
        let (Some(Manifest::Model(model)), Some(Manifest::Device(device))) =
            (manifests.next(), manifests.next())
        else {
            panic!("a model and a device")
        };
        Arc::new(Device::resolve(&model, &device).unwrap())
    }

    #[test]
    fn a_property_that_is_not_for_the_cloud_stays_at_the_edge_with_its_values() {
        let at = Timestamp::from_millis(1_800_000_000_000);
        let (device, settings) = (hall(), Settings::default());
        let mut twins = Twins::open(MemoryStore::new(), settings, at).unwrap();
        let mut report = Report::of(device.id.clone());
        for property in ["heat", "presence"] {
            let reading = Reading::good(Value::Int(7), at);
            report.properties.push(PropertyReport::reading(property, reading));
        }
        twins.apply([Command::Load(device.clone()), Command::Report(report)], at).unwrap();
        let twin = twins.get(&device.id).unwrap();
        let kept = &twin.property("presence").unwrap().1.reported;
        assert!(kept.is_some(), "the node itself has it");
        let progress = Progress {
            uid: edge_link::Uid::new("1").unwrap(),
            epoch: 1,
            rev: twin.rev(),
            base_rev: 0,
        };
        for said in [whole(twin, &progress, at), values(twin, &progress, at)] {
            assert_eq!(said["twin"]["heat"]["actual"]["value"], "7", "{said}");
            assert_eq!(said["twin"].get("presence"), None, "{said}");
        }
    }

    /// What is said of the hall's heat in both forms of a report.
    fn heat(twins: &Twins<MemoryStore>) -> Json {
        let twin = twins.get(&hall().id).unwrap();
        let uid = edge_link::Uid::new(twin.uid().as_str()).unwrap();
        let progress = Progress { uid, epoch: 2, rev: twin.rev(), base_rev: 0 };
        let at = Timestamp::from_millis(9);
        let ours = whole(twin, &progress, at)["twin"]["heat"]["actual"]["value"].clone();
        let theirs = values(twin, &progress, at)["twin"]["heat"]["actual"]["value"].clone();
        assert_eq!(ours, theirs);
        ours
    }

    #[test]
    fn what_is_of_a_former_life_of_the_store_is_not_told_before_it_is_read_again() {
        let (hall, at) = (hall(), Timestamp::from_millis);
        let reads = |time: Timestamp| {
            let reading = PropertyReport::reading("heat", Reading::good(Value::Int(7), time));
            Command::Report(Report::of(hall.id.clone()).with(reading))
        };
        let mut twins = Twins::open(MemoryStore::new(), Settings::default(), at(1)).unwrap();
        twins.apply([Command::Load(hall.clone()), reads(at(2))], at(2)).unwrap();
        assert_eq!(heat(&twins), "7");
        let mut twins = Twins::open(twins.into_store(), Settings::default(), at(5)).unwrap();
        twins.apply([Command::Load(hall.clone()), Command::Doubt], at(5)).unwrap();
        assert_eq!(heat(&twins), Json::Null);
        twins.apply([reads(at(6))], at(6)).unwrap();
        assert_eq!(heat(&twins), "7");
    }
}
