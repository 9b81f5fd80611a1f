//! What a mapper says: readings, acknowledgements, echoes, the device's state. Nothing here touches what is desired.

use std::sync::Arc;

use device_model::{Ack, AckCode, DeviceState, Property, Quality, QualityCode, Value};

use crate::draft::{Draft, Moment};
use crate::{
    AckSource, Acknowledged, Change, Given, GivenReading, PropertyReport, Refused, Rejected,
    Report, Reported, Twin,
};

impl Twin {
    /// Applies what is right in `report`; what is not is refused by name and harms nothing else.
    ///
    /// # Errors
    /// The report as a whole is for another life or another revision, or the twin can count no further.
    pub(crate) fn report(
        &mut self,
        report: &Report,
        moment: &mut Moment<'_>,
    ) -> Result<(Option<Change>, Vec<Refused>), Rejected> {
        let named = report.properties.iter().map(|one| one.property.as_str());
        self.meant(report.uid.as_ref(), report.if_version, named, moment)?;
        let mut draft = Draft::of(self)?;
        if let Some(state) = report.state {
            draft.set_state(state, report.reason.clone(), moment.now);
            if state == DeviceState::Online {
                draft.quietly().last_online = Some(moment.now);
            }
        }
        let mut refused = Vec::new();
        for (index, one) in report.properties.iter().enumerate() {
            if let Err(reason) = report_property(&mut draft, one, report.acks, moment) {
                moment.counters.refused += 1;
                refused.push(Refused { index, property: one.property.clone(), reason });
            }
        }
        Ok((draft.finish(), refused))
    }
}

/// # Errors
/// The property is not there, or the reading is not one of its type. An acknowledgement or an echo beside a refused
/// reading counts all the same.
fn report_property(
    draft: &mut Draft<'_>,
    report: &PropertyReport,
    acks: AckSource,
    moment: &mut Moment<'_>,
) -> Result<(), Rejected> {
    let Some(at) = draft.twin().index(&report.property) else {
        return Err(draft.twin().unknown_property(&report.property));
    };
    let read = match &report.reading {
        Some(given) => read(draft, at, given, moment),
        None => Ok(()),
    };
    if let Some(text) = &report.echo {
        echo(draft, at, text, moment);
    }
    if let Some(ack) = &report.ack {
        let sampled = report.reading.as_ref().map(|reading| reading.sample_time);
        let time = sampled.unwrap_or(moment.now);
        if !acknowledge(draft, at, ack, time) {
            moment.counters.stale_acks += 1;
        }
    }
    if acks == AckSource::Derived {
        derive_ack(draft, at);
    }
    read
}

/// Takes one reading (rules R3, R9 and R21).
fn read(
    draft: &mut Draft<'_>,
    at: usize,
    given: &GivenReading,
    moment: &mut Moment<'_>,
) -> Result<(), Rejected> {
    let device = draft.twin().device.clone();
    let property = &device.properties[at];
    let (value, quality, code) = judge(property, given, moment)?;
    if let Some(value) = &value {
        draft.twin().has_room(at, value, moment)?;
    }
    let old = draft.twin().properties[at].reported.as_ref();
    // A sample time that is still to come orders nothing: some clock was wrong.
    if old.is_some_and(|old| given.sample_time < old.sample_time && old.sample_time <= moment.now) {
        moment.counters.stale_readings += 1;
        return Ok(());
    }
    draft.quietly().readings += 1;
    draft.check_at(moment.clocks.steady.plus(property.stale_after()));
    let old = draft.twin().properties[at].reported.as_ref();
    let repeats = old.is_some_and(|old| {
        let same_value = match (&value, &old.value) {
            (Some(new), Some(old)) => new.same_as(old),
            (new, _) => new.is_none(),
        };
        same_value && old.quality == quality && old.code == code
    });
    if repeats {
        let property = &mut draft.quietly().properties[at];
        property.seen_at = moment.clocks.steady;
        // A time that is still to come is that of a clock that was wrong.
        let since = moment.now.since(property.persisted_at);
        if since >= moment.settings.refresh_persist || property.persisted_at > moment.now {
            property.persisted_at = moment.now;
        }
        if let Some(reported) = &mut property.reported {
            reported.source_time = given.source_time;
            reported.sample_time = given.sample_time;
            reported.received_at = moment.now;
        }
        return Ok(());
    }
    let pv = draft.rev();
    let property = draft.reported_side(at);
    // A bad reading has no value; the last one stays, beside the quality that says it is old.
    let kept = property.reported.take().and_then(|old| old.value);
    property.reported = Some(Reported {
        value: value.or(kept),
        quality,
        code,
        source_time: given.source_time,
        sample_time: given.sample_time,
        received_at: moment.now,
        pv,
    });
    property.persisted_at = moment.now;
    property.seen_at = moment.clocks.steady;
    Ok(())
}

