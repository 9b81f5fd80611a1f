//! What one node should have, what it has, and what of the difference is under way. The hub's end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Outgoing, Task};
use crate::content::Holding;
use crate::message::MessageId;
use crate::object::{Uid, Version};
use crate::resource::ObjectKey;

/// How a [`Queue`] sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueSettings {
    /// How long an acknowledgement may take before the same is sent again. CloudCore's 5 s.
    pub resend_after: Duration,
    /// How often the same is sent before others have their turn, at least 1. CloudCore's 5.
    pub sends: u32,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { resend_after: Duration::from_secs(5), sends: 5 }
    }
}

/// How many messages may wait for their acknowledgements over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window(usize);

impl Window {
    /// Towards KubeEdge's EdgeCore: it handles messages in no certain order.
    pub const EDGECORE: Self = Self(1);
    /// Towards our agent: enough for a link of 100 ms at 300 objects a second.
    pub const AGENT: Self = Self(32);

    /// Another width; 0 counts as 1. EdgeCore has room for 100 messages and drops the oldest of more.
    pub fn of(messages: usize) -> Self {
        Self(messages.max(1))
    }

    /// How many.
    pub fn messages(self) -> usize {
        self.0
    }
}

/// The objects of one node, as its hub knows them. `T` is the object's body, or what the caller finds it by.
///
/// Times are since any moment, by a clock that nobody sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue<T> {
    settings: QueueSettings,
    /// None while there is no link.
    window: Option<Window>,
    /// That of the last message over this link.
    order: u64,
    /// That of the last object that came to wait.
    place: u64,
    objects: BTreeMap<ObjectKey, Entry<T>>,
    /// What differs and is not in flight, by place.
    waiting: BTreeMap<u64, ObjectKey>,
    /// Never two of one object: no state overtakes another.
    flights: Vec<Flight<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Entry<T> {
    wanted: Option<Wanted<T>>,
    /// What the node said it has.
    held: Option<(Uid, Version)>,
    /// Lives that the node may have: it was told of them, and has not said that they are gone.
    lives: Vec<Uid>,
    /// Since when it differs, among all; keeps the order over links.
    place: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Wanted<T> {
    uid: Uid,
    version: Version,
    body: T,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flight<T> {
    message: Outgoing<T>,
    sent_at: Duration,
    sends: u32,
}

/// What a node has now, by its own word; what an ObjectSync records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Which object.
    pub key: ObjectKey,
    /// Which life of it.
    pub uid: Uid,
    /// In which state; `None`: this life is gone there.
    pub version: Option<Version>,
}

impl<T: Clone> Queue<T> {
    /// A node without a link that has nothing and should have nothing.
    pub fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            window: None,
            order: 0,
            place: 0,
            objects: BTreeMap::new(),
            waiting: BTreeMap::new(),
            flights: Vec::new(),
        }
    }

    /// The node should have `key` in this state, in place of any other; known states and older ones are no news.
    pub fn put(&mut self, key: &ObjectKey, uid: Uid, version: Version, body: T) {
        let entry = self.objects.entry(key.clone()).or_insert_with(Entry::empty);
        let known = entry.wanted.as_ref().filter(|wanted| wanted.uid == uid);
        let is_no_news =
            |known: &Version| known.is_that_of(&version) || version.is_older_than(known);
        if known.is_some_and(|one| is_no_news(&one.version)) {
            return;
        }
        entry.wanted = Some(Wanted { uid, version, body });
        self.consider(key);
    }

    /// This life of `key` is over. Of any other life it says nothing.
    pub fn delete(&mut self, key: &ObjectKey, uid: &Uid) {
        let Some(entry) = self.objects.get_mut(key) else { return };
        if entry.wanted.as_ref().is_some_and(|wanted| wanted.uid == *uid) {
            entry.wanted = None;
            self.consider(key);
        }
    }

    /// A link begins. `held` is all that the node has, by its own word or by that of the API server's ObjectSyncs; `None`
    /// leaves what was acknowledged before. What was not is sent again, in its old order.
    ///
    /// What the node has and should not have is deleted there. So everything that it should have must have been put, and
    /// as new as any hub has ever sent it: from a consistent list, not from a cache that may lag behind another replica's.
    pub fn connect(&mut self, window: Window, held: Option<Vec<Holding>>) {
        self.flights.clear();
        self.window = Some(window);
        self.order = 0;
        if let Some(held) = held {
            for entry in self.objects.values_mut() {
                entry.held = None;
                entry.lives.clear();
            }
            for Holding { key, uid, version } in held {
                let entry = self.objects.entry(key).or_insert_with(Entry::empty);
                entry.lives.push(uid.clone());
                entry.held = Some((uid, version));
            }
        }
        self.waiting.clear();
        let keys: Vec<_> = self.objects.keys().cloned().collect();
        for key in keys {
            self.consider(&key);
        }
    }

    /// The link is over; nothing is sent before the next one.
    pub fn disconnect(&mut self) {
        self.flights.clear();
        self.window = None;
    }

    /// The next message to send now, if any; `id` is used for it unless it was sent before. Call it until there is none:
    /// after each change, and at [`Queue::due`].
    pub fn next(&mut self, now: Duration, id: MessageId) -> Option<Outgoing<T>> {
        let window = self.window?;
        while self.flights.len() < window.0 {
            let Some((_, key)) = self.waiting.pop_first() else { break };
            if let Some(task) = self.objects.get(&key).and_then(Entry::task) {
                return Some(self.send(now, id, key, task));
            }
        }
        let most = self.settings.sends;
        let late = self.late(now)?;
        if late.sends < most {
            (late.sends, late.sent_at) = (late.sends + 1, now);
            return Some(late.message.clone());
        }
        // Others have their turn first; then it begins anew, with what is wanted then.
        let key = late.message.key.clone();
        self.flights.retain(|flight| flight.message.key != key);
        self.rest(&key);
        self.next(now, id)
    }

    /// When [`Queue::next`] may have something that it does not have now, if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        self.flights.iter().map(|flight| flight.sent_at + self.settings.resend_after).min()
    }

    /// The node has committed the message `id`. Of a message that nobody waits for this changes nothing.
    pub fn acknowledge(&mut self, id: &MessageId) -> Option<Acknowledged> {
        let place = self.flights.iter().position(|flight| flight.message.id == *id)?;
        let Outgoing { key, task, .. } = self.flights.remove(place).message;
        let entry = self.objects.get_mut(&key)?;
        let (uid, version) = match task {
            Task::Put { uid, version, .. } => {
                entry.held = Some((uid.clone(), version.clone()));
                (uid, Some(version))
            }
            Task::Delete { uid } => {
                entry.lives.retain(|life| *life != uid);
                entry.held = entry.held.take().filter(|(held, _)| *held != uid);
                (uid, None)
            }
        };
        self.rest(&key);
        Some(Acknowledged { key, uid, version })
    }

    /// What the node should have.
    pub fn wanted(&self) -> impl Iterator<Item = (&ObjectKey, &Uid)> {
        self.objects.iter().filter_map(|(key, entry)| Some((key, &entry.wanted.as_ref()?.uid)))
    }

    /// Whether the node is known to have everything as it should be.
    pub fn is_settled(&self) -> bool {
        self.objects.values().all(|entry| entry.task().is_none())
    }

    /// How many objects differ, those in flight included.
    pub fn differing(&self) -> usize {
        self.objects.values().filter(|entry| entry.task().is_some()).count()
    }

    /// How many messages wait for their acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What the node said it has.
    pub fn held(&self) -> impl Iterator<Item = Holding> + '_ {
        self.objects.iter().filter_map(|(key, entry)| {
            let (uid, version) = entry.held.clone()?;
            Some(Holding { key: key.clone(), uid, version })
        })
    }

    /// Lets `key` wait if it differs and is not in flight, where it waited before.
    fn consider(&mut self, key: &ObjectKey) {
        let Some(entry) = self.objects.get_mut(key) else { return };
        if self.flights.iter().any(|flight| flight.message.key == *key) {
            return;
        }
        if entry.task().is_some() {
            let place = *entry.place.get_or_insert_with(|| {
                self.place += 1;
                self.place
            });
            self.waiting.insert(place, key.clone());
        } else {
            if let Some(place) = entry.place.take() {
                self.waiting.remove(&place);
            }
            if entry.wanted.is_none() {
                self.objects.remove(key);
            }
        }
    }

    /// What differs in `key` from now on waits behind all others.
    fn rest(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.objects.get_mut(key) {
            entry.place = None;
        }
        self.consider(key);
    }

    fn send(&mut self, now: Duration, id: MessageId, key: ObjectKey, task: Task<T>) -> Outgoing<T> {
        if let (Task::Put { uid, .. }, Some(entry)) = (&task, self.objects.get_mut(&key))
            && !entry.lives.contains(uid)
        {
            entry.lives.push(uid.clone());
        }
        self.order += 1;
        let message = Outgoing { id, order: self.order, key, task };
        self.flights.push(Flight { message: message.clone(), sent_at: now, sends: 1 });
        message
    }

    /// The first message whose acknowledgement is late.
    fn late(&mut self, now: Duration) -> Option<&mut Flight<T>> {
        let after = self.settings.resend_after;
        self.flights.iter_mut().find(|flight| flight.sent_at + after <= now)
    }
}

impl<T: Clone> Entry<T> {
    fn empty() -> Self {
        Self { wanted: None, held: None, lives: Vec::new(), place: None }
    }

    /// What is to be sent next. A former life goes before the present one comes: EdgeCore knows objects by their names
    /// alone, and would take the word of its end for that of the present one's.
    fn task(&self) -> Option<Task<T>> {
        let present = self.wanted.as_ref().map(|wanted| &wanted.uid);
        if let Some(former) = self.lives.iter().find(|life| Some(*life) != present) {
            return Some(Task::Delete { uid: former.clone() });
        }
        let wanted = self.wanted.as_ref()?;
        let held = self.held.as_ref().filter(|(uid, _)| *uid == wanted.uid);
        if held.is_some_and(|(_, version)| version.is_that_of(&wanted.version)) {
            return None;
        }
        let Wanted { uid, version, body } = wanted.clone();
        Some(Task::Put { uid, version, known: held.is_some(), body })
    }
}
