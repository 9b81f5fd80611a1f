//! What a property was lately.

use device_model::{Quality, QualityCode, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::schema;
use super::AckView;

/// Answer of `GET /v1/devices/{namespace}/{name}/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// Those that changed lately.
    pub properties: Vec<PropertyHistory>,
}

/// What changed lately in one property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PropertyHistory {
    /// Its name.
    pub name: String,
    /// The oldest first.
    pub changes: Vec<PastView>,
}

/// How a property was after a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PastView {
    /// Number of the first event that told it.
    pub id: u64,
    /// When the agent accepted the change.
    #[schema(value_type = schema::Time)]
    pub time: Timestamp,
    /// The device's revision after it.
    pub rev: u64,
    /// The reported value; with quality `bad` the last good one.
    #[schema(required)]
    pub value: Option<String>,
    /// How far it could be trusted; none before the first reading.
    #[schema(value_type = Option<schema::Quality>, required)]
    pub quality: Option<Quality>,
    /// Why.
    #[schema(value_type = Option<schema::Reason>, required)]
    pub code: Option<QualityCode>,
    /// What was desired.
    #[schema(required)]
    pub desired: Option<String>,
    /// What had become of that.
    #[schema(required)]
    pub ack: Option<AckView>,
}
