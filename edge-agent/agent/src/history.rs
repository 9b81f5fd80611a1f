//! What changed lately, property by property, for whoever looks at a device: kept in memory alone.
//!
//! A task of its own follows the feed, so the owner of the twins does nothing for it. Two bounds hold: so many changes
//! of a property, and so many octets of all together. Where the second is met the oldest changes go, of whatever
//! property.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device_model::{DeviceId, PropertyName, Timestamp, Value};
use device_twin::{Acknowledged, ChangeKind, Desired, PropertyChange, Reported, TwinProperty};
use tokio_util::sync::CancellationToken;

use crate::feed::{Entry, Feed, Missed};

/// Octets of all changes together.
pub(crate) const LARGEST: usize = 1536 * 1024;
/// What a property costs beside its changes.
const PROPERTY: usize = 96;
/// Feed entries taken at a time.
const CHUNK: usize = 256;

/// How a property was after a change.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Number of the change's first event.
    pub(crate) id: u64,
    pub(crate) time: Timestamp,
    pub(crate) rev: u64,
    pub(crate) reported: Option<Seen>,
    pub(crate) desired: Option<Arc<Desired>>,
    pub(crate) ack: Option<Arc<Acknowledged>>,
    /// What it costs, with what it shares with no change before it.
    octets: u32,
}

/// A reported value with what counts of its reading.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) value: Option<Value>,
    pub(crate) quality: device_model::Quality,
    pub(crate) code: device_model::QualityCode,
}

/// The changes of all properties.
#[derive(Debug)]
pub(crate) struct History {
    /// Changes that are kept of a property; 0: none.
    depth: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    devices: HashMap<DeviceId, Vec<(PropertyName, VecDeque<Past>)>>,
    octets: usize,
}

impl History {
    /// Of `depth` changes a property.
    pub(crate) fn new(depth: usize) -> Self {
        Self { depth, kept: Mutex::default() }
    }

    /// How many changes are kept of a property.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Follows `feed` behind the event `cursor` until `stop`. What the feed overwrites first is missing.
    pub(crate) async fn run(&self, feed: &Feed, mut cursor: u64, stop: CancellationToken) {
        if self.depth == 0 {
            return stop.cancelled().await;
        }
        let mut newest = feed.subscribe();
        loop {
            match feed.after(cursor, CHUNK) {
                Ok(entries) if entries.is_empty() => tokio::select! {
                    () = stop.cancelled() => return,
                    changed = newest.changed() => if changed.is_err() { return },
                },
                Ok(entries) => {
                    cursor = entries.last().map_or(cursor, |entry| entry.last());
                    self.take(&entries);
                }
                Err(Missed) => cursor = feed.newest(),
            }
        }
    }

    /// The newest `limit` changes of each property of `device` that changed, or of `property` alone; the oldest first.
    pub(crate) fn of(
        &self,
        device: &DeviceId,
        property: Option<&str>,
        limit: usize,
    ) -> Vec<(PropertyName, Vec<Past>)> {
        let kept = self.kept();
        let properties = kept.devices.get(device).into_iter().flatten();
        let wanted = properties.filter(|(name, _)| property.is_none_or(|one| one == name.as_str()));
        let newest = |past: &VecDeque<Past>| {
            past.iter().skip(past.len().saturating_sub(limit)).cloned().collect()
        };
        wanted.map(|(name, past)| (name.clone(), newest(past))).collect()
    }

