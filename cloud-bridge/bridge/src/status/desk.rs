//! Whose turn it is to write: each device at most so often, all together at most so many a second, in the order in which
//! they asked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use device_model::DeviceId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often DeviceStatuses are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DeskSettings {
    /// The shortest span between two writes of one device.
    pub(crate) per_device: Duration,
    /// Writes a second, over all devices.
    pub(crate) rate: f64,
    /// So many may be written at once after a rest.
    pub(crate) burst: f64,
}

impl Default for DeskSettings {
    fn default() -> Self {
        Self { per_device: Duration::from_secs(1), rate: 100.0, burst: 100.0 }
    }
}

/// The order of turns. Times are since any moment, by a clock that nobody sets.
#[derive(Debug)]
struct Desk<K> {
    settings: DeskSettings,
    tokens: f64,
    filled_at: Duration,
    /// Asked, by when its turn may come and then by when it asked.
    waiting: BTreeMap<(Duration, u64), K>,
    places: HashMap<K, (Duration, u64)>,
    asked: u64,
    /// Turns of the last [`DeskSettings::per_device`], oldest first.
    turns: VecDeque<(Duration, K)>,
    last: HashMap<K, Duration>,
}

impl<K: Clone + Eq + std::hash::Hash> Desk<K> {
    /// A desk at which nobody waits.
    fn new(settings: DeskSettings) -> Self {
        Self {
            settings,
            tokens: settings.burst.max(1.0),
            filled_at: Duration::ZERO,
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            asked: 0,
            turns: VecDeque::new(),
            last: HashMap::new(),
        }
    }

    /// `key` wants a turn; whoever waits already keeps its place.
    fn ask(&mut self, now: Duration, key: K) {
        if self.places.contains_key(&key) {
            return;
        }
        let free = self.last.get(&key).map_or(now, |last| *last + self.settings.per_device);
        self.asked += 1;
        let place = (free.max(now), self.asked);
        self.places.insert(key.clone(), place);
        self.waiting.insert(place, key);
    }

    /// Whose turn it is now, if anybody's.
    fn next(&mut self, now: Duration) -> Option<K> {
        self.fill(now);
        let (&(free, _), _) = self.waiting.first_key_value()?;
        if free > now || self.tokens < 1.0 {
            return None;
        }
        let (_, key) = self.waiting.pop_first()?;
        self.tokens -= 1.0;
        self.places.remove(&key);
        self.last.insert(key.clone(), now);
        self.turns.push_back((now, key.clone()));
        Some(key)
    }

    /// When [`Desk::next`] will have somebody, if nobody else asks.
    fn due(&self) -> Option<Duration> {
        let (&(free, _), _) = self.waiting.first_key_value()?;
        let missing = (1.0 - self.tokens).max(0.0);
        let filled =
            self.filled_at + Duration::from_secs_f64(missing / self.settings.rate.max(0.001));
        Some(free.max(filled))
    }

    fn fill(&mut self, now: Duration) {
        let span = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + span * self.settings.rate).min(self.settings.burst.max(1.0));
        self.filled_at = now;
        while let Some((turn, _)) = self.turns.front()
            && *turn + self.settings.per_device <= now
        {
            let Some((turn, key)) = self.turns.pop_front() else { break };
            if self.last.get(&key) == Some(&turn) {
                self.last.remove(&key);
            }
        }
    }
}

/// Asks for turns. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Turns(mpsc::Sender<Wish>);

#[derive(Debug)]
struct Wish {
    device: DeviceId,
    /// Where it is told that its turn has come.
    tell: mpsc::Sender<DeviceId>,
}

/// Wishes that wait for the task; whoever asks for one more waits.
const QUEUE: usize = 1024;

impl Turns {
    /// The way to a desk, and the task that gives the turns until `stop`.
    pub(crate) fn new(
        settings: DeskSettings,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (ask, asked) = mpsc::channel(QUEUE);
        (Self(ask), give_turns(settings, asked, stop))
    }

