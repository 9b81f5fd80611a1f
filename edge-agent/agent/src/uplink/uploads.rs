//! What the cloud does not have of the twins, and its way there: follows the feed, whether there is a link or not.

use std::collections::BTreeMap;

use device_model::DeviceId;
use device_twin::store::Confirmed;
use device_twin::{ChangeKind, Command, Uid as Life};
use edge_link::content::{Confirmation, Point, Welcome};
use edge_link::up::{Outbox, OutboxSettings, Told, Upload};
use edge_link::words::{group, operation, source};
use edge_link::{Message, MessageId, Resource, Route, Uid};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::report;
use crate::clock::now;
use crate::feed::{Entry, Missed, Origin};
use crate::twins::{Twins, Unavailable};

/// Feed entries taken at a time.
const CHUNK: usize = 256;

/// What a report is about. A cloud of ours takes all of a device in one; KubeEdge's confirms values and state apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    device: DeviceId,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    All,
    Values,
    State,
}

/// Whose cloud is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Ours,
    KubeEdge,
}

impl Peer {
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Ours => &[Part::All],
            Self::KubeEdge => &[Part::Values, Part::State],
        }
    }
}

/// How a device waits for the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) device: DeviceId,
    /// The twin's revision.
    pub(crate) rev: u64,
    /// Up to where the cloud has it; none: nothing of this life, as far as is known.
    pub(crate) confirmed: Option<u64>,
    /// Since when.
    pub(crate) since: Instant,
}

/// The way up.
pub(crate) struct Uploads {
    twins: Twins,
    newest: watch::Receiver<u64>,
    /// The last event of the feed that was read.
    cursor: u64,
    peer: Peer,
    outbox: Outbox<Subject>,
    /// Of each device: its life, its revision, up to where the cloud has it, and since when it lacks something.
    devices: BTreeMap<DeviceId, Known>,
    /// Confirmations that the store does not have yet.
    unkept: BTreeMap<DeviceId, Confirmed>,
    started: Instant,
    confirmed: u64,
}

struct Known {
    uid: Uid,
    rev: u64,
    confirmed: Option<Point>,
    since: Option<Instant>,
}

impl Uploads {
    /// Of the twins as they stand; `confirmed` is what the store knows of the cloud.
    pub(crate) async fn new(
        twins: Twins,
        confirmed: BTreeMap<DeviceId, Confirmed>,
    ) -> Result<Self, Unavailable> {
        let outbox = Outbox::new(OutboxSettings::default(), twins.epoch());
        let newest = twins.feed().subscribe();
        let mut uploads = Self {
            newest,
            cursor: twins.feed().newest(),
            twins,
            peer: Peer::Ours,
            outbox,
            devices: BTreeMap::new(),
            unkept: BTreeMap::new(),
            started: Instant::now(),
            confirmed: 0,
        };
        let (cursor, twins) = uploads.twins.as_they_stand().await?;
        uploads.cursor = cursor;
        for twin in twins {
            let Some(uid) = uid(twin.uid()) else { continue };
            let point = confirmed.get(&twin.device().id).and_then(|one| point(&uid, one));
            let mut known = Known { uid, rev: twin.rev(), confirmed: point, since: None };
            known.tell_since();
            uploads.devices.insert(twin.device().id.clone(), known);
        }
        uploads.rebuild();
        Ok(uploads)
    }

    /// Waits until the feed has something that was not read.
    pub(crate) async fn changed(&mut self) {
        if *self.newest.borrow_and_update() > self.cursor {
            return;
        }
        // Without the twins there is no agent.
        while self.newest.changed().await.is_ok() {
            if *self.newest.borrow_and_update() > self.cursor {
                return;
            }
        }
        std::future::pending().await
    }

    /// Reads what the feed has.
    ///
    /// # Errors
    /// The agent stops.
    pub(crate) async fn follow(&mut self) -> Result<(), Unavailable> {
        loop {
            match self.twins.feed().after(self.cursor, CHUNK) {
                Ok(entries) if entries.is_empty() => return Ok(()),
                Ok(entries) => {
                    for entry in &entries {
                        self.cursor = entry.last();
                        self.note(entry);
                    }
                }
                Err(Missed) => self.read_all().await?,
            }
        }
    }

