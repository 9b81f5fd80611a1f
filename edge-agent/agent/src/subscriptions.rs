//! What somebody wants to hear of the topics of applications: kept in the store, matched with each of their messages.
//!
//! One task, the [`Keeper`], changes what is wanted: first in the store, then here. The brokers read it from here. What
//! is over is remembered as removed until the broker outside, which keeps the session, has been told.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device_twin::Writer;
use device_twin::store::{MOST_SUBSCRIPTIONS, Object, Subscription, TopicFilter};
use mqtt5::topic_matches_filter;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::api::view::SubscriptionState;
use crate::clock::now;
use crate::config::MqttMode;
use crate::messages::{Heard, LARGEST, Messages};
use crate::metrics::Metrics;
use crate::twins::{Twins, Unavailable};

/// Orders that wait for the store.
const QUEUE: usize = 16;

/// Those that are over and of which the broker outside is still to be told, at most; beyond them nothing new is taken.
pub(crate) const MOST_ENDED: usize = 4 * MOST_SUBSCRIPTIONS;

/// All of them, by filter.
pub(crate) type Table = BTreeMap<TopicFilter, Entry>;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) subscription: Subscription,
    /// One more with each that is added: a filter that was ended and added again is another subscription.
    pub(crate) number: u64,
    /// Messages that came since the agent started.
    pub(crate) heard: Arc<AtomicU64>,
}

/// A subscription as the broker outside is told of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) filter: TopicFilter,
    /// That of the entry.
    pub(crate) number: u64,
}

/// What is wanted, and what came of it.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    table: watch::Sender<Table>,
    messages: Messages,
    /// How the broker outside answered, in the present connection.
    answers: Mutex<HashMap<TopicFilter, (u64, SubscriptionState)>>,
    mode: MqttMode,
    orders: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
}

/// The task that changes what is wanted.
#[derive(Debug)]
pub(crate) struct Keeper {
    subscriptions: Arc<Subscriptions>,
    orders: mpsc::Receiver<Order>,
    twins: Twins,
    /// Of the newest entry.
    number: u64,
}

#[derive(Debug)]
enum Order {
    Add(TopicFilter, Writer, oneshot::Sender<Result<Added, Refused>>),
    Remove(TopicFilter, oneshot::Sender<Result<bool, Refused>>),
    /// The broker outside has been told that these are over.
    Told(Vec<TopicFilter>),
}

/// Whether it was wanted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    New,
    AsBefore,
}

/// Why it is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are as many as there may be.
    TooMany,
    /// So many are over of which the broker outside is still to be told.
    TooManyEnded,
    Unavailable(Unavailable),
}

impl From<Unavailable> for Refused {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl Entry {
    /// As the broker outside is told of it.
    pub(crate) fn asked(&self) -> Asked {
        Asked { filter: self.subscription.filter.clone(), number: self.number }
    }
}

impl Subscriptions {
    /// Those that the store has, and the task to be run.
    pub(crate) fn new(
        objects: &[Object],
        mode: MqttMode,
        twins: Twins,
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, Keeper) {
        let mut table = Table::new();
        for object in objects {
            match Subscription::read(object) {
                Ok(subscription) => {
                    let filter = subscription.filter.clone();
                    table.insert(filter, Entry { subscription, number: 0, heard: Arc::default() });
                }
                Err(error) => {
                    let filter = &*object.key.name;
                    warn!(
                        filter,
                        error, "the store holds a subscription that is none; add it anew"
                    );
                }
            }
        }
        let (orders, queue) = mpsc::channel(QUEUE);
        let subscriptions = Arc::new(Self {
            table: watch::Sender::new(table),
            // Those of an earlier run are older than all of this one, as with events.
            messages: Messages::new(twins.feed().newest()),
            answers: Mutex::default(),
            mode,
            orders,
            metrics,
        });
        let keeper =
            Keeper { subscriptions: subscriptions.clone(), orders: queue, twins, number: 0 };
        (subscriptions, keeper)
    }

    /// Takes a message if somebody subscribed to its topic. Never waits.
    pub(crate) fn hear(&self, heard: Heard<'_>) -> bool {
        if heard.topic.starts_with('$') {
            return false;
        }
        let table = self.table.borrow();
        let mut wanted = false;
        for entry in table.values().filter(|entry| !entry.subscription.removed) {
            if topic_matches_filter(heard.topic, entry.subscription.filter.as_str()) {
                entry.heard.fetch_add(1, Ordering::Relaxed);
                wanted = true;
            }
        }
        drop(table);
        if wanted {
            self.metrics.bus_messages.fetch_add(1, Ordering::Relaxed);
            if heard.payload.len() > LARGEST {
                self.metrics.bus_messages_large.fetch_add(1, Ordering::Relaxed);
            }
            self.messages.push(heard, now());
        }
        wanted
    }

    /// What came.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// All of them; also wakes with each change.
    pub(crate) fn watch(&self) -> watch::Receiver<Table> {
        self.table.subscribe()
    }

    /// Those that are wanted, by filter.
    pub(crate) fn wanted(&self) -> Vec<Entry> {
        let table = self.table.borrow();
        table.values().filter(|entry| !entry.subscription.removed).cloned().collect()
    }

