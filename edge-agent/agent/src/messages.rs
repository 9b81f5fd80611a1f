//! Messages of applications that somebody subscribed to: a bounded ring that everybody reads at their own pace.
//!
//! Who brings a message never waits, and none is so large that it costs more than its place here. A reader that is too
//! slow is told how many it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use device_model::Timestamp;
use tokio::sync::watch;

use crate::api::view::BrokerName;

/// Messages that are kept at most.
pub(crate) const MOST: usize = 1024;
/// Octets of all that is kept.
pub(crate) const OCTETS: usize = 4 * 1024 * 1024;
/// Octets of the largest payload that is kept; of a larger one only how large it was.
pub(crate) const LARGEST: usize = 256 * 1024;
/// What a message takes beside its texts, about.
const FRAME: usize = 128;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its number, one more than that of the message before it.
    pub(crate) id: u64,
    /// When it came.
    pub(crate) at: Timestamp,
    pub(crate) topic: Box<str>,
    /// At which broker.
    pub(crate) broker: BrokerName,
    /// Whether the broker had kept it from some time before.
    pub(crate) retained: bool,
    /// Octets of its payload.
    pub(crate) octets: usize,
    /// The payload; none of one that was too large.
    pub(crate) payload: Option<Bytes>,
}

impl Message {
    fn weight(&self) -> usize {
        FRAME + self.topic.len() + self.payload.as_ref().map_or(0, Bytes::len)
    }
}

/// A message as a broker has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard<'a> {
    pub(crate) broker: BrokerName,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) retained: bool,
}

/// What a reader wants is not kept, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// How many messages; none where nobody knows, since they were another run's.
    pub(crate) count: Option<u64>,
    /// The number behind which it goes on.
    pub(crate) resume: u64,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Messages {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Ring {
    messages: VecDeque<Arc<Message>>,
    weight: usize,
    /// Number before the first of this run.
    start: u64,
    next: u64,
}

impl Ring {
    /// Number before the oldest.
    fn before(&self) -> u64 {
        self.messages.front().map_or(self.next, |first| first.id) - 1
    }
}

impl Messages {
    /// An empty ring. Its numbers are those behind `start`.
    pub(crate) fn new(start: u64) -> Self {
        let ring = Ring { messages: VecDeque::new(), weight: 0, start, next: start + 1 };
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(start) }
    }

    /// Appends a message; the oldest go where there are too many.
    pub(crate) fn push(&self, heard: Heard<'_>, at: Timestamp) {
        let Heard { broker, topic, payload, retained } = heard;
        let octets = payload.len();
        // A copy: what is kept shall not hold a larger buffer of its broker.
        let kept = (octets <= LARGEST).then(|| Bytes::copy_from_slice(payload));
        let mut ring = self.ring();
        let id = ring.next;
        let message =
            Message { id, at, topic: topic.into(), broker, retained, octets, payload: kept };
        ring.next += 1;
        ring.weight += message.weight();
        ring.messages.push_back(Arc::new(message));
        while ring.weight > OCTETS || ring.messages.len() > MOST {
            let Some(oldest) = ring.messages.pop_front() else { break };
            ring.weight -= oldest.weight();
        }
        drop(ring);
        self.newest.send_replace(id);
    }

    /// Number of the newest message.
    pub(crate) fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Number before the oldest message that is kept.
    pub(crate) fn before(&self) -> u64 {
        self.ring().before()
    }

    /// Wakes with each new number.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The message behind number `id`, if it is there yet.
    ///
    /// # Errors
    /// It went already, or `id` is not of this run.
    pub(crate) fn after(&self, id: u64) -> Result<Option<Arc<Message>>, Missed> {
        let ring = self.ring();
        let before = ring.before();
        if id < ring.start || id >= ring.next {
            return Err(Missed { count: None, resume: before });
        }
        if id < before {
            return Err(Missed { count: Some(before - id), resume: before });
        }
        let place = usize::try_from(id - before).unwrap_or(usize::MAX);
        Ok(ring.messages.get(place).cloned())
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_262_400_000);
    const START: u64 = 1000;

    fn push(messages: &Messages, payload: &[u8]) {
        let heard = Heard { broker: BrokerName::Embedded, topic: "a/b", payload, retained: false };
        messages.push(heard, NOW);
    }

    #[test]
    fn a_reader_gets_each_message_once_and_in_order() {
        let messages = Messages::new(START);
        let start = messages.newest();
        assert_eq!(messages.after(start), Ok(None));
        for number in 0..3u8 {
            push(&messages, &[number]);
        }
        let mut place = start;
        for number in 0..3u8 {
            let message = messages.after(place).unwrap().unwrap();
            assert_eq!((message.id, message.payload.as_deref()), (place + 1, Some(&[number][..])));
            place = message.id;
        }
        assert_eq!((messages.after(place), messages.newest()), (Ok(None), place));
    }

    #[test]
    fn a_slow_reader_is_told_how_many_it_missed() {
        let messages = Messages::new(START);
        let start = messages.newest();
        for _ in 0..MOST + 10 {
            push(&messages, b"x");
        }
        let missed = messages.after(start + 2).unwrap_err();
        assert_eq!(missed, Missed { count: Some(8), resume: start + 10 });
        assert_eq!(messages.after(missed.resume).unwrap().unwrap().id, start + 11);
        assert_eq!(messages.before(), missed.resume);
        for other in [0, start - 1, messages.newest() + 1] {
            let missed = messages.after(other).unwrap_err();
            assert_eq!(missed, Missed { count: None, resume: start + 10 }, "from another run");
        }
    }

    #[test]
    fn large_messages_take_no_more_than_their_bound() {
        let messages = Messages::new(START);
        let start = messages.newest();
        for _ in 0..100 {
            push(&messages, &vec![b'x'; LARGEST]);
        }
        let missed = messages.after(start).unwrap_err();
        let left = messages.newest() - missed.resume;
        assert!((10..=16).contains(&left), "{left} of {LARGEST} octets");
        push(&messages, &vec![b'x'; LARGEST + 1]);
        let huge = messages.after(messages.newest() - 1).unwrap().unwrap();
        assert_eq!((huge.octets, &huge.payload), (LARGEST + 1, &None));
        assert!(messages.ring().weight <= OCTETS);
    }
}