    fn note(&mut self, entry: &Entry) {
        for change in &entry.changes {
            let id = &change.device.id;
            if change.kind == ChangeKind::Removed {
                // Unless its next life came in the same entry, later.
                self.forget(id);
                continue;
            }
            let Some(uid) = uid(&change.uid) else { continue };
            self.learn(id, &uid, change.rev, change.condition.is_some());
        }
    }

    fn learn(&mut self, id: &DeviceId, uid: &Uid, rev: u64, state: bool) {
        let known = self.devices.entry(id.clone()).or_insert_with(|| Known {
            uid: uid.clone(),
            rev: 0,
            confirmed: None,
            since: None,
        });
        let is_new = known.uid != *uid || known.rev == 0;
        if known.uid != *uid {
            *known = Known { uid: uid.clone(), rev: 0, confirmed: None, since: None };
        }
        known.rev = known.rev.max(rev);
        known.since.get_or_insert_with(Instant::now);
        for part in self.peer.parts() {
            if *part != Part::State || state || is_new {
                self.outbox.note(&Subject { device: id.clone(), part: *part }, uid, rev);
            }
        }
    }

    fn forget(&mut self, id: &DeviceId) {
        self.devices.remove(id);
        self.unkept.remove(id);
        for part in [Part::All, Part::Values, Part::State] {
            self.outbox.forget(&Subject { device: id.clone(), part });
        }
    }

    /// The feed overwrote what was not read: the twins tell how they stand.
    async fn read_all(&mut self) -> Result<(), Unavailable> {
        let (cursor, twins) = self.twins.as_they_stand().await?;
        self.cursor = cursor;
        let gone: Vec<_> = (self.devices.keys())
            .filter(|id| !twins.iter().any(|twin| twin.device().id == **id))
            .cloned()
            .collect();
        gone.iter().for_each(|id| self.forget(id));
        for twin in twins {
            let id = &twin.device().id;
            let Some(uid) = uid(twin.uid()) else { continue };
            let same = |known: &Known| known.uid == uid && known.rev == twin.rev();
            if !self.devices.get(id).is_some_and(same) {
                self.learn(id, &uid, twin.rev(), true);
            }
        }
        Ok(())
    }

    /// Another kind of cloud, or another life of the store: the outbox begins anew, with what is known.
    fn rebuild(&mut self) {
        self.outbox = Outbox::new(OutboxSettings::default(), self.twins.epoch());
        for (id, known) in &self.devices {
            for part in self.peer.parts() {
                let subject = Subject { device: id.clone(), part: *part };
                // What is confirmed is noted for values alone; a state more costs little.
                let confirmed = known.confirmed.as_ref().filter(|_| *part != Part::State);
                self.outbox.restore(&subject, known.uid.clone(), known.rev, confirmed);
            }
        }
    }

    /// Which life of the store this is.
    pub(crate) fn epoch(&self) -> u64 {
        self.twins.epoch()
    }

