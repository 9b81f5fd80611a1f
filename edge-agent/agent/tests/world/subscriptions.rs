//! Subscriptions to topics of applications, as the local API has them.

use edge_agent::api::view::{MessageEvent, MessageView, SubscriptionList, SubscriptionView};
use hyper::Method;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{World, within};

/// What applications say, as it comes.
pub(crate) struct Messages {
    events: mpsc::Receiver<MessageEvent>,
    _tasks: JoinSet<()>,
}

impl Messages {
    /// The next event of the stream.
    pub(crate) async fn event(&mut self) -> MessageEvent {
        within("a message", self.events.recv()).await.unwrap()
    }

    /// The next message; nothing was missed.
    pub(crate) async fn next(&mut self) -> MessageView {
        match self.event().await {
            MessageEvent::Message(message) => message,
            missed @ MessageEvent::Missed(_) => panic!("{missed:?}"),
        }
    }

    /// Topic and text of the next message.
    pub(crate) async fn text(&mut self) -> (String, String) {
        let message = self.next().await;
        (message.topic, message.text.unwrap())
    }
}

pub(crate) fn path(filter: &str) -> String {
    let filter = filter.replace('%', "%25").replace('/', "%2F");
    format!("/v1/subscriptions/{}", filter.replace('#', "%23").replace(' ', "%20"))
}

impl World {
    /// Listens; what is published from now on comes.
    pub(crate) async fn messages(&self, headers: &[(&str, &str)], query: &str) -> Messages {
        let (tasks, events) = self.stream(headers, &format!("/v1/messages{query}")).await;
        Messages { events, _tasks: tasks }
    }

    /// Adds, takes away or asks: the status, and what was said.
    pub(crate) async fn subscription(&self, method: Method, filter: &str) -> (u16, Value) {
        let (status, body) = self.request(method, &path(filter), "").await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// All of them.
    pub(crate) async fn subscriptions(&self) -> Vec<SubscriptionView> {
        let (status, body) = self.request(Method::GET, "/v1/subscriptions", "").await;
        assert_eq!(status, 200);
        serde_json::from_slice::<SubscriptionList>(&body).unwrap().subscriptions
    }
}