    /// How it stands at the broker inside and at the one outside; none where there is none.
    pub(crate) fn states(
        &self,
        entry: &Entry,
    ) -> (Option<SubscriptionState>, Option<SubscriptionState>) {
        let answered = || {
            let answers = self.answers();
            let (number, state) = answers.get(&entry.subscription.filter)?;
            (*number == entry.number).then_some(*state)
        };
        let inside = self.mode.has_embedded().then_some(SubscriptionState::Subscribed);
        let answer = || answered().unwrap_or(SubscriptionState::Waiting);
        (inside, self.mode.has_external().then(answer))
    }

    /// The connection to the broker outside ended.
    pub(crate) fn lost(&self) {
        self.answers().clear();
    }

    /// The broker outside answered to a subscription; none: it is asked no longer.
    pub(crate) fn answered(&self, asked: &Asked, state: Option<SubscriptionState>) {
        let mut answers = self.answers();
        match state {
            Some(state) => answers.insert(asked.filter.clone(), (asked.number, state)),
            None => answers.remove(&asked.filter),
        };
    }

    /// The broker outside has been told that these are over.
    pub(crate) async fn told(&self, filters: Vec<TopicFilter>) {
        // The agent ends; it is told again at the next connection.
        let _ = self.orders.send(Order::Told(filters)).await;
    }

    /// Keeps one, on the disk when this returns.
    pub(crate) async fn add(&self, filter: TopicFilter, writer: Writer) -> Result<Added, Refused> {
        let (reply, done) = oneshot::channel();
        self.order(Order::Add(filter, writer, reply)).await?;
        done.await.map_err(|_| Unavailable::Stopped)?
    }

    /// Ends one; whether there was one.
    pub(crate) async fn remove(&self, filter: TopicFilter) -> Result<bool, Refused> {
        let (reply, done) = oneshot::channel();
        self.order(Order::Remove(filter, reply)).await?;
        done.await.map_err(|_| Unavailable::Stopped)?
    }

    async fn order(&self, order: Order) -> Result<(), Unavailable> {
        self.orders.send(order).await.map_err(|_| Unavailable::Stopped)
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<TopicFilter, (u64, SubscriptionState)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    /// Does what is ordered, one after the other, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        if !self.subscriptions.mode.has_external() {
            // The broker that was to be told is none of ours any more.
            let over: Vec<_> = self.subscriptions.table.borrow().keys().cloned().collect();
            self.forget(over).await;
        }
        while let Some(Some(order)) = stop.run_until_cancelled(self.orders.recv()).await {
            // Whoever asked may have left; what it asked for is done all the same.
            match order {
                Order::Add(filter, writer, reply) => {
                    let _ = reply.send(self.add(filter, writer).await);
                }
                Order::Remove(filter, reply) => {
                    let _ = reply.send(self.remove(filter).await);
                }
                Order::Told(filters) => self.forget(filters).await,
            }
        }
        Ok(())
    }

    async fn add(&mut self, filter: TopicFilter, writer: Writer) -> Result<Added, Refused> {
        let (ended, wanted, count) = {
            let table = self.subscriptions.table.borrow();
            let ended = table.get(&filter).map(|entry| entry.subscription.removed);
            let wanted = table.values().filter(|entry| !entry.subscription.removed).count();
            (ended, wanted, table.len())
        };
        match ended {
            Some(false) => return Ok(Added::AsBefore),
            _ if wanted >= MOST_SUBSCRIPTIONS => return Err(Refused::TooMany),
            None if count - wanted >= MOST_ENDED => return Err(Refused::TooManyEnded),
            _ => {}
        }
        let subscription =
            Subscription { filter: filter.clone(), writer, set_at: now(), removed: false };
        self.twins.keep(subscription.object()).await?;
        self.number += 1;
        let entry = Entry { subscription, number: self.number, heard: Arc::default() };
        self.subscriptions.table.send_modify(|table| {
            table.insert(filter, entry);
        });
        Ok(Added::New)
    }

    async fn remove(&self, filter: TopicFilter) -> Result<bool, Refused> {
        let held = self.subscriptions.table.borrow().get(&filter).cloned();
        let Some(mut entry) = held.filter(|entry| !entry.subscription.removed) else {
            return Ok(false);
        };
        if self.subscriptions.mode.has_external() {
            entry.subscription.removed = true;
            self.twins.keep(entry.subscription.object()).await?;
            self.subscriptions.table.send_modify(|table| {
                table.insert(filter, entry);
            });
        } else {
            self.twins.forget(Subscription::key(&filter)).await?;
            self.subscriptions.table.send_modify(|table| {
                table.remove(&filter);
            });
        }
        Ok(true)
    }

    /// Forgets those of `filters` that are over. What the store does not take comes again with the next connection.
    async fn forget(&self, filters: Vec<TopicFilter>) {
        let over = |filter: &TopicFilter| {
            let table = self.subscriptions.table.borrow();
            table.get(filter).is_some_and(|entry| entry.subscription.removed)
        };
        for filter in filters {
            if over(&filter) && self.twins.forget(Subscription::key(&filter)).await.is_ok() {
                self.subscriptions.table.send_modify(|table| {
                    table.remove(&filter);
                });
            }
        }
    }
}