    /// `device` wants a turn: `tell` is sent its name.
    pub(crate) async fn ask(&self, device: DeviceId, tell: mpsc::Sender<DeviceId>) {
        // Without the task the bridge is stopping.
        let _ = self.0.send(Wish { device, tell }).await;
    }
}

async fn give_turns(
    settings: DeskSettings,
    mut asked: mpsc::Receiver<Wish>,
    stop: CancellationToken,
) {
    let begin = Instant::now();
    let mut desk = Desk::new(settings);
    let mut tells: HashMap<DeviceId, mpsc::Sender<DeviceId>> = HashMap::new();
    loop {
        while let Some(device) = desk.next(begin.elapsed()) {
            let Some(tell) = tells.remove(&device) else { continue };
            match tell.try_send(device) {
                // Its session is busy: it has the next turn.
                Err(mpsc::error::TrySendError::Full(device)) => {
                    desk.ask(begin.elapsed(), device.clone());
                    tells.insert(device, tell);
                }
                // Whoever asked may have left; a node that is connected again asks anew.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        let due = desk.due().map(|due| begin + due);
        tokio::select! {
            () = stop.cancelled() => return,
            wish = asked.recv() => {
                let Some(Wish { device, tell }) = wish else { return };
                desk.ask(begin.elapsed(), device.clone());
                tells.insert(device, tell);
            }
            () = sleep_until(due.unwrap_or(begin)), if due.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_device_has_a_turn_at_once_and_the_next_one_a_second_later() {
        let mut desk = Desk::new(DeskSettings::default());
        desk.ask(at(10), "a");
        assert_eq!(desk.next(at(10)), Some("a"));
        desk.ask(at(20), "a");
        desk.ask(at(30), "a");
        assert_eq!((desk.next(at(500)), desk.due()), (None, Some(at(1010))));
        assert_eq!((desk.next(at(1010)), desk.next(at(1010))), (Some("a"), None));
    }

    #[test]
    fn beyond_the_rate_turns_come_in_the_order_in_which_they_were_asked_for() {
        let settings = DeskSettings { rate: 10.0, burst: 2.0, ..DeskSettings::default() };
        let mut desk = Desk::new(settings);
        for key in 0..4 {
            desk.ask(at(0), key);
        }
        assert_eq!(
            [desk.next(at(0)), desk.next(at(0)), desk.next(at(0))],
            [Some(0), Some(1), None]
        );
        assert_eq!(desk.due(), Some(at(100)));
        assert_eq!([desk.next(at(100)), desk.next(at(100))], [Some(2), None]);
    }

    proptest! {
        #[test]
        fn no_device_is_written_more_often_than_it_may_nor_all_together(
            steps in proptest::collection::vec((0_u64..400, 0_u8..6), 1..300),
        ) {
            let settings = DeskSettings { rate: 5.0, burst: 3.0, per_device: at(1000) };
            let mut desk = Desk::new(settings);
            let (mut now, mut turns) = (at(0), Vec::new());
            for (span, key) in steps {
                now += at(span);
                desk.ask(now, key);
                while let Some(key) = desk.next(now) {
                    turns.push((now, key));
                }
            }
            // What was asked for comes, too.
            while let Some(due) = desk.due() {
                now = due.max(now) + at(1);
                while let Some(key) = desk.next(now) {
                    turns.push((now, key));
                }
            }
            prop_assert!(desk.waiting.is_empty());
            for (i, (turn, key)) in turns.iter().enumerate() {
                let next = turns[i + 1..].iter().find(|(_, other)| other == key);
                prop_assert!(next.is_none_or(|(next, _)| *next >= *turn + at(1000)));
                let within = turns[i..].iter().take_while(|(next, _)| *next < *turn + at(1000));
                prop_assert!(within.count() <= 8);
            }
        }
    }
}
