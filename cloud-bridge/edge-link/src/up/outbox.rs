//! Which twins the cloud does not have yet. The edge's end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::content::{Confirmation, Point, Progress, Welcome};
use crate::message::MessageId;
use crate::object::Uid;

/// How an [`Outbox`] sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxSettings {
    /// How many reports may wait for their confirmations; 0 counts as 1.
    pub in_flight: usize,
    /// How long a first confirmation may take. It doubles with each try.
    pub resend_after: Duration,
    /// The longest of these spans.
    pub resend_at_most: Duration,
    /// Of so many reports one is of what waited before the link began, while others wait, too; 0 counts as 1.
    pub backlog_every: u32,
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            in_flight: 32,
            resend_after: Duration::from_secs(10),
            resend_at_most: Duration::from_secs(120),
            backlog_every: 4,
        }
    }
}

/// What of a twin is to be sent now: everything that changed after `progress.base_rev`, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upload<K> {
    /// What the confirmation will name.
    pub id: MessageId,
    /// Which device, or part of one.
    pub key: K,
    /// Which part of the twin's life.
    pub progress: Progress,
}

/// What a word of the cloud comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<K> {
    /// Nothing is to be done.
    Nothing,
    /// Note in the store that the cloud has this much.
    Confirmed(K, Point),
    /// The cloud knows a newer life of this store, which must be an old copy, or one that began with a clock that was not
    /// set. End the link, give the store this epoch, and begin anew with it.
    Behind(u64),
}

