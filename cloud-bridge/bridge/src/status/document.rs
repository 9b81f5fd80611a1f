//! A DeviceStatus, and what a report changes of it. Without I/O.

use std::collections::BTreeMap;

use device_model::Timestamp;
use edge_link::content::{Point, Side, StateSaid, TwinProperty};
use edge_link::up::Sample;
use serde_json::{Map, Value, json};

use super::{Part, Reason, Said};
use crate::objects::DeviceEntry;

/// Where ours stand in `status.extensions`.
const OURS: &str = "edgetwin";
/// Acknowledgements that are final: applied, verified, own value; and refusals, all but "unreachable".
const UNSETTLED: [&str; 3] = ["102", "202", "424"];

/// What is to be written of a device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// The place in the twin's life that is written with it; none for an EdgeCore, which does not say.
    pub(crate) point: Option<Point>,
    /// Whether properties that are not in it are taken away.
    pub(crate) whole: bool,
    /// By what it is about.
    pub(crate) said: BTreeMap<Part, Said>,
}

/// How far `status` is in the life of the twin, as whoever wrote it last noted.
pub(crate) fn point(status: &Value) -> Option<Point> {
    serde_json::from_value(status["extensions"][OURS].clone()).ok()
}

/// When the property was sampled that `status` shows, for reports of an EdgeCore.
fn sample(twin: &Value) -> Sample {
    let number = |key: &str| twin["reported"]["metadata"][key].as_str()?.parse().ok();
    Sample {
        version: number("version").and_then(|number: i64| number.try_into().ok()).unwrap_or(0),
        at: Timestamp::from_millis(number("timestamp").unwrap_or(0)),
    }
}

/// `status` with `change`: properties in the order of the device's spec, those that it does not name left out.
pub(crate) fn changed(
    status: &Value,
    device: &DeviceEntry,
    change: &Change,
    now: Timestamp,
) -> Value {
    let twins = status["twins"].as_array().into_iter().flatten();
    let named = |twin: &Value| Some((twin["propertyName"].as_str()?.to_owned(), twin.clone()));
    let mut known: BTreeMap<String, Value> = match change.whole {
        true => BTreeMap::new(),
        false => twins.filter_map(named).collect(),
    };
    let mut status = match status {
        Value::Object(members) => members.clone(),
        _ => Map::new(),
    };
    for (part, said) in &change.said {
        match (part, said) {
            (Part::Property(name), Said::Property(twin)) => {
                let of =
                    known.entry(name.to_string()).or_insert_with(|| json!({"propertyName": name}));
                match change.point {
                    Some(_) => tell(of, twin),
                    None => tell_of_edgecore(of, twin, now),
                }
            }
            (Part::State, Said::State(state, reason)) => {
                tell_state(&mut status, state, reason, now)
            }
            _ => {}
        }
    }
    let twins: Vec<_> =
        device.properties.iter().filter_map(|name| known.remove(name.as_str())).collect();
    let settled = is_settled(&twins, device);
    let stale = twins.iter().any(|twin| twin["reported"]["metadata"]["qualityCode"] == "stale");
    status.insert("twins".into(), twins.into());
    let ours = &mut member(member(&mut status, "extensions"), OURS);
    if let Some(Point { uid, epoch, rev }) = &change.point {
        ours.insert("uid".into(), uid.as_str().into());
        ours.insert("epoch".into(), (*epoch).into());
        ours.insert("rev".into(), (*rev).into());
        condition(ours, "Settled", settled.0, settled.1, "", now);
        let (reason, message) = if stale {
            ("NoRefresh", "some values were not refreshed in time")
        } else {
            ("Refreshed", "")
        };
        condition(ours, "Stale", truth(stale), reason, message, now);
    }
    if ours.is_empty() {
        member(&mut status, "extensions").remove(OURS);
    }
    if status["extensions"].as_object().is_some_and(Map::is_empty) {
        status.remove("extensions");
    }
    status.into()
}