    /// How far each twin is, for a hello.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.outbox.points().collect()
    }

    /// A link to that cloud is to begin.
    pub(crate) fn meet(&mut self, peer: Peer) {
        if self.peer != peer {
            self.peer = peer;
            self.rebuild();
        }
    }

    /// The link begins; whether the store must begin another life first, with that epoch.
    pub(crate) fn connect(&mut self, welcome: Option<&Welcome>) -> Option<u64> {
        if let Some(welcome) = welcome {
            for known in self.devices.values_mut() {
                let has = welcome.has.iter().find(|point| point.uid == known.uid);
                known.confirmed = has.cloned();
                known.tell_since();
            }
        }
        match self.outbox.connect(welcome) {
            Told::Behind(epoch) => Some(epoch),
            Told::Nothing | Told::Confirmed(..) => None,
        }
    }

    /// The store begins another life, somewhere above `epoch`: of two stores that are lost in a row, the second must not
    /// begin where the first one did, of which a report may still be under way.
    ///
    /// # Errors
    /// It does not take it, or the agent stops.
    pub(crate) async fn begin_epoch(&mut self, epoch: u64) -> Result<(), Unavailable> {
        let (random, ..) = uuid::Uuid::new_v4().as_fields();
        let epoch = epoch + u64::from(random & 0xffff);
        warn!(
            epoch,
            "the cloud knows more of this node than its store does: a store from a backup, or a clock that was not set; its reports count from now on"
        );
        // A copy knows older values than the cloud has: none of them is told before it is read again.
        self.twins.apply(vec![Command::Doubt], Origin::Unasked).await?;
        self.twins.begin_epoch(epoch).await?;
        for known in self.devices.values_mut() {
            known.confirmed = None;
        }
        self.rebuild();
        Ok(())
    }

    /// The link is over.
    pub(crate) fn disconnect(&mut self) {
        self.outbox.disconnect();
    }

    /// The next report to send, if any.
    ///
    /// # Errors
    /// The agent stops.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Unavailable> {
        while let Some(upload) = self.outbox.next(self.started.elapsed(), MessageId::random()) {
            let Upload { id, key, progress } = upload;
            // Gone meanwhile, or another life by now: the feed will say so.
            let twin = self.twins.twin(&key.device).await?;
            let Some(twin) = twin.filter(|twin| twin.uid().as_str() == progress.uid.as_str())
            else {
                self.outbox.forget(&key);
                continue;
            };
            // It may have gone on since; what is told is what it is now, and counts as what it was then at least.
            let (resource, content) = match key.part {
                Part::All => {
                    (Resource::TwinReport(key.device), report::whole(&twin, &progress, now()))
                }
                Part::Values => {
                    (Resource::TwinReport(key.device), report::values(&twin, &progress, now()))
                }
                Part::State => (Resource::StateReport(key.device), report::state(&twin, now())),
            };
            let route = Route::new(source::TWIN, group::RESOURCE, operation::UPDATE, &resource);
            return Ok(Some(Message::new(id, now(), route, content)));
        }
        Ok(None)
    }

    /// When [`Uploads::next`] may have something that it does not have now.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.outbox.due().map(|due| self.started + due)
    }

    /// The cloud's word on a report; whether the store must begin another life, with that epoch.
    pub(crate) fn confirm(&mut self, report: &MessageId, said: &Confirmation) -> Option<u64> {
        match self.outbox.confirm(report, said) {
            Told::Behind(epoch) => Some(epoch),
            Told::Nothing => None,
            Told::Confirmed(Subject { device, part }, point) => {
                self.confirmed += 1;
                if part != Part::State
                    && let Some(known) =
                        self.devices.get_mut(&device).filter(|one| one.uid == point.uid)
                {
                    let Point { uid, epoch, rev } = &point;
                    let uid = Life::new(uid.as_str());
                    self.unkept.insert(device, Confirmed { uid, epoch: *epoch, rev: *rev });
                    known.confirmed = Some(point);
                    known.tell_since();
                }
                None
            }
        }
    }

    /// Writes down what was confirmed. It is needed towards clouds that do not say how far they are, after a restart.
    ///
    /// # Errors
    /// The agent stops.
    pub(crate) async fn keep(&mut self) -> Result<(), Unavailable> {
        if self.unkept.is_empty() {
            return Ok(());
        }
        let confirmed = std::mem::take(&mut self.unkept);
        match self.twins.confirm(confirmed.clone().into_iter().collect()).await {
            Ok(()) => Ok(()),
            Err(Unavailable::Stopped) => Err(Unavailable::Stopped),
            // It is tried again with the next ones.
            Err(_) => {
                for (device, one) in confirmed {
                    self.unkept.entry(device).or_insert(one);
                }
                Ok(())
            }
        }
    }

    /// How many reports were confirmed since the start.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// How many devices the cloud does not have as they are, and since when the oldest of them.
    pub(crate) fn behind_with(&self) -> (usize, Option<Instant>) {
        let since: Vec<_> = self.devices.values().filter_map(|known| known.since).collect();
        (since.len(), since.into_iter().min())
    }

    /// Devices that the cloud does not have as they are.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let waiting = |(device, known): (&DeviceId, &Known)| {
            Some(Waiting {
                device: device.clone(),
                rev: known.rev,
                confirmed: known.confirmed.as_ref().map(|point| point.rev),
                since: known.since?,
            })
        };
        self.devices.iter().filter_map(waiting).collect()
    }
}

impl Known {
    fn tell_since(&mut self) {
        let has_all = self.confirmed.as_ref().is_some_and(|point| point.rev >= self.rev);
        match has_all {
            true => self.since = None,
            false => drop(self.since.get_or_insert_with(Instant::now)),
        }
    }
}

fn uid(life: &Life) -> Option<Uid> {
    Uid::new(life.as_str())
}

fn point(uid: &Uid, confirmed: &Confirmed) -> Option<Point> {
    let Confirmed { uid: life, epoch, rev } = confirmed;
    (life.as_str() == uid.as_str()).then(|| Point { uid: uid.clone(), epoch: *epoch, rev: *rev })
}
