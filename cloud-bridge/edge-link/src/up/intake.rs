//! What of a device's reports counts, and when it is confirmed. The cloud's end.

use std::collections::BTreeMap;

use crate::content::{Confirmation, Point, Progress};
use crate::message::MessageId;
use crate::object::Uid;

/// A report of a device by an edge of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Report<K: Ord, V> {
    /// The message.
    pub id: MessageId,
    /// Which part of the twin's life it tells.
    pub progress: Progress,
    /// What changed in it, by property.
    pub changed: BTreeMap<K, V>,
}

/// What becomes of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is confirmed when it is written; see [`Intake::write`].
    Accepted,
    /// Answer this at once, and do nothing else.
    Answer(Confirmation),
}

/// What is to be written at the API server, in one request with its place, so that both are there or neither.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Write<K: Ord, V> {
    /// The place in the twin's life that the API server has afterwards.
    pub point: Point,
    /// Whether properties that are not in it are taken away.
    pub whole: bool,
    /// Properties in their newest state.
    pub changed: BTreeMap<K, V>,
}

/// The reports of one life of one device, between its edge and the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Intake<K: Ord, V> {
    uid: Uid,
    /// What the API server has.
    written: Option<Place>,
    /// On its way there.
    writing: Option<Pending<K, V>>,
    /// To be written next.
    pending: Option<Pending<K, V>>,
}

/// A place in one life of a device: the order of its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Place {
    epoch: u64,
    rev: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pending<K: Ord, V> {
    place: Place,
    /// What it builds on; 0: it is the whole twin.
    base_rev: u64,
    changed: BTreeMap<K, V>,
    /// What waits for its confirmation.
    reports: Vec<MessageId>,
}

impl<K: Ord + Clone, V: Clone> Intake<K, V> {
    /// The device with that life, and up to where the API server has it: what was written with its values.
    pub fn new(uid: Uid, written: Option<&Point>) -> Self {
        let written = written.filter(|point| point.uid == uid).map(Place::of);
        Self { uid, written, writing: None, pending: None }
    }

    /// How far the API server has it.
    pub fn written(&self) -> Option<Point> {
        self.written.map(|place| place.point(&self.uid))
    }

    /// Takes a report, however often and in whatever order reports come.
    pub fn take(&mut self, report: Report<K, V>) -> Judged {
        let Report { id, progress, changed } = report;
        let Progress { uid, epoch, rev, base_rev } = progress;
        if uid != self.uid {
            return Judged::Answer(Confirmation::Gone(uid));
        }
        let place = Place { epoch, rev };
        if self.written.is_some_and(|written| place <= written) {
            return Judged::Answer(self.has());
        }
        // What is on its way already is confirmed with it.
        for pending in [&mut self.writing, &mut self.pending].into_iter().flatten() {
            if place <= pending.place {
                pending.reports.push(id);
                return Judged::Accepted;
            }
        }
        let newest = [&self.pending, &self.writing].into_iter().flatten().map(|one| one.place);
        let newest = newest.max().max(self.written);
        if !builds_on(place.epoch, base_rev, newest) {
            return Judged::Answer(self.has());
        }
        let next = Pending { place, base_rev, changed, reports: vec![id] };
        self.pending = Some(match self.pending.take() {
            Some(before) => before.followed_by(next),
            None => next,
        });
        Judged::Accepted
    }

    /// What to write now, if anything; call it as often as the API server may be written to. One write at a time.
    pub fn write(&mut self) -> Option<Write<K, V>> {
        if self.writing.is_none() {
            self.writing = self.pending.take();
            let writing = self.writing.as_ref()?;
            return Some(Write {
                point: writing.place.point(&self.uid),
                whole: writing.base_rev == 0,
                changed: writing.changed.clone(),
            });
        }
        None
    }

    /// The API server has taken the write: what to confirm.
    pub fn done(&mut self) -> Vec<(MessageId, Confirmation)> {
        let Some(writing) = self.writing.take() else { return Vec::new() };
        self.written = Some(writing.place);
        self.answers(writing.reports)
    }

    /// The API server has not taken the write. `recorded` is how far it has the device, as it says when it is read again. What
    /// to answer to reports that count no more; everything else is written with the next write.
    pub fn refused(&mut self, recorded: Option<&Point>) -> Vec<(MessageId, Confirmation)> {
        self.written = recorded.filter(|point| point.uid == self.uid).map(Place::of);
        let pending = match (self.writing.take(), self.pending.take()) {
            (Some(writing), Some(pending)) => writing.followed_by(pending),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Vec::new(),
        };
        let late = self.written.is_some_and(|written| pending.place <= written);
        if !late && builds_on(pending.place.epoch, pending.base_rev, self.written) {
            self.pending = Some(pending);
            return Vec::new();
        }
        self.answers(pending.reports)
    }

    /// Whether something waits for the next write.
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// How far the API server has it, as an answer.
    pub fn has(&self) -> Confirmation {
        match self.written {
            Some(written) => Confirmation::Has(written.point(&self.uid)),
            None => Confirmation::Nothing(self.uid.clone()),
        }
    }

    fn answers(&self, reports: Vec<MessageId>) -> Vec<(MessageId, Confirmation)> {
        reports.into_iter().map(|id| (id, self.has())).collect()
    }
}

/// Whether a report that tells what changed after `base_rev` can be told to somebody who has `known`.
fn builds_on(epoch: u64, base_rev: u64, known: Option<Place>) -> bool {
    base_rev == 0 || known.is_some_and(|known| known.epoch == epoch && base_rev <= known.rev)
}

impl<K: Ord, V> Pending<K, V> {
    /// Both as one.
    fn followed_by(mut self, next: Self) -> Self {
        self.reports.extend(next.reports);
        self.place = next.place;
        if next.base_rev == 0 {
            (self.base_rev, self.changed) = (0, next.changed);
        } else {
            self.base_rev = self.base_rev.min(next.base_rev);
            self.changed.extend(next.changed);
        }
        self
    }
}

impl Place {
    fn of(point: &Point) -> Self {
        Self { epoch: point.epoch, rev: point.rev }
    }

    fn point(self, uid: &Uid) -> Point {
        Point { uid: uid.clone(), epoch: self.epoch, rev: self.rev }
    }
}
