//! A twin in the words of the cloud: what of it changed, as it is now.

use std::collections::BTreeMap;

use device_model::{DeviceState, Property, Timestamp};
use device_twin::{Twin, TwinProperty as State};
use edge_link::content::{
    self, AgentState, Progress, Side, StateReport, StateSaid, TwinProperty, TwinReport, TwinVersion,
};
use serde_json::{Map, Value as Json, json};

/// A report for a cloud of ours: everything that changed after `progress.base_rev`, and the state.
pub(super) fn whole(twin: &Twin, progress: &Progress, now: Timestamp) -> Json {
    let state = AgentState { said: said(twin), reason: reason(twin) };
    let property = |(property, state): (&Property, &State)| {
        let changed = state.newest() > progress.base_rev;
        changed.then(|| (property.name.clone(), tell(property, state)))
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
        let read = state.reported.as_ref().is_some_and(|reported| reported.value.is_some());
        let changed = state.newest() > progress.base_rev;
        (read && changed).then(|| (property.name.clone(), tell(property, state)))
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

fn tell(property: &Property, state: &State) -> TwinProperty {
    let kind = BTreeMap::from([("type".to_owned(), property.data_type.lower().into())]);
    let generation = state.desired.as_ref().map_or(0, |desired| desired.generation.0);
    TwinProperty {
        expected: expected(state),
        actual: actual(state),
        optional: None,
        metadata: Some(kind),
        expected_version: Some(TwinVersion { cloud: generation, edge: 0 }),
        actual_version: state
            .reported
            .as_ref()
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

fn actual(state: &State) -> Option<Side> {
    let reported = state.reported.as_ref()?;
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
