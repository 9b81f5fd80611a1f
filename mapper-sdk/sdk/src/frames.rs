//! The frames of a wire, for whoever watches: a driver shows them to its [`FrameTap`], which is deaf until then.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dmi::frames::{Direction, Frame};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::time;
use crate::schedule::Seat;

/// Frames that wait for a slow reader; those that come then are lost, and counted.
const WAITING: usize = 256;
/// So many may watch one wire.
const WATCHERS: usize = 8;

/// Where a session shows each frame that goes over its wire. Costs one look at a number while nobody watches. Cheap
/// to clone.
#[derive(Clone, Debug, Default)]
pub struct FrameTap(Arc<Tap>);

#[derive(Debug, Default)]
struct Tap {
    /// How many watch.
    count: AtomicUsize,
    /// Whose turn it is on the wire.
    turn: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watchers: Vec<Watcher>,
    sent: Option<Instant>,
}

#[derive(Debug)]
struct Watcher {
    seat: Seat,
    frames: mpsc::Sender<Frame>,
    lost: u64,
}

/// So many watch a wire that nobody else can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

impl FrameTap {
    /// A frame goes to the device.
    pub fn sent(&self, octets: &[u8]) {
        if self.is_watched() {
            self.show(Direction::Sent, octets);
        }
    }

    /// The answer that was waited for came.
    pub fn received(&self, octets: &[u8]) {
        if self.is_watched() {
            self.show(Direction::Received, octets);
        }
    }

    /// Something came that nobody waited for, or that is no frame.
    pub fn discarded(&self, octets: &[u8]) {
        if self.is_watched() && !octets.is_empty() {
            self.show(Direction::Discarded, octets);
        }
    }

    /// What goes over the wire from now on is about this device.
    pub(crate) fn turn(&self, seat: Seat) {
        self.0.turn.store(seat.0, Ordering::Relaxed);
    }

    /// The frames of a device from now on, until it leaves the wire.
    pub(crate) fn watch(&self, seat: Seat) -> Result<mpsc::Receiver<Frame>, Crowded> {
        let mut state = self.state();
        state.watchers.retain(|watcher| !watcher.frames.is_closed());
        if state.watchers.len() >= WATCHERS {
            return Err(Crowded);
        }
        let (frames, reader) = mpsc::channel(WAITING);
        state.watchers.push(Watcher { seat, frames, lost: 0 });
        self.count(&state);
        Ok(reader)
    }

    /// The device is not on the wire any more.
    pub(crate) fn leave(&self, seat: Seat) {
        let mut state = self.state();
        state.watchers.retain(|watcher| watcher.seat != seat);
        self.count(&state);
    }

    fn is_watched(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) > 0
    }

    fn show(&self, direction: Direction, octets: &[u8]) {
        let turn = Seat(self.0.turn.load(Ordering::Relaxed));
        let mut state = self.state();
        let after = match direction {
            Direction::Sent => {
                state.sent = Some(Instant::now());
                None
            }
            _ => state.sent.map(|sent| sent.elapsed()),
        };
        for watcher in state.watchers.iter_mut().filter(|watcher| watcher.seat == turn) {
            watcher.tell(direction, after, octets);
        }
        state.watchers.retain(|watcher| !watcher.frames.is_closed());
        self.count(&state);
    }

    fn count(&self, state: &State) {
        self.0.count.store(state.watchers.len(), Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    fn tell(&mut self, direction: Direction, after: Option<Duration>, octets: &[u8]) {
        let frame =
            Frame { time: time(), direction, after, octets: octets.to_vec(), lost: self.lost };
        match self.frames.try_send(frame) {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_watches_a_device_sees_its_frames_alone_and_what_they_took() {
        let tap = FrameTap::default();
        tap.sent(&[9]);
        let mut reader = tap.watch(Seat(1)).unwrap();
        tap.turn(Seat(1));
        tap.received(&[8]);
        tap.sent(&[1, 2]);
        tokio::time::advance(Duration::from_millis(7)).await;
        tap.received(&[3]);
        tap.turn(Seat(2));
        tap.sent(&[4]);
        let mut seen = Vec::new();
        while let Ok(frame) = reader.try_recv() {
            seen.push((frame.direction, frame.octets, frame.after));
        }
        let took = Some(Duration::from_millis(7));
        assert_eq!(
            seen,
            [
                (Direction::Received, vec![8], None),
                (Direction::Sent, vec![1, 2], None),
                (Direction::Received, vec![3], took)
            ]
        );
        tap.leave(Seat(1));
        assert!(reader.recv().await.is_none());
        assert!(!tap.is_watched());
    }

    #[test]
    fn a_slow_reader_loses_frames_and_is_told_how_many() {
        let tap = FrameTap::default();
        tap.turn(Seat(1));
        let mut reader = tap.watch(Seat(1)).unwrap();
        for _ in 0..WAITING + 3 {
            tap.sent(&[1]);
        }
        assert_eq!(reader.try_recv().unwrap().lost, 0);
        tap.sent(&[2]);
        tap.sent(&[3]);
        let rest: Vec<_> = std::iter::from_fn(|| reader.try_recv().ok()).collect();
        assert_eq!(rest.len(), WAITING);
        let last = rest.last().unwrap();
        assert_eq!((last.octets.as_slice(), last.lost), (&[2][..], 3));
        drop(reader);
        tap.sent(&[4]);
        assert!(!tap.is_watched(), "who left costs nothing");
    }

    #[test]
    fn a_wire_has_room_for_some_watchers() {
        let tap = FrameTap::default();
        let readers: Vec<_> = (0..WATCHERS).map(|_| tap.watch(Seat(1)).unwrap()).collect();
        assert_eq!(tap.watch(Seat(2)).unwrap_err(), Crowded);
        drop(readers);
        assert!(tap.watch(Seat(2)).is_ok());
    }
}