    fn take(&self, entries: &[Arc<Entry>]) {
        let mut kept = self.kept();
        for entry in entries {
            for change in &entry.changes {
                let id = &change.device.id;
                if matches!(change.kind, ChangeKind::Added | ChangeKind::Removed) {
                    kept.forget(id);
                }
                for property in change.properties.iter().filter(|property| tells(property)) {
                    match &property.new {
                        Some(new) => {
                            let past = past(entry.first, entry.at, change.rev, new);
                            kept.push(id, &property.name, past, self.depth);
                        }
                        None => kept.forget_property(id, &property.name),
                    }
                }
            }
        }
        if kept.octets > LARGEST {
            kept.forget_oldest();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tells(property: &PropertyChange) -> bool {
    property.new.is_none()
        || property.reported_changed()
        || property.desired_changed()
        || property.ack_changed()
}

fn past(id: u64, time: Timestamp, rev: u64, state: &TwinProperty) -> Past {
    let TwinProperty { desired, ack, reported, .. } = state.clone();
    let seen = |Reported { value, quality, code, .. }| Seen { value, quality, code };
    Past { id, time, rev, reported: reported.map(seen), desired, ack, octets: 0 }
}

impl Past {
    /// What it costs, where `before` was the change before it.
    fn cost(&self, before: Option<&Self>) -> usize {
        let text = |value: &Value| match value {
            Value::String(text) => text.len(),
            Value::Bytes(octets) => octets.len(),
            _ => 0,
        };
        let seen = self.reported.as_ref().and_then(|seen| seen.value.as_ref()).map_or(0, text);
        let same = before.and_then(|past| past.desired.as_ref());
        let desired =
            self.desired.as_ref().filter(|new| same.is_none_or(|old| !Arc::ptr_eq(old, new)));
        let desired = desired.map_or(0, |new| size_of::<Desired>() + text(&new.value));
        let same = before.and_then(|past| past.ack.as_ref());
        let ack = self.ack.as_ref().filter(|new| same.is_none_or(|old| !Arc::ptr_eq(old, new)));
        let ack = ack.map_or(0, |new| size_of::<Acknowledged>() + new.detail.len());
        size_of::<Self>() + seen + desired + ack
    }
}

impl Kept {
    fn push(&mut self, device: &DeviceId, name: &PropertyName, mut past: Past, depth: usize) {
        if !self.devices.contains_key(device) {
            self.devices.insert(device.clone(), Vec::new());
        }
        let Some(properties) = self.devices.get_mut(device) else { return };
        let place = properties.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.octets += PROPERTY;
            properties.push((name.clone(), VecDeque::new()));
            properties.len() - 1
        });
        let pasts = &mut properties[place].1;
        if pasts.len() >= depth
            && let Some(oldest) = pasts.pop_front()
        {
            self.octets -= oldest.octets as usize;
        }
        past.octets = u32::try_from(past.cost(pasts.back())).unwrap_or(u32::MAX);
        self.octets += past.octets as usize;
        // Most properties change rarely: doubling would keep much room for nothing.
        if pasts.len() == pasts.capacity() {
            pasts.reserve_exact(1 + pasts.len() / 4);
        }
        pasts.push_back(past);
    }

    fn forget(&mut self, device: &DeviceId) {
        for (_, pasts) in self.devices.remove(device).into_iter().flatten() {
            self.octets -= PROPERTY + cost(&pasts);
        }
    }

    fn forget_property(&mut self, device: &DeviceId, name: &PropertyName) {
        let Some(properties) = self.devices.get_mut(device) else { return };
        let Some(place) = properties.iter().position(|(known, _)| known == name) else { return };
        let (_, pasts) = properties.remove(place);
        self.octets -= PROPERTY + cost(&pasts);
    }

    /// Drops the older half of what is kept, so that it is not done for each change.
    fn forget_oldest(&mut self) {
        let pasts = self.devices.values().flatten().flat_map(|(_, pasts)| pasts);
        let mut ids: Vec<u64> = pasts.map(|past| past.id).collect();
        if ids.is_empty() {
            return;
        }
        let half = ids.len() / 2;
        let (_, newest_to_go, _) = ids.select_nth_unstable(half);
        let last = *newest_to_go;
        let octets = &mut self.octets;
        self.devices.retain(|_, properties| {
            properties.retain_mut(|(_, pasts)| {
                let gone = pasts.partition_point(|past| past.id <= last);
                *octets -= pasts.drain(..gone).map(|past| past.octets as usize).sum::<usize>();
                pasts.shrink_to_fit();
                // One without a change would cost what its changes could.
                if pasts.is_empty() {
                    *octets -= PROPERTY;
                }
                !pasts.is_empty()
            });
            !properties.is_empty()
        });
    }
}

fn cost(pasts: &VecDeque<Past>) -> usize {
    pasts.iter().map(|past| past.octets as usize).sum()
}

#[cfg(test)]
mod tests {
    use device_model::{Quality, QualityCode};
    use device_twin::MemoryStore;

