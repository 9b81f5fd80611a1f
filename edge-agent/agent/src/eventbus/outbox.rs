//! From the feed to the bus.

mod messages;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use device_model::{Device, DeviceId, DeviceState, Property, Timestamp};
use device_twin::{Change, ChangeKind, Twin, TwinProperty};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::topic;
use super::words::{
    DeviceWords, ErrorMessage, MembershipChange, MembershipMessage, ResultMessage, StateMessage,
    StateWords, delta, to_json, twin,
};
use crate::broker::{Broker, Connection};
use crate::feed::{Entry, Feed, Member, Missed, Origin};
use crate::metrics::Metrics;
use crate::twins::{Twins, Unavailable};
use messages::{document, present_state, result, revision, whole_seconds};
use told::{Ledger, Told};

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
    ledger: Ledger,
    /// The connection that all this is about.
    connection: u64,
}

impl<B: Broker> Outbox<B> {
    pub(crate) fn new(broker: B, twins: Twins, node: String, metrics: Arc<Metrics>) -> Self {
        Self { broker, twins, node, metrics, ledger: Ledger::default(), connection: 0 }
    }

    /// Publishes what happens, until `stop` or the end of the twins. `from` is the number of the last event that
    /// nobody needs to hear of.
    pub(crate) async fn run(mut self, from: u64, stop: CancellationToken) -> Result<(), String> {
        self.follow(from, stop).await;
        Ok(())
    }