/// The reading's value as the property's type, and the quality that it deserves.
fn judge(
    property: &Property,
    given: &GivenReading,
    moment: &Moment<'_>,
) -> Result<(Option<Value>, Quality, QualityCode), Rejected> {
    let invalid =
        |reason: String| Rejected::Invalid { property: property.name.to_string(), reason };
    if given.quality == Quality::Bad {
        return Ok((None, Quality::Bad, given.code));
    }
    let Some(value) = &given.value else {
        let quality = given.quality;
        return Err(invalid(format!(
            "quality {quality} without a value; send one, or quality bad"
        )));
    };
    let value = typed(property, value, moment)?;
    // Formatting a float to compare it is slow: only where there is a range.
    let ranged = property.minimum.is_some() || property.maximum.is_some();
    if given.quality == Quality::Good && ranged && property.out_of_range(&value).is_some() {
        return Ok((Some(value), Quality::Uncertain, QualityCode::OutOfRange));
    }
    Ok((Some(value), given.quality, given.code))
}

/// `given` as a value of the property's type, not too long (rule R9).
pub(crate) fn typed(
    property: &Property,
    given: &Given,
    moment: &Moment<'_>,
) -> Result<Value, Rejected> {
    let limit = moment.settings.limits.value;
    let invalid =
        |reason: String| Rejected::Invalid { property: property.name.to_string(), reason };
    let length = match given {
        Given::Text(text) | Given::Value(Value::String(text)) => text.len(),
        Given::Value(Value::Bytes(octets)) => octets.len(),
        Given::Value(_) => 0,
    };
    if length > limit {
        return Err(Rejected::TooLarge {
            what: format!("the value of {}", property.name),
            limit: format!("{limit} octets"),
        });
    }
    match given {
        Given::Text(text) => Value::parse(property.data_type, text)
            .map_err(|error| invalid(format!("is {}: {error}", property.data_type))),
        Given::Value(value) if value.data_type() == property.data_type => Ok(value.clone()),
        Given::Value(value) => {
            Err(invalid(format!("takes {}, not {}", property.data_type, value.data_type())))
        }
    }
}

/// An echo says that the mapper has the value, and nothing else (rule R12).
fn echo(draft: &mut Draft<'_>, at: usize, text: &str, moment: &mut Moment<'_>) {
    let twin = draft.twin();
    let data_type = twin.device.properties[at].data_type;
    let state = &twin.properties[at];
    let current = state.desired.as_ref().filter(|desired| {
        Value::parse(data_type, text).is_ok_and(|value| value.same_as(&desired.value))
    });
    match current {
        None if state.desired.is_none() && text.is_empty() => {}
        None => moment.counters.stale_echoes += 1,
        Some(_) if state.ack.is_some() => {}
        Some(desired) => {
            let generation = desired.generation;
            let ack = Ack { generation, code: AckCode::Received, detail: String::new() };
            acknowledge(draft, at, &ack, moment.now);
        }
    }
}

/// Takes an acknowledgement of the present generation that leads forwards (rules R14 and R15); `false`: it is of no use.
pub(crate) fn acknowledge(
    draft: &mut Draft<'_>,
    at: usize,
    ack: &Ack,
    time: device_model::Timestamp,
) -> bool {
    let state = &draft.twin().properties[at];
    let mut reached_at = time;
    let current = state.desired.as_ref().map(|desired| desired.generation);
    if current != Some(ack.generation) {
        return false;
    }
    if let Some(known) = &state.ack {
        if !known.code.may_become(ack.code) {
            return false;
        }
        if known.code == ack.code {
            if *known.detail == *ack.detail {
                return true;
            }
            reached_at = known.at;
        }
    }
    draft.desired_side(at).ack = Some(Arc::new(Acknowledged {
        generation: ack.generation,
        code: ack.code,
        detail: ack.detail.as_str().into(),
        at: reached_at,
    }));
    true
}

/// A mapper without acknowledgements that has the value, and then reads it, has written it (rule R16).
fn derive_ack(draft: &mut Draft<'_>, at: usize) {
    let twin = draft.twin();
    let (property, state) = (&twin.device.properties[at], &twin.properties[at]);
    let (Some(desired), Some(ack), Some(reported)) = (&state.desired, &state.ack, &state.reported)
    else {
        return;
    };
    let shown = reported.quality == Quality::Good
        && state.wanted(property).is_none()
        && reported.sample_time >= desired.set_at;
    if shown && !ack.code.is_final() {
        let code = AckCode::Verified;
        let ack = Ack { generation: desired.generation, code, detail: "read back".into() };
        let time = reported.sample_time;
        acknowledge(draft, at, &ack, time);
    }
}
