//! What KubeEdge's programs do otherwise, and no change of ours can help.

use super::cell::Cell;
use super::step::Step;

/// What is known of a step that does not come out in that cell.
pub(super) fn difference(cell: Cell, step: Step) -> Option<&'static str> {
    let Cell::OurMapper = cell else { return None };
    match step {
        Step::DesireWithoutCloud => Some(
            "CloudCore sends it to EdgeCore, which keeps it and tells no mapper; the mapper has it after EdgeCore's next start",
        ),
        Step::DesireWithoutEdge => Some(
            "EdgeCore starts with the device as it was, is sent the new one, keeps it and tells no mapper",
        ),
        Step::AddWithoutEdge => Some("EdgeCore is sent the device, keeps it and tells no mapper"),
        Step::DeleteWithoutEdge => Some(
            "EdgeCore is sent the end of the device, forgets it and tells no mapper, which reads it on",
        ),
        Step::AgentForEdgeCore => Some(
            "linked at once, but CloudCore has recorded in ObjectSyncs what the node has, and sends none of it to our empty store; see the next step",
        ),
        _ => None,
    }
}
