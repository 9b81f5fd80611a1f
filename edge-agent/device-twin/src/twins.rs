//! All twins of a node: batches of commands in, one transaction each, answers and changes out.

mod commit;
mod lives;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use device_model::{DeviceId, Timestamp};

use crate::batch::Batch;
use crate::draft::Moment;
use crate::load::{Rows, Tombstones};
use crate::repeats::Repeats;
use crate::store::{Confirmed, Content, Durability, Row, Store, StoreError, StoredTwin, Tombstone};
use crate::{
    Answer, Change, Command, Counters, Now, Outcome, Owner, Rejected, Settings, Twin, Uid,
};

/// All twins of a node over a store. It has one owner, and no lock.
#[derive(Debug)]
pub struct Twins<S> {
    store: S,
    settings: Settings,
    twins: HashMap<DeviceId, Twin>,
    /// In the store, but nobody described the device since the start.
    parked: HashMap<DeviceId, StoredTwin>,
    tombstones: Tombstones,
    repeats: Repeats,
    /// When to look at which twin again; follows `Twin::check_at` of what is committed.
    deadlines: BTreeSet<(Timestamp, DeviceId)>,
    counters: Counters,
    rows: Rows,
    batches: u64,
    epoch: u64,
    /// By the steady clock.
    opened_at: Timestamp,
    /// When all deadlines were last looked at.
    looked_at: Now,
    /// Since when something waits to be synced, by the steady clock.
    unsynced_since: Option<Timestamp>,
}

/// When the machine's clock was set by so much, every deadline is looked at.
const CLOCK_SET_BY: Duration = Duration::from_secs(1);

/// Result of one command: the answer, and what to publish.
type Done = Result<(Answer, Vec<Change>), Rejected>;

impl<S: Store> Twins<S> {
    /// Reads all twins from `store`. They take part once their device is loaded.
    ///
    /// # Errors
    /// The store cannot be read, or, when it is new, not be written.
    pub fn open(mut store: S, settings: Settings, now: impl Into<Now>) -> Result<Self, StoreError> {
        let now = now.into();
        let mut stored = store.load()?;
        for twin in &mut stored.twins {
            twin.rev = twin.revision();
            for property in &mut twin.properties {
                // Whatever the clock of an earlier run showed: not after the start of this one.
                let received = property.state.reported.as_ref().map(|one| one.received_at);
                property.state.seen_at = received.unwrap_or_default().min(now.steady);
            }
        }
        let mut epoch = stored.epoch;
        if epoch == 0 {
            epoch = Content::epoch_at(now.wall);
            store.set_epoch(epoch)?;
        }
        let rows = Rows {
            device: stored.twins.iter().map(|twin| twin.row).max().unwrap_or(0),
            property: (stored.twins.iter().flat_map(|twin| &twin.properties))
                .map(|property| property.state.row)
                .max()
                .unwrap_or(0),
        };
        let tombstones = stored
            .tombstones
            .into_iter()
            .map(|one| ((one.device.clone(), one.property.clone()), one))
            .collect();
        Ok(Self {
            store,
            settings,
            twins: HashMap::new(),
            parked: stored.twins.into_iter().map(|twin| (twin.id.clone(), twin)).collect(),
            tombstones,
            repeats: Repeats::default(),
            deadlines: BTreeSet::new(),
            counters: Counters::default(),
            rows,
            batches: 0,
            epoch,
            opened_at: now.steady,
            looked_at: now,
            unsynced_since: None,
        })
    }

    /// Applies `commands` in order, as one transaction of the store.
    ///
    /// Flow: each command is judged and applied in memory, then the rows that changed are committed at once.
    ///
    /// Guarantees: what is answered is committed, and survives the death of the process; desired values,
    /// acknowledgements, states and descriptions are also on the disk, reported values within [`Settings::sync`].
    /// Changes come in the order of their revisions.
    ///
    /// # Errors
    /// The commit failed: no command of the batch has any effect, in memory or on disk.
    pub fn apply(
        &mut self,
        commands: impl AsRef<[Command]>,
        now: impl Into<Now>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let now = now.into();
        let commands = commands.as_ref();
        self.batches += 1;
        let mut batch = Batch::new(self.batches, self.counters, self.looked_at);
        let ticks = commands.iter().any(|command| matches!(command, Command::Tick));
        let outcomes = commands.iter().map(|command| self.one(command, &mut batch, now)).collect();
        match self.commit(&batch, ticks, now.steady) {
            Ok(deadlines) => {
                self.note(deadlines);
                Ok(outcomes)
            }
            Err(error) => {
                self.take_back(batch);
                Err(error)
            }
        }
    }

