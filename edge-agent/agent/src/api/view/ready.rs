//! Whether the agent lives, and how its parts are.

use std::fmt;

use device_model::{DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::schema;

/// Answer of `GET /healthz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AliveView {
    /// Always the same.
    pub status: Life,
}

/// The one thing that a process can say of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// It answers.
    Alive,
}

/// A part of the agent.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The twins and where they are kept.
    Store,
    /// The border to mappers.
    Dmi,
    /// The broker, and the event bus on it.
    Mqtt,
    /// The folder of models and devices.
    Manifests,
    /// The mappers themselves: whether each device has one.
    Mappers,
    /// The link to the cloud, where the node belongs to one.
    Cloud,
    /// This API.
    Api,
    /// The clock of the machine.
    Clock,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Dmi => "dmi",
            Self::Mqtt => "mqtt",
            Self::Manifests => "manifests",
            Self::Mappers => "mappers",
            Self::Cloud => "cloud",
            Self::Api => "api",
            Self::Clock => "clock",
        })
    }
}

/// How a part is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PartStatus {
    /// It does all that it is for.
    Ok,
    /// It works on, with less than it should do.
    Degraded,
    /// What it is for does not happen.
    Failed,
}

impl fmt::Display for PartStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        })
    }
}

/// How one part of the agent is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartView {
    /// Which.
    pub name: Part,
    /// How it is.
    pub status: PartStatus,
    /// Since when it is so.
    #[schema(value_type = schema::Time)]
    pub since: Timestamp,
    /// Why it is not ok; else empty.
    pub reason: String,
    /// What to do about it; else empty.
    pub remedy: String,
}

/// How the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Readiness {
    /// All is well.
    Ready,
    /// It works, and something is wrong.
    Degraded,
    /// A part failed: what it is for does not happen.
    Failed,
    /// It was asked to stop.
    Stopping,
}

/// Answer of `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReadyView {
    /// All in all; the HTTP status is 200 with `ready` and `degraded`, else 503.
    pub status: Readiness,
    /// How each part is.
    pub parts: Vec<PartView>,
    /// How many mappers are registered.
    pub mappers: usize,
    /// What is wrong with which manifest, in the agent's eyes or in a mapper's.
    pub problems: Vec<ManifestProblem>,
}

/// Something that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ManifestProblem {
    /// The file's name, or the device's where no file is known.
    pub file: String,
    /// The device that it concerns, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::DeviceId>)]
    pub device: Option<DeviceId>,
    /// What is wrong: field, value and remedy.
    pub message: String,
}
