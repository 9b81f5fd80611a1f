//! What happened to the twins, in order: a bounded ring that everybody reads at their own pace.
//!
//! The owner of the twins writes and never waits. A reader keeps its own place; one that is too slow is told
//! that it missed something and reads the twins anew. So a slow reader harms itself alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use device_model::{DataType, Device, DeviceId, DeviceState, Timestamp};
use device_twin::{Change, ChangeKind, PropertyChange, Refused, Rejected, Twin};
use dmi::trace::TraceId;
use tokio::sync::watch;

use crate::api::view::EventKind;

/// Property changes that the ring holds at most: some megabytes, and some seconds of a busy node.
const RING: usize = 4096;
/// Octets of texts and bytes that they hold beside that: of ordinary values far less.
const OCTETS: usize = 8 * 1024 * 1024;

/// Whose request an entry answers, as far as anybody on the event bus wants to know.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// Nobody's on the bus.
    Unasked,
    /// Nobody's on the bus, since there is none: a report that has a number in the logs.
    Report {
        /// The number.
        trace: TraceId,
    },
    /// Nobody's on the bus; the change has a number of its own in the logs of whoever asked.
    Wish {
        /// The number, where one was given.
        trace: Option<TraceId>,
    },
    /// Values that came in, over MQTT or DMI.
    Update {
        /// The client's own number of it; empty over DMI.
        event_id: String,
        /// What was said, property by property.
        touched: Vec<Touched>,
        /// Its number in the logs, where it has one.
        trace: Option<TraceId>,
    },
    /// A device's state that came in.
    State {
        /// The word as it came.
        word: String,
    },
    /// A question for one twin.
    Get {
        /// The client's own number of it.
        event_id: String,
    },
    /// A question for the devices of this node.
    Membership {
        /// The client's own number of it.
        event_id: String,
    },
}

impl Origin {
    /// Whether somebody on the bus waits for an answer.
    pub(crate) fn is_asked(&self) -> bool {
        !matches!(self, Self::Unasked | Self::Report { .. } | Self::Wish { .. })
    }

    /// The number of a report in the logs of whoever has a part in it.
    pub(crate) fn report(&self) -> Option<TraceId> {
        match self {
            Self::Report { trace } => Some(*trace),
            Self::Update { trace, .. } => *trace,
            _ => None,
        }
    }

    /// Octets of its texts.
    fn octets(&self) -> usize {
        match self {
            Self::Unasked | Self::Report { .. } | Self::Wish { .. } => 0,
            Self::Update { event_id, touched, .. } => {
                event_id.len() + touched.iter().map(Touched::octets).sum::<usize>()
            }
            Self::State { word: text }
            | Self::Get { event_id: text }
            | Self::Membership { event_id: text } => text.len(),
        }
    }
}

/// What an update said about one property.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Touched {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
    /// Whether it was reported, with a value or with none.
    pub(crate) reported: bool,
    /// The reported value as text.
    pub(crate) actual: Option<String>,
    /// The desired value as text.
    pub(crate) expected: Option<String>,
    /// Whether the wish was withdrawn.
    pub(crate) removed: bool,
}

impl Touched {
    /// Whether there is a value in it.
    pub(crate) fn says_something(&self) -> bool {
        self.actual.is_some() || self.expected.is_some()
    }

    fn octets(&self) -> usize {
        let sides = [&self.actual, &self.expected];
        self.name.len() + sides.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// A request that was refused: a number as in HTTP, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl From<&Rejected> for Refusal {
    fn from(rejected: &Rejected) -> Self {
        Self { code: crate::refuse::http_status(rejected), reason: rejected.to_string() }
    }
}

/// One request and what came of it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Number of its first event.
    pub(crate) first: u64,
    /// How many numbers it takes; at least one.
    pub(crate) events: u64,
    /// When it was done.
    pub(crate) at: Timestamp,
    /// The same by a clock that nobody can set.
    pub(crate) committed: Instant,
    /// The device that it concerns.
    pub(crate) device: Option<DeviceId>,
    pub(crate) origin: Origin,
    /// Why it was refused as a whole.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) changes: Vec<Change>,
    /// The state of each change's device after it.
    pub(crate) states: Vec<DeviceState>,
    /// The twin as it stands, where somebody may want to see more than the changes.
    pub(crate) twins: Vec<Twin>,
    /// The devices of this node, where somebody asked for them.
    pub(crate) members: Vec<Member>,
}

/// One device of this node.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) device: Arc<Device>,
    pub(crate) state: DeviceState,
    pub(crate) last_online: Option<Timestamp>,
}

/// Members that are as large as one property change.
const MEMBERS: usize = 16;

