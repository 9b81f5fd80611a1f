//! For how long a broker has not taken what is committed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a broker is still to be told, by age. Whoever publishes and whoever hears the broker's acknowledgements write
/// it, whoever asks for the metrics reads it.
#[derive(Debug, Default)]
pub(crate) struct Owed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the oldest was committed of what is not published, or was published over a connection that is gone.
    since: Option<Instant>,
    /// How many messages the broker must have taken, and when the oldest of what these tell was committed.
    marks: VecDeque<(u64, Instant)>,
    taken: u64,
}

impl Owed {
    /// Something that was committed `at` is to be told.
    pub(crate) fn waits(&self, at: Instant) {
        self.state().since.get_or_insert(at);
    }

    /// Whether something is to be told that is not published.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state().since.is_some()
    }

    /// All that waited is published; with it so many messages are over this connection.
    pub(crate) fn published(&self, count: u64) {
        let mut state = self.state();
        let Some(at) = state.since.take() else { return };
        let last = state.marks.back().map_or(state.taken, |(last, _)| *last);
        if count > last {
            state.marks.push_back((count, at));
        }
    }

    /// The broker took so many messages over this connection.
    pub(crate) fn taken(&self, count: u64) {
        let mut state = self.state();
        state.taken = count;
        while state.marks.front().is_some_and(|(number, _)| *number <= count) {
            state.marks.pop_front();
        }
    }

    /// The connection is gone: what was not taken for sure is to be told again.
    pub(crate) fn lost(&self) {
        let mut state = self.state();
        state.since = oldest(&state);
        state.marks.clear();
        state.taken = 0;
    }

    /// When the oldest was committed of what the broker has not taken.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        oldest(&self.state())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn oldest(state: &State) -> Option<Instant> {
    state.marks.front().map(|(_, at)| *at).into_iter().chain(state.since).min()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use super::*;

    /// Seconds after one moment.
    fn at(seconds: u64) -> Instant {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        *START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_value_is_owed_until_the_broker_took_the_last_message_about_it() {
        let owed = Owed::default();
        for (time, count) in [(1, 2), (2, 4)] {
            owed.waits(at(time));
            owed.published(count);
        }
        assert_eq!(owed.oldest(), Some(at(1)));
        owed.taken(1);
        assert_eq!(owed.oldest(), Some(at(1)));
        owed.taken(3);
        assert_eq!(owed.oldest(), Some(at(2)));
        owed.taken(4);
        assert_eq!(owed.oldest(), None);
        owed.waits(at(3));
        owed.published(4);
        assert_eq!(owed.oldest(), None, "no message told of it");
    }

    #[test]
    fn what_a_lost_connection_perhaps_did_not_bring_home_is_as_old_as_it_was() {
        let owed = Owed::default();
        owed.waits(at(1));
        owed.published(2);
        owed.waits(at(2));
        owed.lost();
        owed.waits(at(3));
        assert_eq!((owed.oldest(), owed.is_waiting()), (Some(at(1)), true));
        owed.published(1);
        assert_eq!((owed.oldest(), owed.is_waiting()), (Some(at(1)), false));
        owed.taken(1);
        assert_eq!(owed.oldest(), None);
    }
}