/// The twins of a node that the cloud does not have as they are. `K` names a device; towards a KubeEdge cloud, which
/// confirms values and states apart, a device and which of the two.
///
/// It holds no values: they are read when they are sent, so that the newest wins. Times are since any moment, by a clock
/// that nobody sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outbox<K> {
    settings: OutboxSettings,
    epoch: u64,
    linked: bool,
    /// That of the last twin that came to wait.
    place: u64,
    /// Since something of the backlog was sent.
    live_in_row: u32,
    twins: BTreeMap<K, Twin>,
    /// Changed since the link began, by place.
    live: BTreeMap<u64, K>,
    /// Everything else, by place.
    backlog: BTreeMap<u64, K>,
    flights: Vec<Flight<K>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Twin {
    uid: Uid,
    rev: u64,
    /// The highest revision of this epoch that the cloud said it has.
    confirmed: u64,
    /// The cloud has nothing to build on.
    whole: bool,
    place: Option<u64>,
    /// Reports in a row without the cloud's word.
    tries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flight<K> {
    upload: Upload<K>,
    due: Duration,
}

impl<K: Ord + Clone> Outbox<K> {
    /// For a store of that epoch, without a link.
    pub fn new(settings: OutboxSettings, epoch: u64) -> Self {
        Self {
            settings,
            epoch,
            linked: false,
            place: 0,
            live_in_row: 0,
            twins: BTreeMap::new(),
            live: BTreeMap::new(),
            backlog: BTreeMap::new(),
            flights: Vec::new(),
        }
    }

    /// At the start: a twin that the store has, and up to where the cloud has it, as was noted when it was confirmed.
    pub fn restore(&mut self, key: &K, uid: Uid, rev: u64, confirmed: Option<&Point>) {
        let confirmed = confirmed.filter(|point| point.uid == uid && point.epoch == self.epoch);
        let (whole, confirmed) = confirmed.map_or((true, 0), |point| (false, point.rev));
        self.twins.insert(key.clone(), Twin::new(uid, rev, confirmed, whole));
        self.consider(key);
    }

    /// A change of a twin was committed.
    pub fn note(&mut self, key: &K, uid: &Uid, rev: u64) {
        match self.twins.get_mut(key) {
            Some(twin) if twin.uid == *uid => {
                twin.rev = rev.max(twin.rev);
                // What waited before goes with what is live.
                let place = twin.place.filter(|_| self.linked);
                if let Some((place, key)) = place.and_then(|at| self.backlog.remove_entry(&at)) {
                    self.live.insert(place, key);
                }
            }
            _ => {
                self.forget(key);
                self.twins.insert(key.clone(), Twin::new(uid.clone(), rev, 0, true));
            }
        }
        self.consider(key);
    }

    /// A device is gone, and nothing is sent of it any more.
    pub fn forget(&mut self, key: &K) {
        if let Some(place) = self.twins.remove(key).and_then(|twin| twin.place) {
            self.live.remove(&place);
            self.backlog.remove(&place);
        }
        self.flights.retain(|flight| flight.upload.key != *key);
    }

    /// A link begins. `welcome` is what a cloud of ours says it has; a KubeEdge cloud says nothing, and is believed to have
    /// what it confirmed.
    ///
    /// Says [`Told::Behind`] or [`Told::Nothing`].
    pub fn connect(&mut self, welcome: Option<&Welcome>) -> Told<K> {
        self.disconnect();
        let Some(welcome) = welcome else {
            self.linked = true;
            return Told::Nothing;
        };
        if welcome.has.iter().any(|point| self.is_behind(point)) {
            let highest = welcome.has.iter().map(|point| point.epoch).max();
            return Told::Behind(highest.unwrap_or(self.epoch) + 1);
        }
        let keys: Vec<_> = self.twins.keys().cloned().collect();
        for key in keys {
            let Some(twin) = self.twins.get_mut(&key) else { continue };
            if welcome.gone.contains(&twin.uid) {
                self.forget(&key);
                continue;
            }
            let has = welcome.has.iter().find(|point| point.uid == twin.uid);
            twin.learn(has.filter(|point| point.epoch == self.epoch));
            self.consider(&key);
        }
        self.linked = true;
        Told::Nothing
    }

    /// The link is over. What was under way may have come or not, and is sent again as it is then.
    pub fn disconnect(&mut self) {
        self.linked = false;
        self.live_in_row = 0;
        let under_way = std::mem::take(&mut self.flights);
        self.backlog.append(&mut self.live);
        for twin in self.twins.values_mut() {
            twin.tries = 0;
        }
        for flight in under_way {
            self.consider(&flight.upload.key);
        }
    }

    /// The next report to send now, if any, under `id`. Call it until there is none: after each change, and at
    /// [`Outbox::due`].
    pub fn next(&mut self, now: Duration, id: MessageId) -> Option<Upload<K>> {
        if !self.linked {
            return None;
        }
        self.give_up_late(now);
        if self.flights.len() >= self.settings.in_flight.max(1) {
            return None;
        }
        let key = self.take()?;
        let most = self.settings.resend_at_most;
        let twin = self.twins.get_mut(&key)?;
        let span = self.settings.resend_after.saturating_mul(1 << twin.tries.min(16)).min(most);
        twin.tries = twin.tries.saturating_add(1);
        twin.place = None;
        let base_rev = if twin.whole { 0 } else { twin.confirmed };
        let (uid, rev) = (twin.uid.clone(), twin.rev);
        let progress = Progress { uid, epoch: self.epoch, rev, base_rev };
        let upload = Upload { id, key, progress };
        self.flights.push(Flight { upload: upload.clone(), due: now + span });
        Some(upload)
    }

    /// When [`Outbox::next`] may have something that it does not have now, if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        self.flights.iter().map(|flight| flight.due).min()
    }

    /// The cloud's word on the report `id`. Of a report that nobody waits for this changes nothing: what it told is sent
    /// again, or something newer was.
    pub fn confirm(&mut self, id: &MessageId, said: &Confirmation) -> Told<K> {
        let at = self.flights.iter().position(|flight| flight.upload.id == *id);
        let Some(at) = at else { return Told::Nothing };
        let Upload { key, progress, .. } = self.flights.remove(at).upload;
        match said {
            Confirmation::Has(point) if self.is_behind(point) => {
                self.consider(&key);
                return Told::Behind(point.epoch + 1);
            }
            _ => {}
        }
        let Some(twin) = self.twins.get_mut(&key) else { return Told::Nothing };
        let before = twin.confirmed;
        let taken = Point { uid: progress.uid, epoch: progress.epoch, rev: progress.rev };
        match said {
            Confirmation::Taken => twin.learn(Some(&taken)),
            Confirmation::Has(point) if point.uid == twin.uid => {
                twin.learn(Some(point).filter(|point| point.epoch == self.epoch));
            }
            Confirmation::Nothing(uid) if *uid == twin.uid => twin.learn(None),
            Confirmation::Gone(uid) if *uid == twin.uid => {
                self.forget(&key);
                return Told::Nothing;
            }
            // Of another life: as if it had not been said.
            _ => {}
        }
        if !twin.whole {
            twin.tries = 0;
        }
        let news = twin.confirmed > before;
        let point = Point { uid: twin.uid.clone(), epoch: self.epoch, rev: twin.confirmed };
        self.consider(&key);
        if news { Told::Confirmed(key, point) } else { Told::Nothing }
    }

    /// Whether the cloud is known to have every twin as it is.
    pub fn is_settled(&self) -> bool {
        self.twins.values().all(|twin| !twin.differs())
    }

    /// How many twins the cloud is not known to have as they are.
    pub fn differing(&self) -> usize {
        self.twins.values().filter(|twin| twin.differs()).count()
    }

    /// How many reports wait for their confirmation.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How far each twin is, for a hello; each life once.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.twins.values().map(|twin| Point {
            uid: twin.uid.clone(),
            epoch: self.epoch,
            rev: twin.rev,
        })
    }

    /// Whether the cloud has more than this store can have told it.
    fn is_behind(&self, point: &Point) -> bool {
        let mut twins = self.twins.values().filter(|twin| twin.uid == point.uid);
        point.epoch > self.epoch
            || (point.epoch == self.epoch && twins.any(|twin| twin.rev < point.rev))
    }

    /// Lets `key` wait if it differs and is not in flight, where it waited before.
    fn consider(&mut self, key: &K) {
        let under_way = self.flights.iter().any(|flight| flight.upload.key == *key);
        let Some(twin) = self.twins.get_mut(key) else { return };
        match twin.place {
            None if twin.differs() && !under_way => {
                self.place += 1;
                twin.place = Some(self.place);
                let waiting = if self.linked { &mut self.live } else { &mut self.backlog };
                waiting.insert(self.place, key.clone());
            }
            Some(place) if !twin.differs() => {
                twin.place = None;
                self.live.remove(&place);
                self.backlog.remove(&place);
            }
            _ => {}
        }
    }

    /// The next that waits and may be sent: what is live first, but for every so many one of the backlog.
    fn take(&mut self) -> Option<K> {
        let backlogs_turn = self.live_in_row + 1 >= self.settings.backlog_every.max(1);
        let from_backlog = self.live.is_empty() || (backlogs_turn && !self.backlog.is_empty());
        if from_backlog {
            self.live_in_row = 0;
            self.backlog.pop_first().map(|(_, key)| key)
        } else {
            self.live_in_row += u32::from(!self.backlog.is_empty());
            self.live.pop_first().map(|(_, key)| key)
        }
    }

    /// Reports whose confirmation is late are forgotten: what they told is sent again, as it is now, behind all others.
    fn give_up_late(&mut self, now: Duration) {
        while let Some(at) = self.flights.iter().position(|flight| flight.due <= now) {
            let key = self.flights.remove(at).upload.key;
            self.consider(&key);
        }
    }
}

impl Twin {
    fn new(uid: Uid, rev: u64, confirmed: u64, whole: bool) -> Self {
        Self { uid, rev, confirmed, whole, place: None, tries: 0 }
    }

    fn differs(&self) -> bool {
        self.whole || self.rev > self.confirmed
    }

    /// Takes the cloud's word on how far it has this life, in this epoch.
    fn learn(&mut self, has: Option<&Point>) {
        // It has less than it confirmed: it lost something, and nothing builds on what is left.
        self.whole = has.is_none_or(|point| point.rev < self.confirmed);
        if let Some(point) = has {
            self.confirmed = self.confirmed.max(point.rev.min(self.rev));
        }
    }
}
