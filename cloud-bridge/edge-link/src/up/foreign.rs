//! Reports of KubeEdge's edges, which say nothing of epoch and revision.

use device_model::Timestamp;

use crate::content::TwinProperty;

/// What EdgeCore says of when a value came: its counter of changes of this property, and the time of the sample.
///
/// A report that was not confirmed is sent again minutes later, as it was, and would take the place of newer values. Its
/// counter and its time are both old then. A counter that fell alone is that of a twin that was made anew; a time that
/// fell alone is that of a clock that was set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sample {
    /// `actual_version.edge`; 0 for a state, which has none.
    pub version: u64,
    /// `actual.metadata.timestamp`, or that of the report.
    pub at: Timestamp,
}

impl Sample {
    /// That of a property in a report that was made at `reported_at`.
    pub fn of(property: &TwinProperty, reported_at: Timestamp) -> Self {
        let sampled = property.actual.as_ref().and_then(crate::content::Side::sampled_at);
        Self {
            version: property.actual_version.unwrap_or_default().edge,
            at: sampled.unwrap_or(reported_at),
        }
    }

    /// Whether this came before `known`: it is confirmed, so that it does not come again, and nothing else is done.
    pub fn is_before(&self, known: &Self) -> bool {
        self != known && self.version <= known.version && self.at <= known.at
    }
}