    async fn follow(&mut self, from: u64, stop: CancellationToken) {
        // Who asks for the members is told of these; only what comes and goes later is told unasked.
        match self.twins.twins().await {
            Ok(twins) if self.broker.connection() == Some(0) => self.ledger = Ledger::of(&twins),
            // There, apps heard an earlier run of this agent, which perhaps did not come to an end with it.
            Ok(twins) => self.ledger = Ledger::unsure(&twins),
            Err(_) => return,
        }
        let feed = self.twins.feed().clone();
        let mut newest = feed.subscribe();
        let mut cursor = from;
        while !stop.is_cancelled() {
            if self.broker.connection() != Some(self.connection) {
                let connection = tokio::select! {
                    () = stop.cancelled() => return,
                    connection = self.connected(&feed, cursor) => connection,
                };
                self.ledger.doubt();
                self.coalesce(cursor, connection.from);
                (self.connection, cursor) = (connection.number, connection.from);
                if self.catch_up().await.is_err() {
                    return;
                }
            }
            match feed.after(cursor, CHUNK) {
                Ok(entries) if entries.is_empty() => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.broker.gone() => {}
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
                    self.metrics.bus_gaps.fetch_add(1, Ordering::Relaxed);
                    warn!(
                        "the event bus is too slow for the reports that come in; it skips to the newest values"
                    );
                    let newest = feed.newest();
                    self.coalesce(cursor, newest);
                    cursor = newest;
                    if self.catch_up().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Counts the events between these numbers: they are told as how things stand now.
    fn coalesce(&self, from: u64, to: u64) {
        self.metrics.bus_coalesced.fetch_add(to.saturating_sub(from), Ordering::Relaxed);
    }

    /// Waits for a connection; notes meanwhile since when something is to be told that was committed after `cursor`.
    async fn connected(&self, feed: &Feed, cursor: u64) -> Connection {
        let waiting = async {
            let Some(owed) = self.broker.owed() else { return std::future::pending().await };
            owed.lost();
            let (mut newest, mut cursor) = (feed.subscribe(), cursor);
            while !owed.is_waiting() {
                match feed.after(cursor, CHUNK) {
                    Ok(entries) if entries.is_empty() => {
                        if newest.changed().await.is_err() {
                            break;
                        }
                    }
                    Ok(entries) => {
                        for entry in entries {
                            cursor = entry.last();
                            if !entry.changes.is_empty() {
                                owed.waits(entry.committed);
                            }
                        }
                    }
                    Err(Missed) => owed.waits(Instant::now()),
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            connection = self.broker.connected() => connection,
            () = waiting => std::future::pending().await,
        }
    }

    /// Tells of one entry.
    async fn entry(&mut self, entry: &Entry) {
        if let Some(owed) = self.broker.owed().filter(|_| !entry.changes.is_empty()) {
            owed.waits(entry.committed);
        }
        self.tell(entry).await;
        self.told();
    }

    /// All that was to be told is published.
    fn told(&self) {
        if let Some(owed) = self.broker.owed() {
            owed.published(self.broker.delivered().published);
        }
    }

    async fn tell(&mut self, entry: &Entry) {
        // How things stood then is older than what was told since. Whoever asked gets an answer all the same.
        let past = self.ledger.is_past(entry.last());
        let news: &[Change] = if past { &[] } else { &entry.changes };
        let mut before = Vec::with_capacity(news.len());
        for (change, state) in news.iter().zip(&entry.states) {
            let id = &change.device.id;
            let told = Told { uid: change.uid.clone(), rev: change.rev, state: Some(*state) };
            let told = (change.kind != ChangeKind::Removed).then_some(told);
            before.push((id.clone(), self.ledger.set(id, told)));
        }
        if !self.broker.anybody().await {
            return;
        }
        self.answer(entry, past).await;
        for change in news {
            self.change(entry, change).await;
        }
        // The answer to a get holds the whole twin; every other accepted entry repeats the delta until it is gone.
        if (entry.refusal.is_none() || !entry.changes.is_empty())
            && !matches!(entry.origin, Origin::Get { .. } | Origin::Membership { .. })
            && !past
        {
            for twin in &entry.twins {
                self.delta(twin, entry.at).await;
            }
        }
        if let (Some(trace), Some(device)) = (entry.origin.report(), &entry.device) {
            debug!(%trace, %device, "told on the event bus");
        }
        for (id, before) in before {
            self.ledger.settle_later(self.broker.delivered(), id, before);
        }
    }

    /// Answers whoever asked; of what is `past`, with the result alone.
    async fn answer(&self, entry: &Entry, past: bool) {
        let Some(device) = &entry.device else {
            if let Origin::Membership { event_id } = &entry.origin {
                self.membership(entry, event_id).await;
            }
            return;
        };
        match &entry.origin {
            Origin::Unasked
            | Origin::Report { .. }
            | Origin::Wish { .. }
            | Origin::Membership { .. } => {}
            Origin::Update { event_id, touched, .. } => {
                let to = topic::of(device, UPDATE_RESULT);
                match &entry.refusal {
                    Some(_) => self.refuse(&to, event_id, entry).await,
                    None => {
                        self.say(&to, || result(entry, event_id, touched)).await;
                        let told = touched.iter().any(|one| !one.removed && one.says_something());
                        if (told || !entry.changes.is_empty()) && !past {
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
            Origin::State { word }
                if entry.refusal.is_none() && (!past || self.stands(device, word)) =>
            {
                self.state(device, word, entry.at).await;
            }
            Origin::State { .. } => {}
        }
    }

    /// Whether this is the state of the device that was told last.
    fn stands(&self, device: &DeviceId, word: &str) -> bool {
        let state = self.ledger.get(device).and_then(|told| told.state);
        state.is_some_and(|state| state.as_str() == word)
    }

    async fn change(&self, entry: &Entry, change: &Change) {
        let id = &change.device.id;
        match change.kind {
            ChangeKind::Added => self.membership_changed(id, Some(&change.device), entry.at).await,
            ChangeKind::Removed => return self.membership_changed(id, None, entry.at).await,
            ChangeKind::Described | ChangeKind::Updated => {}
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

    async fn membership<'a>(&self, entry: &'a Entry, event_id: &'a str) {
        let words = |member: &'a Member| DeviceWords {
            id: member.device.id.to_string(),
            name: member.device.id.name(),
            description: &member.device.description,
            state: Some(member.state),
            last_online: member.last_online.map(whole_seconds),
        };
        let message = || {
            let mut members: Vec<_> = entry.members.iter().collect();
            members.sort_by(|a, b| a.device.id.cmp(&b.device.id));
            let devices = members.into_iter().map(words).collect();
            MembershipMessage { event_id, timestamp: entry.at.as_millis(), devices }
        };
        self.say(&topic::of_node(&self.node, "membership/get/result"), message).await;
    }

    /// A device came, as described, or went.
    async fn membership_changed(&self, id: &DeviceId, added: Option<&Device>, at: Timestamp) {
        let words = |name, description| DeviceWords {
            id: id.to_string(),
            name,
            description,
            state: None,
            last_online: None,
        };
        let message = || MembershipChange {
            event_id: uuid::Uuid::new_v4().to_string(),
            timestamp: at.as_millis(),
            added_devices: added.map(|device| [words(id.name(), &device.description)]),
            removed_devices: added.is_none().then(|| [words("", "")]),
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

    /// Tells how things stand, as far as that is not what was told last: which devices came and went while nobody
    /// could follow, and the values and the state of those that changed.
    async fn catch_up(&mut self) -> Result<(), Unavailable> {
        let (newest, twins) = self.twins.as_they_stand().await?;
        self.ledger.catch_up(newest);
        let at = crate::clock::now();
        let present: HashMap<_, _> =
            twins.iter().map(|twin| (&twin.device().id, Told::of(twin))).collect();
        let gone = |(id, before): &(&DeviceId, &Told)| {
            present.get(id).is_none_or(|present| present.uid != before.uid)
        };
        let gone: Vec<_> = self.ledger.devices().filter(gone).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.membership_changed(&id, None, at).await;
            let before = self.ledger.set(&id, None);
            self.ledger.settle_later(self.broker.delivered(), id, before);
        }
        for twin in &twins {
            let id = &twin.device().id;
            let before = self.ledger.get(id).cloned();
            if before.as_ref().is_some_and(|before| before.rev == twin.rev()) {
                continue;
            }
            if before.is_none() {
                self.membership_changed(id, Some(twin.device()), at).await;
            }
            // That nobody said anything of a device yet is no news after a start.
            let said = |(_, state): (&Property, &TwinProperty)| {
                state.desired.is_some() || state.reported.is_some()
            };
            if before.as_ref().is_none_or(|before| before.rev > 0) || twin.properties().any(said) {
                self.say(&topic::of(id, DOCUMENT), || present_state(twin, at)).await;
            }
            let state = before.as_ref().and_then(|before| before.state);
            let unheard_of = state.is_none() && twin.condition().is_unheard_of();
            if state != Some(twin.state()) && !unheard_of {
                self.state(id, twin.state().as_str(), at).await;
            }
            self.delta(twin, at).await;
            self.ledger.set(id, Some(Told::of(twin)));
            self.ledger.settle_later(self.broker.delivered(), id.clone(), before);
        }
        self.told();
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

#[cfg(test)]
mod tests;