impl Entry {
    /// Number of its last event.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.events - 1
    }

    fn weight(&self) -> Weight {
        let changed: usize = self.changes.iter().map(|change| change.properties.len()).sum();
        let copied: usize = self.twins.iter().map(|twin| twin.properties().len()).sum();
        let properties = 1 + changed + copied + self.members.len() / MEMBERS;
        let refusal = self.refusal.as_ref().map_or(0, |refusal| refusal.reason.len());
        let changed: usize = self.changes.iter().map(Change::weight).sum();
        let copied: usize = self.twins.iter().map(Twin::weight).sum();
        Weight { properties, octets: self.origin.octets() + refusal + changed + copied }
    }
}

/// What an entry takes of the ring.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    /// Property changes, and what is as large as one.
    properties: usize,
    /// Octets of texts and bytes.
    octets: usize,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.properties += other.properties;
        self.octets += other.octets;
    }

    fn take(&mut self, other: Self) {
        self.properties -= other.properties;
        self.octets -= other.octets;
    }

    fn is_too_much(self) -> bool {
        self.properties > RING || self.octets > OCTETS
    }
}

/// The events that a change makes: what, and of which property.
pub(crate) fn events(
    change: &Change,
) -> impl Iterator<Item = (EventKind, Option<&PropertyChange>)> {
    let whole = match change.kind {
        ChangeKind::Added | ChangeKind::Described => Some(EventKind::Added),
        ChangeKind::Removed => Some(EventKind::Removed),
        ChangeKind::Updated => None,
    };
    let gone = change.kind == ChangeKind::Removed;
    let condition = change.condition.as_ref().filter(|_| !gone);
    let state = condition.filter(|(old, new)| (old.state, &old.reason) != (new.state, &new.reason));
    let problem = condition.filter(|(old, new)| old.problem != new.problem);
    let condition = [state.map(|_| EventKind::State), problem.map(|_| EventKind::Problem)];
    let whole = whole.into_iter().chain(condition.into_iter().flatten()).map(|kind| (kind, None));
    let properties = change.properties.iter().filter(move |_| !gone).flat_map(|property| {
        let kinds = [
            (property.desired_changed(), EventKind::Desired),
            (property.ack_changed(), EventKind::Ack),
            (property.reported_changed(), EventKind::Reported),
        ];
        kinds
            .into_iter()
            .filter(|(happened, _)| *happened)
            .map(move |(_, kind)| (kind, Some(property)))
    });
    whole.chain(properties)
}

/// A reader was too slow: what it has not read is overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed;

/// The ring.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    weight: Weight,
    next: u64,
}

impl Feed {
    /// An empty ring. Its numbers are those behind `start`.
    pub(crate) fn new(start: u64) -> Self {
        let ring = Ring { entries: VecDeque::new(), weight: Weight::default(), next: start + 1 };
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(start) }
    }

    /// Appends entries, giving them their numbers, and wakes the readers once.
    pub(crate) fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for mut entry in entries {
            let events: usize = entry.changes.iter().map(|change| events(change).count()).sum();
            entry.first = ring.next;
            entry.events = u64::try_from(events).unwrap_or(u64::MAX).max(1);
            ring.next = entry.last() + 1;
            ring.weight.add(entry.weight());
            ring.entries.push_back(Arc::new(entry));
        }
        // The newest stays, however large it is.
        while ring.weight.is_too_much() && ring.entries.len() > 1 {
            let Some(oldest) = ring.entries.pop_front() else { break };
            ring.weight.take(oldest.weight());
        }
        let newest = ring.next - 1;
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Number of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Wakes with each new number.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// At most `most` entries that hold events after number `id`.
    ///
    /// # Errors
    /// Some of them are overwritten already, or `id` was never given.
    pub(crate) fn after(&self, id: u64, most: usize) -> Result<Vec<Arc<Entry>>, Missed> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring.entries.front().map_or(ring.next, |entry| entry.first);
        if id + 1 < oldest || id >= ring.next {
            return Err(Missed);
        }
        let start = ring.entries.partition_point(|entry| entry.last() <= id);
        Ok(ring.entries.iter().skip(start).take(most).cloned().collect())
    }
}

impl Entry {
    /// An entry without number, changes or answer yet.
    pub(crate) fn new(device: Option<DeviceId>, origin: Origin, at: Timestamp) -> Self {
        Self {
            first: 0,
            events: 0,
            at,
            committed: Instant::now(),
            device,
            origin,
            refusal: None,
            changes: Vec::new(),
            states: Vec::new(),
            twins: Vec::new(),
            members: Vec::new(),
        }
    }

    /// What was refused of a report was not said: nobody shall take it for true. Where nothing is left, it was
    /// refused.
    pub(crate) fn leave_out(&mut self, refused: &[Refused]) {
        let Origin::Update { touched, .. } = &mut self.origin else { return };
        let Some(first) = refused.first() else { return };
        touched.retain(|one| refused.iter().all(|refused| refused.property != one.name));
        if touched.is_empty() {
            self.refusal = Some(Refusal::from(&first.reason));
        }
    }

