//! Which messages of a cloud an edge acknowledges.

use crate::message::Message;
use crate::resource::Kind;
use crate::words::{group, operation};

/// Answers to requests of these kinds are acknowledged by nobody; the cloud does not wait for it.
const QUIET: [Kind; 3] = [Kind::NODE_PATCH, Kind::POD_PATCH, Kind::POD];

impl Message {
    /// Whether the edge that gets this message acknowledges it, once it has committed what there is to commit.
    ///
    /// These are EdgeCore's own: all objects, also of kinds that it does not know, since the cloud sends nothing else
    /// before it has the acknowledgement; and answers to requests, errors included, but for those to patches and to what
    /// was done to pods. Nothing that goes to twins or to applications.
    pub fn wants_acknowledgement(&self) -> bool {
        if self.header.id.is_none() || self.route.group.as_deref() != Some(group::RESOURCE) {
            return false;
        }
        if self.header.parent.is_none() {
            return !self.is(operation::RESPONSE) && !self.is(operation::KEEPALIVE);
        }
        let quiet = |resource: crate::Resource| {
            resource.key().is_some_and(|key| QUIET.contains(key.kind()))
        };
        self.is(operation::RESPONSE) && !self.resource().is_ok_and(quiet)
    }
}