    use super::*;
    use crate::feed::Origin;
    use crate::twins::tests::{PATIENCE, pumps, reads};

    fn device(name: &str) -> DeviceId {
        DeviceId::new("demo", name).unwrap()
    }

    fn property(name: &str) -> PropertyName {
        PropertyName::new(name).unwrap()
    }

    fn past(id: u64, value: Value) -> Past {
        let time = Timestamp::from_millis(0);
        let (quality, code) = (Quality::Good, QualityCode::Ok);
        let reported = Some(Seen { value: Some(value), quality, code });
        Past { id, time, rev: id, reported, desired: None, ack: None, octets: 0 }
    }

    fn ids(history: &History, name: &str) -> Vec<u64> {
        let of = history.of(&device(name), Some("speed"), usize::MAX);
        of.into_iter().flat_map(|(_, pasts)| pasts).map(|past| past.id).collect()
    }

    #[tokio::test]
    async fn what_changed_before_it_began_to_follow_is_in_it() {
        let (twins, _owner) = pumps(Box::new(MemoryStore::new())).await;
        let before = twins.feed().newest();
        twins.apply(vec![reads(0, &["a"], 7)], Origin::Unasked).await.unwrap().remove(0).unwrap();
        let history = History::new(3);
        let seen = async {
            while history.of(&device("pump0"), Some("a"), 1).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let following = history.run(twins.feed(), before, CancellationToken::new());
        tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                () = following => {}
                () = seen => {}
            }
        })
        .await
        .unwrap();
    }

    #[test]
    fn each_property_keeps_its_newest_changes() {
        let history = History::new(3);
        let mut kept = history.kept();
        for id in 0..10 {
            kept.push(&device("busy"), &property("speed"), past(id, Value::Int(1)), 3);
        }
        kept.push(&device("quiet"), &property("speed"), past(2, Value::Int(1)), 3);
        drop(kept);
        assert_eq!(ids(&history, "busy"), [7, 8, 9]);
        assert_eq!(ids(&history, "quiet"), [2], "a busy one takes no room of others");
        let newest = history.of(&device("busy"), None, 2);
        assert_eq!(newest[0].1.iter().map(|past| past.id).collect::<Vec<_>>(), [8, 9]);
        assert!(history.of(&device("busy"), Some("colour"), 2).is_empty());
    }

    #[test]
    fn more_properties_than_there_is_room_for_share_it() {
        let history = History::new(64);
        let mut kept = history.kept();
        let properties: Vec<_> = (0..100).map(|n| property(&format!("p{n}"))).collect();
        for id in 0..40_000 {
            let device = device(&format!("d{}", id / 100));
            let name = &properties[usize::try_from(id % 100).unwrap()];
            kept.push(&device, name, past(id, Value::Int(1)), 64);
            if kept.octets > LARGEST {
                kept.forget_oldest();
            }
            assert!(kept.octets <= LARGEST);
        }
        assert!(kept.devices.len() > 30, "{} devices are left", kept.devices.len());
        assert!(!kept.devices.contains_key(&device("d0")));
    }

    #[test]
    fn all_of_them_together_have_a_bound_and_the_oldest_go_first() {
        let history = History::new(64);
        for id in 0..5000 {
            let mut kept = history.kept();
            let name = format!("d{}", id % 100);
            let text = Value::String("x".repeat(1000));
            kept.push(&device(&name), &property("speed"), past(id, text), 64);
            if kept.octets > LARGEST {
                kept.forget_oldest();
            }
            assert!(kept.octets <= LARGEST);
            let pasts = kept.devices.values().flatten();
            let counted: usize = pasts.map(|(_, pasts)| PROPERTY + cost(pasts)).sum();
            assert_eq!(kept.octets, counted, "nothing is counted twice or forgotten");
        }
        let oldest =
            (0..100).filter_map(|n| ids(&history, &format!("d{n}")).first().copied()).min();
        assert!(oldest > Some(3000), "{oldest:?}");
        assert_eq!(ids(&history, "d99").last(), Some(&4999));
        let mut kept = history.kept();
        (0..100).for_each(|n| kept.forget(&device(&format!("d{n}"))));
        assert_eq!(kept.octets, 0);
    }
}