    /// The same, refused.
    pub(crate) fn refused(mut self, code: u16, reason: impl Into<String>) -> Self {
        self.refusal = Some(Refusal { code, reason: reason.into() });
        self
    }
}

#[cfg(test)]
mod tests {
    use device_model::Value;
    use device_twin::{
        Command, Desire, Given, GivenReading, Limits, MemoryStore, PropertyReport, Update, Writer,
    };

    use super::*;
    use crate::clock::now;
    use crate::twins::tests::{pump, pumps};

    fn entry() -> Entry {
        Entry::new(None, Origin::Unasked, Timestamp::from_millis(0))
    }

    #[test]
    fn a_reader_gets_each_entry_once_and_in_order() {
        let feed = Feed::new(1000);
        let start = feed.newest();
        feed.push((0..10).map(|_| entry()));
        let read = feed.after(start, 4).unwrap();
        assert_eq!(read.iter().map(|entry| entry.first - start).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let rest = feed.after(read[3].last(), 100).unwrap();
        assert_eq!(rest.len(), 6);
        assert_eq!(rest[5].last(), feed.newest());
        assert!(feed.after(feed.newest(), 1).unwrap().is_empty());
    }

    #[test]
    fn a_slow_reader_is_told_that_it_missed_something() {
        let feed = Feed::new(1000);
        let start = feed.newest();
        feed.push((0..RING + 10).map(|_| entry()));
        assert_eq!(feed.after(start, 1).unwrap_err(), Missed);
        assert_eq!(feed.after(feed.newest() + 1, 1).unwrap_err(), Missed, "from another run");
        assert_eq!(feed.after(feed.newest() - 5, 100).unwrap().len(), 5);
    }

    /// An app says that a pump has this text.
    fn says(text: &str) -> (Command, Origin) {
        let mut report = PropertyReport::of("note");
        report.reading = Some(GivenReading {
            value: Some(Given::Text(text.into())),
            quality: device_model::Quality::Good,
            code: device_model::QualityCode::Ok,
            source_time: None,
            sample_time: now(),
        });
        let (device, writer) = (pump(0).id.clone(), Writer::local("mqtt"));
        let update = Update { device, writer, reported: vec![report], desired: Vec::new() };
        let touched = Touched {
            name: "note".into(),
            data_type: DataType::String,
            reported: true,
            actual: Some(text.into()),
            expected: None,
            removed: false,
        };
        let touched = vec![touched];
        (Command::Update(update), Origin::Update { event_id: String::new(), touched, trace: None })
    }

    #[tokio::test]
    async fn the_largest_values_take_no_more_than_their_bound() {
        let (twins, _owner) = pumps(Box::new(MemoryStore::new())).await;
        let text = |letter: &str| letter.repeat(Limits::default().value);
        // Unanswered, it brings the whole twin into each entry.
        let wish = Desire::of(pump(0).id.clone(), Writer::local("api"));
        let wish = Command::Desire(wish.with("note", Value::String(text("w"))));
        twins.apply(vec![wish], Origin::Unasked).await.unwrap()[0].as_ref().unwrap();
        let feed = twins.feed();
        let start = feed.newest();
        for number in 0..40 {
            let (command, origin) = says(&text(if number % 2 == 0 { "a" } else { "b" }));
            twins.apply(vec![command], origin).await.unwrap()[0].as_ref().unwrap();
            let ring = feed.ring.lock().unwrap();
            // What it holds, by other means than its own.
            let held: usize = ring.entries.iter().map(|entry| format!("{entry:?}").len()).sum();
            assert!(held < OCTETS + 256 * 1024, "{held} octets in {}", ring.entries.len());
        }
        assert_eq!(feed.after(start, 1).unwrap_err(), Missed);
        let kept = feed.after(feed.newest() - 5, 100).unwrap();
        assert_eq!(kept.len(), 5, "a reader that keeps up gets all");
        assert!(kept.iter().all(|entry| entry.twins.len() == 1 && entry.changes.len() == 1));

        // Small ones take its place, and everything is given back.
        feed.push((0..RING).map(|_| self::entry()));
        assert_eq!(feed.after(feed.newest() - 4000, 4000).unwrap().len(), 4000);
        assert_eq!(feed.ring.lock().unwrap().weight.octets, 0);
    }

    #[test]
    fn long_words_of_whoever_asks_count_too() {
        let feed = Feed::new(1000);
        let start = feed.newest();
        let event_id = "e".repeat(OCTETS / 10);
        feed.push(
            (0..20).map(|_| {
                Entry::new(None, Origin::Membership { event_id: event_id.clone() }, now())
            }),
        );
        assert_eq!(feed.after(start, 1).unwrap_err(), Missed);
        assert_eq!(feed.after(feed.newest() - 10, 100).unwrap().len(), 10);
        let reason = "r".repeat(OCTETS + 1);
        feed.push([entry().refused(400, reason)]);
        assert_eq!(feed.after(feed.newest() - 1, 100).unwrap().len(), 1, "the newest stays");
    }
}
