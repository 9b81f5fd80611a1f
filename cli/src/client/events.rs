//! Streams of events: twin changes, messages of applications, frames on a wire.

use std::marker::PhantomData;

use anyhow::Context;
use edge_agent::api::sse::Parser;
use edge_agent::api::view::Event;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

/// An open stream of events. Ends with the agent.
pub(crate) struct Events<T = Event> {
    body: Incoming,
    parser: Parser,
    /// Moves the bytes of the connection while this stream lives.
    _driver: JoinSet<()>,
    kind: PhantomData<T>,
}

impl<T> Events<T> {
    pub(super) fn new(body: Incoming, driver: JoinSet<()>) -> Self {
        Self { body, parser: Parser::default(), _driver: driver, kind: PhantomData }
    }
}

impl<T: DeserializeOwned> Events<T> {
    /// The next event; `None` when the agent ended the stream. Cancel safe: what has arrived is kept.
    ///
    /// # Errors
    /// The connection broke, or an event is not understood.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            if let Some(data) = self.parser.data() {
                let event = serde_json::from_str(&data).context(
                    "an event is not understood; are the agent and this command of one version?",
                )?;
                return Ok(Some(event));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    let frame = frame.context("the agent's event stream broke")?;
                    if let Some(bytes) = frame.data_ref() {
                        self.parser.push(bytes);
                    }
                }
            }
        }
    }
}
