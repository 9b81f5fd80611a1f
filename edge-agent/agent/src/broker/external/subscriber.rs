//! What the agent is subscribed to at the broker outside: its own topics, and those that somebody wants to hear.
//!
//! The session there lasts, so both must be said: what is wanted, in each connection anew, and what is over.

mod blame;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use device_twin::store::TopicFilter;
use rumqttc_next::mqttbytes::v4::{SubAck, SubscribeReasonCode};
use rumqttc_next::{AsyncClient, QoS, SubscribeFilterInput};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use self::blame::Blame;
use crate::api::view::SubscriptionState;
use crate::metrics::Metrics;
use crate::subscriptions::{Asked, Entry, Subscriptions, Table};

/// What the agent serves: KubeEdge's fixed list, without the ways to the cloud.
pub(super) const FILTERS: [&str; 3] = [
    "$hw/events/device/+/+/twin/+",
    "$hw/events/device/+/+/state/update",
    "$hw/events/node/+/membership/get",
];

/// Outlives connections, and remembers what it said of them.
pub(super) struct Subscriber {
    subscriptions: Arc<Subscriptions>,
    metrics: Arc<Metrics>,
    quality: QoS,
    /// For how long an answer is waited for.
    patience: Duration,
    /// Filters of which the log says that they are refused.
    told: BTreeSet<TopicFilter>,
    /// Filters of which the log says that the broker does not let their end be told.
    told_over: BTreeSet<TopicFilter>,
    /// Of those that are asked for.
    asks: Blame,
    /// Of those that are told to be over.
    ends: Blame,
}

/// What there is at the broker in one connection.
struct Held<'a> {
    client: &'a AsyncClient,
    patience: Duration,
    /// What it was asked for, and answered.
    asked: BTreeSet<Asked>,
    /// What it was told to be over.
    left: BTreeSet<Asked>,
}

/// Why nothing more is said in a connection.
enum Ended {
    /// It is gone; whoever drives it says so.
    Gone,
    /// The broker, or something before it, does not answer to this.
    Silent(&'static str),
}

impl Subscriber {
    /// `quality` is that of `mqtt.qos`; with less than 1, what is said while the agent is away would be lost. An answer is
    /// waited for no longer than `patience`.
    pub(super) fn new(
        subscriptions: Arc<Subscriptions>,
        metrics: Arc<Metrics>,
        quality: QoS,
        patience: Duration,
    ) -> Self {
        let quality = if quality == QoS::AtMostOnce { QoS::AtLeastOnce } else { quality };
        Self {
            subscriptions,
            metrics,
            quality,
            patience,
            told: BTreeSet::new(),
            told_over: BTreeSet::new(),
            asks: Blame::default(),
            ends: Blame::default(),
        }
    }

    /// A connection ended: nothing is known of what is there.
    pub(super) fn ended(&mut self) {
        self.subscriptions.lost();
        let now = Instant::now();
        if let Some(Asked { filter, .. }) = self.asks.ended(now) {
            self.refused(&filter, "ends the connection, or does not answer, when it is asked for");
        }
        if let Some(Asked { filter, .. }) = self.ends.ended(now)
            && self.told_over.insert(filter.clone())
        {
            warn!(
                %filter,
                "the external broker ends the connection, or does not answer, when it is told that this subscription is over; end this \
                 client's session there; it is told again later"
            );
        }
        self.forget();
        for asked in self.asks.resting(now) {
            self.subscriptions.answered(asked, Some(SubscriptionState::Refused));
        }
    }

    /// What filters did that are not wanted any more, or not over any more, says nothing of those that are now.
    fn forget(&mut self) {
        let wanted = self.subscriptions.watch();
        let table = wanted.borrow();
        let is = |asked: &Asked, removed: bool| {
            let of_it = |entry: &Entry| {
                entry.number == asked.number && entry.subscription.removed == removed
            };
            table.get(&asked.filter).is_some_and(of_it)
        };
        self.asks.keep(|asked| is(asked, false));
        self.ends.keep(|asked| is(asked, true));
        self.told_over.retain(|filter| table.contains_key(filter));
    }

    /// Keeps the broker's subscriptions as they are wanted, for one connection. `own` is told how it answered to the
    /// agent's own. Returns why the connection is to be given up, where nothing else says so.
    pub(super) async fn run(
        &mut self,
        client: &AsyncClient,
        own: impl FnOnce(&SubAck) + Send,
    ) -> String {
        let Err(ended) = self.keep(client, own).await;
        match ended {
            Ended::Gone => std::future::pending().await,
            Ended::Silent(request) => {
                format!("it did not answer to {request} within {:?}", self.patience)
            }
        }
    }

