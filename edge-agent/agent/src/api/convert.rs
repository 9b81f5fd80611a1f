//! Twins and changes as the API says them.

use std::sync::Arc;

use device_model::{Device, DeviceState, Property, Timestamp};
use device_twin::{Acknowledged, Twin, TwinProperty};

use super::Context;
use super::view::{
    AckView, DesiredView, DeviceView, Doubt, Event, EventKind, PropertyView, ReportedView,
};
use crate::feed::{Entry, events};

impl Context {
    /// One device as it stands.
    pub(super) fn view(&self, twin: &Twin) -> DeviceView {
        let Device { id, protocol, model, description, .. } = &**twin.device();
        DeviceView {
            namespace: id.namespace().into(),
            name: id.name().into(),
            protocol: protocol.clone(),
            model: model.clone(),
            description: description.clone(),
            state: twin.state(),
            state_since: twin.condition().since,
            state_reason: text(twin.condition().reason.as_ref()),
            problem: text(twin.condition().problem.as_ref()).or_else(|| self.faults.of_device(id)),
            mapper: self.mappers.live_owner(id).map(|name| name.to_string()),
            rev: twin.rev(),
            epoch: self.twins.epoch(),
            incarnation: twin.uid().to_string(),
            readings: twin.readings(),
            properties: twin.properties().map(|(property, state)| view(property, state)).collect(),
        }
    }
}

fn view(property: &Property, state: &TwinProperty) -> PropertyView {
    PropertyView {
        name: property.name.to_string(),
        data_type: property.data_type,
        access: property.access,
        unit: property.unit.clone(),
        minimum: property.minimum.as_ref().map(ToString::to_string),
        maximum: property.maximum.as_ref().map(ToString::to_string),
        desired: state.desired.as_ref().map(|desired| DesiredView {
            value: desired.value.to_string(),
            version: desired.generation,
            set_at: desired.set_at,
            expires_at: desired.expires_at,
            writer: desired.writer.to_string(),
            clock: Doubt::of(desired.set_at),
        }),
        ack: ack(state),
        reported: state.reported.as_ref().map(|reported| ReportedView {
            value: reported.value.as_ref().map(ToString::to_string),
            quality: reported.quality,
            code: reported.code,
            source_time: reported.source_time,
            sample_time: reported.sample_time,
            received_at: reported.received_at,
            version: reported.pv,
            clock: Doubt::of(reported.received_at),
        }),
        settled: state.settled(),
        in_sync: state.in_sync(property),
    }
}

/// The acknowledgement of a property.
pub(super) fn ack(state: &TwinProperty) -> Option<AckView> {
    state.ack.as_deref().map(ack_view)
}

/// The same of one that is known.
pub(super) fn ack_view(ack: &Acknowledged) -> AckView {
    let Acknowledged { generation, code, detail, at } = ack;
    AckView {
        version: *generation,
        code: *code,
        word: code.word().into(),
        detail: detail.to_string(),
        at: Some(*at),
    }
}

/// The events of an entry of the feed with numbers above `after`.
pub(super) fn of_entry(entry: &Entry, after: u64) -> Vec<Event> {
    let changes = entry.changes.iter().zip(&entry.states);
    let all = changes.flat_map(|(change, state)| {
        events(change).map(move |(kind, of)| (change, *state, kind, of))
    });
    (entry.first..)
        .zip(all)
        .filter(|(id, _)| *id > after)
        .map(|(id, (change, state, kind, of))| {
            let empty = TwinProperty::default();
            let property = of.and_then(|property| property.new.as_ref()).unwrap_or(&empty);
            let mut event = whole(id, change.device.id.clone(), kind, entry.at, change.rev);
            event.state = state;
            event.reason = match (kind, &change.condition) {
                (EventKind::State, Some((_, after))) => text(after.reason.as_ref()),
                (EventKind::Problem, Some((_, after))) => text(after.problem.as_ref()),
                _ => None,
            };
            event.property = of.map(|property| property.name.clone());
            fill(&mut event, property);
            event
        })
        .collect()
}

/// The present state of `twin` as events, all with the number `id`.
pub(super) fn snapshot(twin: &Twin, id: u64, time: Timestamp) -> Vec<Event> {
    let device = &twin.device().id;
    let mut all = vec![whole(id, device.clone(), EventKind::Added, time, twin.rev())];
    for (property, state) in twin.properties() {
        let mut event = whole(id, device.clone(), EventKind::Reported, time, twin.rev());
        event.property = Some(property.name.clone());
        fill(&mut event, state);
        all.push(event);
    }
    for event in &mut all {
        event.state = twin.state();
    }
    let condition = twin.condition();
    all[0].reason = text(condition.reason.as_ref());
    if condition.problem.is_some() {
        let mut event = whole(id, device.clone(), EventKind::Problem, time, twin.rev());
        event.state = twin.state();
        event.reason = text(condition.problem.as_ref());
        all.push(event);
    }
    all
}

fn whole(
    id: u64,
    device: device_model::DeviceId,
    kind: EventKind,
    time: Timestamp,
    rev: u64,
) -> Event {
    Event {
        id,
        device,
        property: None,
        kind,
        reported: None,
        desired: None,
        quality: None,
        code: None,
        ack: None,
        state: DeviceState::Unknown,
        reason: None,
        time,
        rev,
    }
}

fn text(words: Option<&Arc<str>>) -> Option<String> {
    words.map(ToString::to_string)
}

fn fill(event: &mut Event, state: &TwinProperty) {
    event.desired = state.desired.as_ref().map(|desired| desired.value.to_string());
    event.ack = ack(state);
    if let Some(reported) = &state.reported {
        event.reported = reported.value.as_ref().map(ToString::to_string);
        event.quality = Some(reported.quality);
        event.code = Some(reported.code);
    }
}
