//! From the feed to the bus.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use device_model::{DeviceId, DeviceState, Timestamp};
use device_twin::{Change, ChangeKind, Twin, TwinProperty};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::topic;
use super::words::{
    DeviceWords, DocumentMessage, ErrorMessage, LastAndCurrent, MembershipChange,
    MembershipMessage, ResultMessage, Revision, StateMessage, StateWords, TwinWords, actual,
    data_type, delta, expected, said, to_json, twin,
};
use crate::broker::Broker;
use crate::feed::{Entry, Member, Missed, Origin, Touched};
use crate::metrics::Metrics;
use crate::twins::{Twins, Unavailable};

/// Entries that are taken from the feed at a time.
const CHUNK: usize = 128;

const UPDATE_RESULT: &str = "twin/update/result";
const DOCUMENT: &str = "twin/update/document";
const DELTA: &str = "twin/update/delta";
const GET_RESULT: &str = "twin/get/result";
const STATE_RESULT: &str = "state/update/result";

/// The task that publishes.
#[derive(Debug)]
pub(crate) struct Outbox<B> {
    broker: B,
    twins: Twins,
    node: String,
    metrics: Arc<Metrics>,
    /// Revision of each device that was published last: after a gap only what differs is told.
    told: HashMap<DeviceId, u64>,
}

impl<B: Broker> Outbox<B> {
    pub(crate) fn new(broker: B, twins: Twins, node: String, metrics: Arc<Metrics>) -> Self {
        Self { broker, twins, node, metrics, told: HashMap::new() }
    }

