//! From reports of nodes to DeviceStatuses.
//!
//! A session takes reports into an [`Intake`] per device and asks for a turn ([`Turns`]). It gets one at most once a
//! second and device, and within a rate over all devices, in the order in which they asked; what is newest then is written
//! ([`Writer`]) as a [`document`]. Only after the API server took it is it confirmed to the node.

mod desk;
pub(crate) mod document;
mod intake;
mod writer;

use device_model::PropertyName;
use edge_link::content::{StateSaid, TwinProperty};

pub(crate) use desk::{DeskSettings, Turns};
pub(crate) use intake::{Answers, Intake};
pub(crate) use writer::{NotWritten, Writer};

/// What a report speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The device's own state.
    State,
    /// One property.
    Property(PropertyName),
}

/// What is said of a [`Part`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    State(StateSaid, Reason),
    Property(Box<TwinProperty>),
}

/// Why a device is in its state, in a few words for a person; only agents of ours say it.
pub(crate) type Reason = Option<Box<str>>;
