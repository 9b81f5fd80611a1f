//! Subscriptions to topics of applications, and what came over them.

use std::fmt;

use device_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::schema;

/// Answer of `GET /v1/subscriptions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionList {
    /// All of them, by filter.
    pub subscriptions: Vec<SubscriptionView>,
}

/// A filter of topics that somebody wants to hear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionView {
    /// As MQTT writes it.
    #[schema(value_type = schema::TopicFilter)]
    pub filter: String,
    /// Who wants it: `local:api`, `local:edgecore` (taken over from there) or `cloud`.
    pub writer: String,
    /// Since when.
    #[schema(value_type = schema::Time)]
    pub set_at: Timestamp,
    /// Messages that came since the agent started.
    pub messages: u64,
    /// How it stands at the embedded broker; none where there is none.
    #[schema(required)]
    pub embedded: Option<SubscriptionState>,
    /// How it stands at the external broker; none where there is none.
    #[schema(required)]
    pub external: Option<SubscriptionState>,
}

/// How a subscription stands at a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SubscriptionState {
    /// Its messages come.
    Subscribed,
    /// It is asked for as soon as there is a connection.
    Waiting,
    /// The broker does not let this agent, or ended connections for it; it is asked again later.
    Refused,
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscribed => "subscribed",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        })
    }
}

/// A broker as this agent calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BrokerName {
    /// The one inside the agent.
    Embedded,
    /// The one outside.
    External,
}

/// What `GET /v1/messages` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MessageEvent {
    /// An application published something.
    Message(MessageView),
    /// Messages are gone: this reader was too slow, or the agent started anew.
    Missed(MissedView),
}

/// A message of an application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    /// One more than that of the message before it; give it to `since` to go on from here.
    pub id: u64,
    /// When it came.
    #[schema(value_type = schema::Time)]
    pub time: Timestamp,
    /// Where it was published.
    pub topic: String,
    /// At which broker it was heard.
    pub broker: BrokerName,
    /// Whether the broker had kept it from some time before.
    pub retained: bool,
    /// Octets of its payload.
    pub octets: usize,
    /// The payload, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The payload in base64, if it is none. Neither stands there when it was larger than `messageOctets` of the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// What a reader did not get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MissedView {
    /// Number of the last message that is gone.
    pub id: u64,
    /// How many there were; none where nobody knows, since they are of another run of the agent.
    #[schema(required)]
    pub missed: Option<u64>,
}