    /// Publishes what happens, until `stop` or the end of the twins. `from` is the number of the last event that
    /// nobody needs to hear of.
    pub(crate) async fn run(mut self, from: u64, stop: CancellationToken) {
        let feed = self.twins.feed().clone();
        let mut newest = feed.subscribe();
        let mut cursor = from;
        loop {
            match feed.after(cursor, CHUNK) {
                Ok(entries) if entries.is_empty() => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        changed = newest.changed() => if changed.is_err() { return },
                    }
                }
                Ok(entries) => {
                    for entry in entries {
                        cursor = entry.last();
                        self.entry(&entry).await;
                    }
                }
                Err(Missed) => {
                    cursor = feed.newest();
                    if self.catch_up().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn entry(&mut self, entry: &Entry) {
        for change in &entry.changes {
            match change.kind {
                ChangeKind::Removed => self.told.remove(&change.device.id),
                _ => self.told.insert(change.device.id.clone(), change.rev),
            };
        }
        if !self.broker.anybody().await {
            return;
        }
        self.answer(entry).await;
        for change in &entry.changes {
            self.change(entry, change).await;
        }
        // The answer to a get holds the whole twin; every other accepted entry repeats the delta until it is gone.
        if (entry.refusal.is_none() || !entry.changes.is_empty())
            && !matches!(entry.origin, Origin::Get { .. } | Origin::Membership { .. })
        {
            for twin in &entry.twins {
                self.delta(twin, entry.at).await;
            }
        }
    }

    async fn answer(&self, entry: &Entry) {
        let Some(device) = &entry.device else {
            if let Origin::Membership { event_id } = &entry.origin {
                self.membership(entry, event_id).await;
            }
            return;
        };
        match &entry.origin {
            Origin::Unasked | Origin::Membership { .. } => {}
            Origin::Update { event_id, touched } => {
                let to = topic::of(device, UPDATE_RESULT);
                match &entry.refusal {
                    Some(_) => self.refuse(&to, event_id, entry).await,
                    None => {
                        self.say(&to, || result(entry, event_id, touched)).await;
                        let told = touched.iter().any(|one| !one.removed && one.says_something());
                        if told || !entry.changes.is_empty() {
                            let document = || document(event_id, entry.at, &entry.changes, touched);
                            self.say(&topic::of(device, DOCUMENT), document).await;
                        }
                    }
                }
            }
            Origin::Get { event_id } => {
                let to = topic::of(device, GET_RESULT);
                match (&entry.refusal, entry.twins.first()) {
                    (None, Some(found)) => {
                        let message = || ResultMessage {
                            event_id,
                            timestamp: entry.at.as_millis(),
                            twin: twin(found),
                            revision: Some(revision(found)),
                        };
                        self.say(&to, message).await;
                    }
                    _ => self.refuse(&to, event_id, entry).await,
                }
            }
            Origin::State { word } if entry.refusal.is_none() => {
                self.state(device, word, entry.at).await;
            }
            Origin::State { .. } => {}
        }
    }

    async fn change(&self, entry: &Entry, change: &Change) {
        let id = &change.device.id;
        let moved = match change.kind {
            ChangeKind::Added => Some(true),
            ChangeKind::Removed => Some(false),
            ChangeKind::Described | ChangeKind::Updated => None,
        };
        if let Some(added) = moved {
            self.membership_changed(change, added, entry.at).await;
        }
        if change.kind == ChangeKind::Removed {
            return;
        }
        let told = matches!(entry.origin, Origin::Update { .. }) && entry.refusal.is_none();
        if !told && !change.properties.is_empty() {
            let document = || document("", entry.at, [change], &[]);
            self.say(&topic::of(id, DOCUMENT), document).await;
        }
        let answered = matches!(entry.origin, Origin::State { .. });
        // MQTT knows words alone: another reason is no news there.
        let moved = change.condition.as_ref().filter(|(before, after)| before.state != after.state);
        if let (Some((_, after)), false) = (moved, answered) {
            self.state(id, after.state.as_str(), entry.at).await;
        }
    }

    async fn delta(&self, twin: &Twin, at: Timestamp) {
        let to = topic::of(&twin.device().id, DELTA);
        if self.broker.wanted(&to).await
            && let Some(message) = delta(twin, at)
        {
            self.publish(&to, &message).await;
        }
    }

    async fn state(&self, device: &DeviceId, word: &str, at: Timestamp) {
        let online = DeviceState::from_name(word) == Some(DeviceState::Online);
        let message = || StateMessage {
            event_id: uuid::Uuid::new_v4().to_string(),
            timestamp: at.as_millis(),
            device: StateWords {
                name: device.name(),
                state: word,
                last_online: online.then(|| whole_seconds(at)),
            },
        };
        self.say(&topic::of(device, STATE_RESULT), message).await;
    }

    async fn membership(&self, entry: &Entry, event_id: &str) {
        let devices = || {
            entry.members.iter().map(|Member { device, state, last_online }| DeviceWords {
                id: device.id.to_string(),
                name: device.id.name(),
                description: &device.description,
                state: Some(*state),
                last_online: last_online.map(whole_seconds),
            })
        };
        let message = || MembershipMessage {
            event_id,
            timestamp: entry.at.as_millis(),
            devices: devices().collect(),
        };
        self.say(&topic::of_node(&self.node, "membership/get/result"), message).await;
    }

    async fn membership_changed(&self, change: &Change, added: bool, at: Timestamp) {
        let words = |name| DeviceWords {
            id: change.device.id.to_string(),
            name,
            description: if added { &change.device.description } else { "" },
            state: None,
            last_online: None,
        };
        let message = || MembershipChange {
            event_id: uuid::Uuid::new_v4().to_string(),
            timestamp: at.as_millis(),
            added_devices: added.then(|| [words(change.device.id.name())]),
            removed_devices: (!added).then(|| [words("")]),
        };
        self.say(&topic::of_node(&self.node, "membership/updated"), message).await;
    }

    async fn refuse(&self, to: &str, event_id: &str, entry: &Entry) {
        let Some(refusal) = &entry.refusal else { return };
        let message = || ErrorMessage {
            event_id,
            timestamp: entry.at.as_millis(),
            code: refusal.code,
            reason: &refusal.reason,
        };
        self.say(to, message).await;
    }

    /// Tells the present state of each device that changed while nobody could follow.
    async fn catch_up(&mut self) -> Result<(), Unavailable> {
        self.metrics.bus_gaps.fetch_add(1, Ordering::Relaxed);
        warn!(
            "the event bus is too slow for the reports that come in; it skips to the newest values"
        );
        let twins = self.twins.twins().await?;
        let mut told = HashMap::with_capacity(twins.len());
        for twin in &twins {
            let id = &twin.device().id;
            if self.told.get(id) != Some(&twin.rev()) {
                self.say(&topic::of(id, DOCUMENT), || present(twin)).await;
                self.delta(twin, crate::twins::now()).await;
            }
            told.insert(id.clone(), twin.rev());
        }
        self.told = told;
        Ok(())
    }

    /// Publishes, unless nobody would hear it.
    async fn say<M: Serialize>(&self, to: &str, message: impl FnOnce() -> M) {
        if self.broker.wanted(to).await {
            self.publish(to, &message()).await;
        }
    }

    async fn publish(&self, to: &str, message: &impl Serialize) {
        self.metrics.bus_published.fetch_add(1, Ordering::Relaxed);
        self.broker.publish(to, to_json(message).into()).await;
    }
}

fn result<'a>(entry: &'a Entry, event_id: &'a str, touched: &'a [Touched]) -> ResultMessage<'a> {
    let mut twin = BTreeMap::new();
    for touched in touched {
        let state = newest(entry, &touched.name);
        if touched.removed {
            if state.is_some() {
                twin.insert(touched.name.as_str(), None);
            }
        } else if touched.reported || touched.expected.is_some() {
            let words = match state {
                Some(state) => TwinWords::sides(
                    state.filter(|_| touched.expected.is_some()).and_then(expected),
                    state.filter(|_| touched.reported).and_then(actual),
                    touched.data_type,
                ),
                None => unchanged(touched, entry.at),
            };
            twin.insert(touched.name.as_str(), Some(words));
        }
    }
    let revision = entry.changes.last().map(revision_of);
    ResultMessage { event_id, timestamp: entry.at.as_millis(), twin, revision }
}

