//! Who subscribed to what, as the broker's events tell it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Sessions without a connection whose subscriptions are known, at most.
const LEFT_SESSIONS: usize = 1000;

/// Who subscribed to what. A session that outlives its connection keeps its subscriptions for its time, as it does
/// in the broker. Where the two differ in number, [`Broker::wanted`](super::Broker::wanted) says yes.
#[derive(Default)]
pub(super) struct Filters {
    clients: HashMap<Arc<str>, Session>,
    pub(super) counts: HashMap<Arc<str>, usize>,
    /// Whether a session was forgotten that the broker may have still.
    pub(super) incomplete: bool,
}

#[derive(Default)]
struct Session {
    /// Two for a moment, when a client comes back before its old connection is noticed to be gone.
    connections: usize,
    /// How long it outlives the last of them.
    life: Duration,
    /// When it ends, if nobody is connected.
    ends_at: Option<Instant>,
    filters: BTreeSet<Arc<str>>,
}

impl Filters {
    pub(super) fn connect(&mut self, client: &Arc<str>, life: Duration, clean: bool) {
        let session = self.clients.entry(client.clone()).or_default();
        session.connections += 1;
        (session.life, session.ends_at) = (life, None);
        if clean {
            let filters = std::mem::take(&mut session.filters);
            self.uncount(filters);
        }
    }

    pub(super) fn add(&mut self, client: &Arc<str>, filter: &str) {
        let filter: Arc<str> = mqtt5::strip_shared_subscription_prefix(filter).into();
        let session = self.clients.entry(client.clone()).or_default();
        if session.filters.insert(filter.clone()) {
            *self.counts.entry(filter).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, client: &Arc<str>, filter: &str) {
        let filter = mqtt5::strip_shared_subscription_prefix(filter);
        let held = self.clients.get_mut(client).and_then(|session| session.filters.take(filter));
        self.uncount(held);
    }

    pub(super) fn disconnect(&mut self, client: &Arc<str>, now: Instant) {
        let Some(session) = self.clients.get_mut(client) else { return };
        session.connections = session.connections.saturating_sub(1);
        if session.connections > 0 {
            return;
        }
        if session.life.is_zero() || session.filters.is_empty() {
            return self.forget(client);
        }
        session.ends_at = Some(now + session.life);
        let left = self.clients.iter().filter_map(|(client, left)| Some((left.ends_at?, client)));
        if left.clone().count() > LEFT_SESSIONS
            && let Some((_, first)) = left.min()
        {
            let first = first.clone();
            self.forget(&first);
            self.incomplete = true;
        }
    }

    /// Forgets the sessions whose time is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = |session: &Session| session.ends_at.is_some_and(|end| end <= now);
        let ended = self.clients.extract_if(|_, session| over(session));
        let filters: Vec<_> = ended.flat_map(|(_, session)| session.filters).collect();
        self.uncount(filters);
    }

    fn forget(&mut self, client: &Arc<str>) {
        if let Some(session) = self.clients.remove(client) {
            self.uncount(session.filters);
        }
    }

    fn uncount(&mut self, filters: impl IntoIterator<Item = Arc<str>>) {
        for filter in filters {
            if let Some(count) = self.counts.get_mut(&filter) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&filter);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn filters(client: &str, life: Duration) -> (Filters, Arc<str>) {
        let (mut filters, client) = (Filters::default(), Arc::from(client));
        filters.connect(&client, life, true);
        filters.add(&client, "$hw/#");
        (filters, client)
    }

    #[tokio::test]
    async fn a_lasting_session_keeps_its_filters_and_a_clean_one_does_not() {
        let now = Instant::now();
        let (mut filters, a) = filters("a", Duration::ZERO);
        let b: Arc<str> = "b".into();
        filters.connect(&b, DAY, false);
        filters.add(&b, "$share/g/$hw/#");
        filters.disconnect(&a, now);
        assert_eq!(filters.counts.len(), 1);
        filters.disconnect(&b, now);
        assert_eq!(filters.counts.len(), 1, "b comes back for its messages");
        filters.connect(&b, DAY, true);
        assert!(filters.counts.is_empty());
    }

    #[tokio::test]
    async fn a_lasting_session_is_forgotten_after_its_time() {
        let now = Instant::now();
        let (mut filters, client) = filters("a", DAY);
        filters.disconnect(&client, now);
        filters.sweep(now + DAY - Duration::from_secs(1));
        assert_eq!(filters.counts.len(), 1);
        filters.connect(&client, DAY, false);
        filters.sweep(now + 2 * DAY);
        assert_eq!(filters.counts.len(), 1, "it is connected");
        filters.disconnect(&client, now + 2 * DAY);
        filters.sweep(now + 3 * DAY);
        assert!(filters.counts.is_empty() && filters.clients.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_came_back_before_its_old_connection_went_is_connected() {
        let now = Instant::now();
        let (mut filters, client) = filters("a", Duration::ZERO);
        filters.connect(&client, Duration::ZERO, true);
        filters.add(&client, "$hw/#");
        filters.disconnect(&client, now);
        assert_eq!(filters.counts.len(), 1);
        filters.disconnect(&client, now);
        assert!(filters.counts.is_empty() && filters.clients.is_empty());
    }

    #[tokio::test]
    async fn clients_of_many_names_do_not_fill_the_memory() {
        let (mut filters, now) = (Filters::default(), Instant::now());
        for number in 0..u32::try_from(LEFT_SESSIONS).unwrap() + 10 {
            let client: Arc<str> = format!("client-{number}").into();
            filters.connect(&client, DAY, false);
            if number % 2 == 0 {
                filters.add(&client, &format!("$hw/{number}"));
            }
            filters.disconnect(&client, now + Duration::from_secs(number.into()));
        }
        assert_eq!(filters.clients.len(), LEFT_SESSIONS / 2 + 5, "those that wait for something");
        for number in 0..u32::try_from(LEFT_SESSIONS).unwrap() {
            let client: Arc<str> = format!("late-{number}").into();
            filters.connect(&client, DAY, false);
            filters.add(&client, &format!("$late/{number}"));
            filters.disconnect(&client, now + DAY);
        }
        assert_eq!((filters.clients.len(), filters.counts.len()), (LEFT_SESSIONS, LEFT_SESSIONS));
        assert!(!filters.clients.keys().any(|client| client.starts_with("client")), "oldest first");
        assert!(filters.incomplete, "somebody may wait for anything");
    }
}
