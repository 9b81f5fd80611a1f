//! Subscriptions to topics of applications, asked for and changed.

use anyhow::bail;
use bytes::Bytes;
use edge_agent::api::view::{MessageEvent, SubscriptionList, SubscriptionView};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Client, Events, refusal};

const PLACE: &str = "/v1/subscriptions";

impl Client {
    /// All of them, by filter.
    ///
    /// # Errors
    /// The agent cannot be asked.
    pub(crate) async fn subscriptions(&self) -> anyhow::Result<SubscriptionList> {
        self.ask(Method::GET, PLACE, Bytes::new()).await
    }

    /// Adds one, or finds it there.
    ///
    /// # Errors
    /// The agent cannot be asked, or does not take the filter.
    pub(crate) async fn subscribe(&self, filter: &str) -> anyhow::Result<SubscriptionView> {
        self.ask(Method::PUT, &path(filter), Bytes::new()).await
    }

    /// Ends one.
    ///
    /// # Errors
    /// The agent cannot be asked, or there is none.
    pub(crate) async fn unsubscribe(&self, filter: &str) -> anyhow::Result<()> {
        let (status, body) = self.exchange(Method::DELETE, &path(filter), Bytes::new()).await?;
        if !status.is_success() {
            bail!(refusal(status, &body));
        }
        Ok(())
    }

    /// What applications say there from now on.
    ///
    /// # Errors
    /// The agent cannot be asked.
    pub(crate) async fn messages(&self) -> anyhow::Result<Events<MessageEvent>> {
        self.stream("/v1/messages").await
    }
}

fn path(filter: &str) -> String {
    format!("{PLACE}/{}", utf8_percent_encode(filter, NON_ALPHANUMERIC))
}