    async fn keep(
        &mut self,
        client: &AsyncClient,
        own: impl FnOnce(&SubAck) + Send,
    ) -> Result<Infallible, Ended> {
        let mut wanted = self.subscriptions.watch();
        // A packet of its own: whatever the broker makes of the others, requests of apps are heard.
        let filters = FILTERS.map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce));
        own(&subscribe(client, filters, self.patience).await?);
        let (asked, left) = (BTreeSet::new(), BTreeSet::new());
        let mut held = Held { client, patience: self.patience, asked, left };
        loop {
            self.forget();
            let (missing, over) = held.difference(&mut wanted);
            // One time for both: whoever has rested meanwhile is not passed over.
            let now = Instant::now();
            // First what is wanted: whatever the broker makes of an end, it is heard.
            for filters in self.asks.packets(&missing, now) {
                self.ask(&mut held, &filters).await?;
            }
            for filters in self.ends.packets(&over, now) {
                self.leave(&mut held, &filters).await?;
            }
            let rested = [self.asks.next(&missing, now), self.ends.next(&over, now)];
            let rested = rested.into_iter().flatten().min();
            let again = async {
                match rested {
                    Some(end) => tokio::time::sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wanted.changed() => changed.map_err(|_| Ended::Gone)?,
                () = again => {}
            }
        }
    }

    async fn ask(&mut self, held: &mut Held<'_>, all: &[Asked]) -> Result<(), Ended> {
        self.asks.ask(all);
        let answer = held.ask(all, self.quality).await?;
        self.asks.answered();
        for (asked, code) in all.iter().zip(&answer.return_codes) {
            self.told_over.remove(&asked.filter);
            self.answered(asked, *code);
        }
        Ok(())
    }

    async fn leave(&mut self, held: &mut Held<'_>, all: &[Asked]) -> Result<(), Ended> {
        self.ends.ask(all);
        held.leave(all).await?;
        self.ends.answered();
        for Asked { filter, .. } in all {
            self.told.remove(filter);
            self.told_over.remove(filter);
        }
        for asked in all {
            self.subscriptions.answered(asked, None);
        }
        self.subscriptions.told(all.iter().map(|asked| asked.filter.clone()).collect()).await;
        Ok(())
    }

    fn answered(&mut self, asked: &Asked, code: SubscribeReasonCode) {
        let filter = &asked.filter;
        if code != SubscribeReasonCode::Failure {
            if self.told.remove(filter) {
                info!(%filter, "the external broker takes this subscription again");
            }
            return self.subscriptions.answered(asked, Some(SubscriptionState::Subscribed));
        }
        self.subscriptions.answered(asked, Some(SubscriptionState::Refused));
        self.refused(filter, "refuses this subscription");
    }

    fn refused(&mut self, filter: &TopicFilter, how: &str) {
        self.metrics.bus_subscriptions_refused.fetch_add(1, Ordering::Relaxed);
        if self.told.insert(filter.clone()) {
            let remedy =
                "allow it in its access rules, or remove it here; it is asked for again later";
            warn!(%filter, "the external broker {how}; {remedy}");
        }
    }
}

impl Held<'_> {
    /// What is to be asked for, and what is to be told over.
    fn difference(&mut self, wanted: &mut watch::Receiver<Table>) -> (Vec<Asked>, Vec<Asked>) {
        let table = wanted.borrow_and_update();
        let (mut missing, mut over) = (Vec::new(), Vec::new());
        let known = |asked: &Asked| {
            table.get(&asked.filter).is_some_and(|entry| entry.number == asked.number)
        };
        self.asked.retain(known);
        self.left.retain(known);
        for entry in table.values() {
            let asked = entry.asked();
            match entry.subscription.removed {
                true if !self.left.contains(&asked) => over.push(asked),
                false if !self.asked.contains(&asked) => missing.push(asked),
                _ => {}
            }
        }
        (missing, over)
    }

    async fn ask(&mut self, all: &[Asked], quality: QoS) -> Result<SubAck, Ended> {
        let inputs = all.iter().map(|one| SubscribeFilterInput::new(one.filter.as_str(), quality));
        let answer = subscribe(self.client, inputs, self.patience).await?;
        self.asked.extend(all.iter().cloned());
        Ok(answer)
    }

    async fn leave(&mut self, all: &[Asked]) -> Result<(), Ended> {
        let names = all.iter().map(|one| one.filter.as_str().to_owned());
        let notice = self.client.unsubscribe_many_tracked(names).await.map_err(|_| Ended::Gone)?;
        match timeout(self.patience, notice.wait_async()).await {
            Ok(answer) => answer.map_err(|_| Ended::Gone)?,
            Err(_) => return Err(Ended::Silent("an UNSUBSCRIBE")),
        };
        self.left.extend(all.iter().cloned());
        Ok(())
    }
}

async fn subscribe(
    client: &AsyncClient,
    filters: impl IntoIterator<Item = SubscribeFilterInput>,
    patience: Duration,
) -> Result<SubAck, Ended> {
    let notice = client.subscribe_many_tracked(filters).await.map_err(|_| Ended::Gone)?;
    match timeout(patience, notice.wait_async()).await {
        Ok(answer) => answer.map_err(|_| Ended::Gone),
        Err(_) => Err(Ended::Silent("a SUBSCRIBE")),
    }
}