/// What an agent of ours says of a property. What is desired is shown once the mapper has said something of it.
fn tell(of: &mut Value, twin: &TwinProperty) {
    let kind = twin.metadata.as_ref().and_then(|metadata| metadata.get("type"));
    if let Some(actual) = &twin.actual {
        of["reported"] = side(actual, kind);
    }
    let acknowledged = |side: &&Side| {
        side.metadata.as_ref().is_some_and(|metadata| metadata.contains_key("ackCode"))
    };
    if let Some(expected) = twin.expected.as_ref().filter(acknowledged) {
        of["observedDesired"] = side(expected, kind);
    }
}

/// What an EdgeCore says of a property, unless it is older than what is there.
fn tell_of_edgecore(of: &mut Value, twin: &TwinProperty, now: Timestamp) {
    let told = Sample::of(twin, now);
    if told.is_before(&sample(of)) {
        return;
    }
    let kind = twin.metadata.as_ref().and_then(|metadata| metadata.get("type"));
    if let Some(actual) = twin.actual.as_ref().filter(|actual| actual.value.is_some()) {
        of["reported"] = side(actual, kind);
        of["reported"]["metadata"]["version"] = told.version.to_string().into();
    }
    if let Some(expected) = twin.expected.as_ref().filter(|expected| expected.value.is_some()) {
        of["observedDesired"] = side(expected, kind);
    }
}

/// One side as the CRD has it: `value` is always there, metadata are texts.
fn side(side: &Side, kind: Option<&Value>) -> Value {
    let members = side.metadata.iter().flatten().chain(kind.map(|kind| (&*TYPE, kind)));
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let metadata: Map<_, _> =
        members.filter_map(|(key, value)| Some((key.clone(), text(value)?.into()))).collect();
    json!({"value": side.value.as_deref().unwrap_or_default(), "metadata": metadata})
}

static TYPE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| "type".to_owned());

fn tell_state(status: &mut Map<String, Value>, said: &StateSaid, why: &Reason, now: Timestamp) {
    if !said.state.is_empty() {
        status.insert("state".into(), said.state.as_str().into());
    }
    if !said.last_online_time.is_empty() {
        status.insert("lastOnlineTime".into(), said.last_online_time.as_str().into());
    }
    let (truth, reason) = match said.state.to_ascii_lowercase().as_str() {
        "online" | "ok" => ("True", "Online"),
        "offline" => ("False", "Offline"),
        "unhealthy" => ("False", "Unhealthy"),
        _ => ("Unknown", "Unknown"),
    };
    let ours = member(member(status, "extensions"), OURS);
    condition(ours, "Ready", truth, reason, why.as_deref().unwrap_or_default(), now);
}

/// Whether every desired value has its final acknowledgement, and why not.
fn is_settled(twins: &[Value], device: &DeviceEntry) -> (&'static str, &'static str) {
    let observed = |name: &str| {
        let twin = twins.iter().find(|twin| twin["propertyName"] == name)?;
        let metadata = &twin["observedDesired"]["metadata"];
        let version: u64 = metadata["version"].as_str()?.parse().ok()?;
        Some((version, metadata["ackCode"].as_str()?))
    };
    for (name, wanted) in device.numbers.versions() {
        match observed(name) {
            Some((version, code)) if version >= wanted && !UNSETTLED.contains(&code) => {}
            Some((version, _)) if version >= wanted => return ("False", "UnderWay"),
            _ => return ("False", "NotReceived"),
        }
    }
    ("True", "AllSettled")
}

fn truth(is: bool) -> &'static str {
    if is { "True" } else { "False" }
}

/// Sets one condition; the time of its last transition stays while its status does.
fn condition(
    ours: &mut Map<String, Value>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let list = ours.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let known = list.iter().position(|one| one["type"] == kind);
    let since = known.filter(|at| list[*at]["status"] == status);
    let since = since.and_then(|at| list[at]["lastTransitionTime"].as_str().map(str::to_owned));
    let one = json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| now.to_string()),
    });
    match known {
        Some(at) => list[at] = one,
        None => list.push(one),
    }
}

/// The object that is a member of `of`, made if it is none.
fn member<'a>(of: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = of.entry(key).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(members) => members,
        _ => unreachable!("it was made an object just now"),
    }
}

#[cfg(test)]
mod tests;
