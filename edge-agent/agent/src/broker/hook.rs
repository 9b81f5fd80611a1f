//! What mqtt5 tells while it serves.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mqtt5::broker::{
    BrokerEventHandler, ClientConnectEvent, ClientDisconnectEvent, ClientPublishEvent,
    ClientSubscribeEvent, ClientUnsubscribeEvent, PublishAction, SubAckReasonCode,
    SubscriptionInfo,
};
use tokio::time::Instant;

use super::Inbox;
use super::filters::Filters;
use crate::api::view::BrokerName;
use crate::messages::Heard;

/// How long a session may outlive its connection.
pub(super) const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);

/// A last will: topic and payload; `None` of a client that left none.
type Will = Option<(Arc<str>, Bytes)>;

/// Keeps the books of subscriptions, and passes messages to the inbox.
#[derive(Default)]
pub(super) struct Hook {
    inbox: OnceLock<Arc<dyn Inbox>>,
    filters: Mutex<Filters>,
    /// One for each connection of a client, the oldest first.
    wills: Mutex<HashMap<Arc<str>, VecDeque<Will>>>,
}

impl Hook {
    /// Where messages go from now on; before, nobody is served.
    pub(super) fn serve(&self, inbox: Arc<dyn Inbox>) {
        // A second call cannot happen: `Embedded::run` takes the broker.
        let _ = self.inbox.set(inbox);
    }

    pub(super) fn inbox(&self) -> Option<&Arc<dyn Inbox>> {
        self.inbox.get()
    }

    pub(super) fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Filters)) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        change(&mut self.filters());
        Box::pin(ready(()))
    }

    fn keep(&self, client: &Arc<str>, will: Will) {
        let mut wills = self.wills.lock().unwrap_or_else(PoisonError::into_inner);
        wills.entry(client.clone()).or_default().push_back(will);
    }

    fn take(&self, client: &Arc<str>) -> Will {
        let mut wills = self.wills.lock().unwrap_or_else(PoisonError::into_inner);
        let of_client = wills.get_mut(client)?;
        let first = of_client.pop_front();
        if of_client.is_empty() {
            wills.remove(client);
        }
        first.flatten()
    }
}

impl BrokerEventHandler for Hook {
    fn on_client_connect<'a>(
        &'a self,
        event: ClientConnectEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        // A DISCONNECT may ask for another time, which is not told: so too much is known of some, and of none too little.
        let lasts = event.session_expiry_interval > 0;
        let life = if lasts { LONGEST_SESSION } else { Duration::ZERO };
        self.keep(&event.client_id, event.will_topic.zip(event.will_payload));
        self.note(|filters| filters.connect(&event.client_id, life, event.clean_start))
    }

    fn on_client_subscribe<'a>(
        &'a self,
        event: ClientSubscribeEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.note(|filters| {
            // What was refused is told, too.
            let granted = |one: &&SubscriptionInfo| {
                use SubAckReasonCode::{GrantedQoS0, GrantedQoS1, GrantedQoS2};
                matches!(one.result, GrantedQoS0 | GrantedQoS1 | GrantedQoS2)
            };
            for subscription in event.subscriptions.iter().filter(granted) {
                filters.add(&event.client_id, &subscription.topic_filter);
            }
        })
    }

    fn on_client_unsubscribe<'a>(
        &'a self,
        event: ClientUnsubscribeEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.note(|filters| {
            for filter in &event.topic_filters {
                filters.remove(&event.client_id, filter);
            }
        })
    }

    fn on_client_disconnect<'a>(
        &'a self,
        event: ClientDisconnectEvent,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.filters().disconnect(&event.client_id, Instant::now());
        let will = self.take(&event.client_id).filter(|_| event.unexpected);
        let (Some((topic, payload)), Some(inbox)) = (will, self.inbox.get()) else {
            return Box::pin(ready(()));
        };
        // mqtt5 hands a will to subscribers without telling anybody else of it.
        Box::pin(async move {
            if inbox.allows(&event.client_id, &topic) && !inbox.hear(heard(&topic, &payload)) {
                inbox.receive(&event.client_id, &topic, &payload).await;
            }
        })
    }

    fn on_client_publish<'a>(
        &'a self,
        event: ClientPublishEvent,
    ) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        Box::pin(async move {
            if let Some(inbox) = self.inbox.get()
                && !inbox.hear(heard(&event.topic, &event.payload))
            {
                inbox.receive(&event.client_id, &event.topic, &event.payload).await;
            }
            PublishAction::Continue
        })
    }
}

fn heard<'a>(topic: &'a str, payload: &'a [u8]) -> Heard<'a> {
    Heard { broker: BrokerName::Embedded, topic, payload, retained: false }
}

#[cfg(test)]
mod tests {
    use mqtt5::QoS;

    use super::*;

    #[tokio::test]
    async fn a_filter_that_is_refused_is_not_kept() {
        let hook = Hook::default();
        let one = |filter: &str, result| SubscriptionInfo {
            topic_filter: filter.into(),
            qos: QoS::AtLeastOnce,
            result,
        };
        let subscriptions = vec![
            one("granted", SubAckReasonCode::GrantedQoS1),
            one("refused", SubAckReasonCode::QuotaExceeded),
            one("not allowed", SubAckReasonCode::NotAuthorized),
        ];
        let client_id = "app".into();
        hook.on_client_subscribe(ClientSubscribeEvent { client_id, subscriptions }).await;
        let filters = hook.filters();
        assert_eq!(filters.counts.keys().map(|filter| &**filter).collect::<Vec<_>>(), ["granted"]);
    }
}
