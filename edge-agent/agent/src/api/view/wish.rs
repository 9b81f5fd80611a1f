//! What is desired: the request, its answer, and how things stand where they clash.

use std::collections::BTreeMap;

use device_model::{Generation, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::schema;
use super::AckView;

/// Body of `PATCH /v1/devices/{namespace}/{name}/desired`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object with `properties`")]
pub struct DesiredPatch {
    /// What to write, by property.
    #[schema(schema_with = schema::wishes)]
    pub properties: BTreeMap<String, DesiredValue>,
    /// Refuses the whole patch unless each property's desired version is exactly this (0: nothing desired yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991_u64)]
    pub if_version: Option<u64>,
    /// Give up what is not written within this time, such as `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]{1,9}(ms|s|m|h)$", example = "10m")]
    pub expires_in: Option<String>,
    /// Give up what is not written by then; in place of `expiresIn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Time>)]
    pub expires_at: Option<Timestamp>,
}

/// One value of a [`DesiredPatch`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object with `value`")]
pub struct DesiredValue {
    /// Text, number or truth; `null` withdraws the wish.
    #[schema(value_type = schema::Given)]
    pub value: serde_json::Value,
    /// The same as `ifVersion` of the whole patch, for this property; it counts before that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991_u64)]
    pub if_version: Option<u64>,
}

/// Answer of the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DesiredAnswer {
    /// The device's revision after the write.
    pub rev: u64,
    /// What was accepted, by property.
    pub properties: BTreeMap<String, AcceptedView>,
    /// The time of `wait` passed before every property was finally acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
}

/// One accepted desired value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedView {
    /// Its text form; none where the wish was withdrawn.
    #[schema(required)]
    pub value: Option<String>,
    /// Its number.
    #[schema(value_type = schema::Version)]
    pub version: Generation,
    /// What became of it so far.
    #[schema(required)]
    pub ack: Option<AckView>,
}

/// How the properties of a refused patch stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurrentView {
    /// The device's revision.
    #[schema(maximum = 9007199254740991_u64)]
    pub rev: u64,
    /// Those that were to be written.
    pub properties: BTreeMap<String, CurrentProperty>,
}

/// What is desired of a property now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CurrentProperty {
    /// Its text form; none where nothing is desired.
    #[schema(required)]
    pub value: Option<String>,
    /// What `ifVersion` would have to be.
    #[schema(value_type = schema::Version)]
    pub version: Generation,
}