/// State of a property after what `entry` changed, if it changed it.
fn newest<'a>(entry: &'a Entry, name: &str) -> Option<Option<&'a TwinProperty>> {
    let changes = entry.changes.iter().rev().flat_map(|change| &change.properties);
    changes.into_iter().find(|one| one.name.as_str() == name).map(|one| one.new.as_ref())
}

/// What was said of a property that was so already.
fn unchanged(touched: &Touched, at: Timestamp) -> TwinWords {
    TwinWords::sides(
        touched.expected.as_deref().map(|text| said(text, at)),
        touched.actual.as_deref().map(|text| said(text, at)),
        touched.data_type,
    )
}

/// Before and after of all that changed, and of what was touched without a change.
fn document<'a>(
    event_id: &'a str,
    at: Timestamp,
    changes: impl IntoIterator<Item = &'a Change>,
    touched: &'a [Touched],
) -> DocumentMessage<'a> {
    let mut twin: BTreeMap<&str, LastAndCurrent> = BTreeMap::new();
    let mut revision = None;
    for change in changes {
        for property in &change.properties {
            let data_type = data_type(&change.device, &property.name);
            let words =
                |side: &Option<_>| side.as_ref().and_then(|side| TwinWords::of(side, data_type));
            let both = twin
                .entry(property.name.as_str())
                .or_insert_with(|| LastAndCurrent { last: words(&property.old), current: None });
            both.current = words(&property.new);
        }
        revision = Some(revision_of(change));
    }
    for touched in touched.iter().filter(|one| !one.removed && one.says_something()) {
        twin.entry(&touched.name).or_insert_with(|| LastAndCurrent {
            last: Some(unchanged(touched, at)),
            current: Some(unchanged(touched, at)),
        });
    }
    DocumentMessage { event_id, timestamp: at.as_millis(), twin, revision }
}

/// A document of everything, as nobody knows what was before.
fn present(of: &Twin) -> DocumentMessage<'_> {
    let twin = twin(of).into_iter();
    DocumentMessage {
        event_id: "",
        timestamp: crate::twins::now().as_millis(),
        twin: twin.map(|(name, current)| (name, LastAndCurrent { last: None, current })).collect(),
        revision: Some(revision(of)),
    }
}

fn revision(twin: &Twin) -> Revision {
    Revision { rev: twin.rev(), uid: twin.uid().to_string() }
}

fn revision_of(change: &Change) -> Revision {
    Revision { rev: change.rev, uid: change.uid.to_string() }
}

/// RFC 3339 without fractions, as KubeEdge writes it.
fn whole_seconds(time: Timestamp) -> String {
    Timestamp::from_millis(time.as_millis() / 1000 * 1000).to_string().replace(".000Z", "Z")
}
