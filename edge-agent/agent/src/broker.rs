//! MQTT brokers, behind one small trait: what the event bus needs of any of them.

mod access;
mod embedded;
mod external;
mod filters;
mod hook;
mod passwords;
mod secret_file;
mod sessions;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::eventbus::Owed;
use crate::messages::Heard;

pub(crate) use embedded::Embedded;
pub(crate) use external::{Credentials, Prepared};
pub(crate) use passwords::Passwords;

/// What the event bus needs of a broker.
pub(crate) trait Broker: Send + Sync + 'static {
    /// Waits for a connection to the broker.
    fn connected(&self) -> impl Future<Output = Connection> + Send;

    /// Number of the connection that there is, if there is one.
    fn connection(&self) -> Option<u64>;

    /// Waits for the connection to end.
    fn gone(&self) -> impl Future<Output = ()> + Send;

    /// Hands a message to whoever subscribed, without waiting for slow ones. Waits while the broker itself is slow.
    /// Without a connection the message is lost.
    fn publish(&self, topic: &str, payload: Bytes) -> impl Future<Output = ()> + Send;

    /// How far the broker has taken what was published.
    fn delivered(&self) -> Delivered;

    /// Where is noted what the broker has not taken yet; none where it takes everything at once.
    fn owed(&self) -> Option<&Owed> {
        None
    }

    /// Whether somebody subscribed to `topic`. May say yes a little too long, never no too early.
    fn wanted(&self, topic: &str) -> impl Future<Output = bool> + Send;

    /// Whether anybody subscribed to anything.
    fn anybody(&self) -> impl Future<Output = bool> + Send;
}

/// A connection to a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Counted up from 1; a broker inside the agent is connection 0, for ever.
    pub(crate) number: u64,
    /// Number of the newest event when it began, before any request came over it.
    pub(crate) from: u64,
}

/// Messages of the present connection, in the order in which they were published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// How many were published.
    pub(crate) published: u64,
    /// How many of these the broker took for sure.
    pub(crate) taken: u64,
}

/// Gets each message that a client publishes, in the client's order, before the broker acknowledges it: first `hear`,
/// then, where nobody subscribed, one of the others.
pub(crate) trait Inbox: Send + Sync + 'static {
    /// Whether a client may publish on `topic` at all; a refusal is counted.
    fn allows(&self, client: &str, topic: &str) -> bool;

    /// A client that was not let in for want of room; it is counted.
    fn turned_away(&self, client: &str, why: &str);

    /// A message that somebody may have subscribed to who is no client; whether that is so. Never waits.
    fn hear(&self, heard: Heard<'_>) -> bool;

    /// A request that a broker had kept, and that may be of any age.
    fn kept(&self, client: &str, topic: &str);

    /// Takes one message. Its publisher waits until the future is done.
    fn receive<'a>(
        &'a self,
        client: &'a str,
        topic: &'a str,
        payload: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// A broker could not be started, or be prepared for: which keys to change is in the text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BindError(String);