    /// When [`Command::Tick`] is due by the steady clock; `None`: nothing waits for time to pass.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let sync = self.unsynced_since.map(|since| since.plus(self.settings.sync));
        let check = self.deadlines.first().map(|(time, _)| *time);
        sync.into_iter().chain(check).min()
    }

    /// The twin of a loaded device.
    pub fn get(&self, device: &DeviceId) -> Option<&Twin> {
        self.twins.get(device)
    }

    /// The twins of all loaded devices, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Twin> {
        self.twins.values()
    }

    /// Devices of the store that were not loaded since the start: remove those that no longer exist.
    pub fn parked(&self) -> impl ExactSizeIterator<Item = &DeviceId> {
        self.parked.keys()
    }

    /// Which life of a device there is a twin of, loaded or parked.
    pub fn life(&self, device: &DeviceId) -> Option<&Uid> {
        let parked = || self.parked.get(device).map(|parked| &parked.uid);
        self.twins.get(device).map(Twin::uid).or_else(parked)
    }

    /// Numbers the lives of the store.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What was dropped, refused and done since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sets [`Settings::sync`] from now on.
    pub fn set_sync(&mut self, span: Duration) {
        self.settings.sync = span;
    }

    /// Sets [`Settings::refresh_persist`] from now on.
    pub fn set_refresh(&mut self, span: Duration) {
        self.settings.refresh_persist = span;
    }

    /// The store, for objects and for what the uplink has not confirmed.
    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Begins another life of the store: the order of all twins goes on above what anybody knows of them.
    ///
    /// # Errors
    /// It is not begun.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.store.set_epoch(epoch)?;
        self.epoch = epoch;
        Ok(())
    }

    /// Whether the store takes anything at this moment: writes, synced, what it has already.
    ///
    /// # Errors
    /// It does not; the error says why.
    pub fn probe(&mut self) -> Result<(), StoreError> {
        self.store.set_epoch(self.epoch)
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The uplink has each of these devices up to that point; a deletion that it covers may be forgotten in time.
    ///
    /// # Errors
    /// Nothing is noted; confirm again.
    pub fn confirm(&mut self, confirmed: &[(DeviceId, Confirmed)]) -> Result<(), StoreError> {
        self.store.confirm(confirmed)?;
        let covered = |one: &Tombstone| {
            let covers = |(device, confirmed): &(DeviceId, Confirmed)| {
                one.device == *device && one.uid == confirmed.uid && one.rev <= confirmed.rev
            };
            !one.confirmed && confirmed.iter().any(covers)
        };
        let now_known: Vec<_> = (self.tombstones.values())
            .filter(|one| covered(one))
            .map(|one| Tombstone { confirmed: true, ..one.clone() })
            .collect();
        if !now_known.is_empty() {
            let rows: Vec<_> = now_known.iter().map(Row::Bury).collect();
            self.store.commit(&rows, Durability::Synced)?;
        }
        for one in now_known {
            self.tombstones.insert((one.device.clone(), one.property.clone()), one);
        }
        Ok(())
    }

    fn one(&mut self, command: &Command, batch: &mut Batch, now: Now) -> Outcome {
        let event = match command {
            Command::Report(report) => report.event.clone().map(|key| (report.device.clone(), key)),
            Command::Desire(desire) => desire.event.clone().map(|key| (desire.device.clone(), key)),
            _ => None,
        };
        if let Some((device, key)) = &event
            && let Some(result) = self.repeats.find(device, key, now.steady, &self.settings)
        {
            self.counters.repeats += 1;
            return Outcome { result, changes: Vec::new() };
        }
        let done = match command {
            Command::Report(report) => self.report(report, batch, now),
            Command::Desire(desire) => self.desire(desire, batch, now),
            Command::Update(update) => self.update(update, batch, now),
            Command::Load(device) => self.load(device.clone(), batch, now),
            Command::Adopt(device) => self.adopt(device.clone(), batch, now),
            Command::Remove(id) => self.remove(id, batch, now),
            Command::Lose { devices, reason } => Ok(self.lose(devices, reason, batch, now)),
            Command::Judge { device, problem } => self.judge(device, problem.clone(), batch),
            Command::Doubt => Ok(self.doubt(batch, now)),
            Command::Tick => Ok(self.tick(batch, now)),
        };
        let (result, changes) = match done {
            Ok((answer, changes)) => (Ok(answer), changes),
            Err(rejected) => {
                self.counters.refused += 1;
                (Err(rejected), Vec::new())
            }
        };
        match changes.len() {
            0 => self.counters.unchanged += 1,
            some => self.counters.changes += u64::try_from(some).unwrap_or(u64::MAX),
        }
        if let Some((device, key)) = event {
            self.repeats.keep(
                device.clone(),
                key.clone(),
                result.clone(),
                now.steady,
                &self.settings,
            );
            batch.events.push((device, key));
        }
        Outcome { result, changes }
    }

    fn report(&mut self, report: &crate::Report, batch: &mut Batch, now: Now) -> Done {
        let Self { twins, settings, counters, opened_at, .. } = self;
        let Some(twin) = twins.get_mut(&report.device) else {
            return Err(unknown(&report.device));
        };
        batch.touch(twin);
        let moment =
            &mut Moment { now: now.wall, clocks: now, opened_at: *opened_at, settings, counters };
        let (change, refused) = twin.report(report, moment)?;
        let answer = Answer { rev: twin.rev, refused, ..Answer::default() };
        Ok((answer, change.into_iter().collect()))
    }

    fn desire(&mut self, desire: &crate::Desire, batch: &mut Batch, now: Now) -> Done {
        let Self { twins, settings, counters, opened_at, .. } = self;
        let Some(twin) = twins.get_mut(&desire.device) else {
            return Err(unknown(&desire.device));
        };
        batch.touch(twin);
        let moment =
            &mut Moment { now: now.wall, clocks: now, opened_at: *opened_at, settings, counters };
        let change = twin.desire(desire, moment)?;
        let generation = |one: &crate::DesireProperty| {
            let (property, state) = twin.property(&one.property)?;
            let desired = state.desired.as_ref();
            Some((property.name.clone(), desired.map(|desired| desired.generation)))
        };
        let generations = desire.properties.iter().filter_map(generation).collect();
        let answer = Answer { rev: twin.rev, generations, ..Answer::default() };
        Ok((answer, change.into_iter().collect()))
    }

    fn update(&mut self, update: &crate::Update, batch: &mut Batch, now: Now) -> Done {
        let Self { twins, settings, counters, opened_at, .. } = self;
        let Some(twin) = twins.get_mut(&update.device) else {
            return Err(unknown(&update.device));
        };
        batch.touch(twin);
        let moment =
            &mut Moment { now: now.wall, clocks: now, opened_at: *opened_at, settings, counters };
        let changes = twin.update(update, moment)?;
        Ok((Answer { rev: twin.rev, ..Answer::default() }, changes))
    }

    fn judge(&mut self, device: &DeviceId, problem: Option<Arc<str>>, batch: &mut Batch) -> Done {
        let Some(twin) = self.twins.get_mut(device) else { return Err(unknown(device)) };
        batch.touch(twin);
        let change = twin.judged(problem)?;
        Ok((Answer { rev: twin.rev, ..Answer::default() }, change.into_iter().collect()))
    }

    fn lose(
        &mut self,
        devices: &[DeviceId],
        reason: &Arc<str>,
        batch: &mut Batch,
        now: Now,
    ) -> (Answer, Vec<Change>) {
        let mut changes = Vec::new();
        for id in devices {
            if let Some(twin) = self.twins.get_mut(id) {
                batch.touch(twin);
                changes.extend(twin.lose(reason, now.wall));
            }
        }
        (Answer::default(), changes)
    }

    fn doubt(&mut self, batch: &mut Batch, now: Now) -> (Answer, Vec<Change>) {
        let Self { twins, settings, counters, opened_at, .. } = self;
        let moment =
            &Moment { now: now.wall, clocks: now, opened_at: *opened_at, settings, counters };
        let mut changes = Vec::new();
        for twin in twins.values_mut() {
            batch.touch(twin);
            changes.extend(twin.doubt(moment));
        }
        (Answer::default(), changes)
    }

    fn tick(&mut self, batch: &mut Batch, now: Now) -> (Answer, Vec<Change>) {
        self.repeats.forget_old(now.steady, &self.settings);
        // What waits for the machine's clock may be due at once when that was set.
        let all = now.was_set_by(CLOCK_SET_BY, self.looked_at);
        if all {
            self.looked_at = now;
        }
        let due: Vec<_> = (self.deadlines.iter())
            .take_while(|(time, _)| all || *time <= now.steady)
            .map(|(_, id)| id.clone())
            .collect();
        let Self { twins, settings, counters, opened_at, .. } = self;
        let moment =
            &Moment { now: now.wall, clocks: now, opened_at: *opened_at, settings, counters };
        let mut changes = Vec::new();
        for id in due {
            if let Some(twin) = twins.get_mut(&id) {
                batch.touch(twin);
                changes.extend(twin.tick(moment));
            }
        }
        let owner = self.settings.owner;
        let old: Vec<_> = (self.tombstones.iter())
            .filter(|(_, one)| now.is_over(one.deleted_at.plus(self.settings.tombstone_life)))
            .filter(|(_, one)| owner == Owner::Node || one.confirmed)
            .map(|(key, _)| key.clone())
            .collect();
        for key in old {
            self.forget(key, batch);
        }
        (Answer::default(), changes)
    }
}

fn unknown(device: &DeviceId) -> Rejected {
    Rejected::Unknown { what: format!("device {device}") }
}
