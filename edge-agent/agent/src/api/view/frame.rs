//! A frame on a device's wire.

use device_model::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema;

/// One frame that went over the wire of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameView {
    /// When it went or came.
    #[schema(value_type = schema::Time)]
    pub time: Timestamp,
    /// Which way.
    pub direction: FrameDirection,
    /// Since the last frame that was sent, in microseconds; none for one that is sent, and where nobody looked then.
    #[serde(default)]
    #[schema(required)]
    pub after_micros: Option<u64>,
    /// All of it, two digits an octet.
    #[schema(pattern = "^([0-9a-f]{2})*$", example = "00010000000601030000000a")]
    pub hex: String,
    /// Frames that the reader was too slow for, right before this one.
    pub lost: u64,
}

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FrameDirection {
    /// To the device.
    Sent,
    /// From the device: the answer that was waited for.
    Received,
    /// From the wire: no answer that anybody waited for.
    Discarded,
}
