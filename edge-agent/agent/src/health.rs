//! How each part of the agent is: said by the parts, read by `/readyz`.
//!
//! A part says `health.ok(Part::Store)` or `health.set(Part::Store, PartStatus::Failed, reason, remedy)` whenever it
//! finds out; saying the same again costs nothing and tells nobody. One line of the log per change of status.
//!
//! *Degraded*: it works on, with less than it should do. *Failed*: what it is for does not happen; the node is not
//! ready then.

mod clock;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use device_model::Timestamp;
use tracing::{info, warn};

use crate::api::view::{Part, PartStatus, PartView};
use crate::clock::now;
pub(crate) use clock::tell as tell_clock;

/// What the parts said last. One that never said anything is not there.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<BTreeMap<Part, Said>>);

#[derive(Debug, PartialEq)]
struct Said {
    status: PartStatus,
    since: Timestamp,
    reason: String,
    remedy: String,
}

impl Health {
    /// `part` does all that it is for.
    pub(crate) fn ok(&self, part: Part) {
        self.set(part, PartStatus::Ok, "", "");
    }

    /// `part` is so, because of `reason`; `remedy` says what a person does about it.
    pub(crate) fn set(
        &self,
        part: Part,
        status: PartStatus,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (reason, remedy) = (reason.into(), remedy.into());
        let mut parts = self.parts();
        let before = parts.get(&part).map(|said| (said.status, said.since));
        let since = match before {
            Some((same, since)) if same == status => since,
            _ => now(),
        };
        let tell = before.map_or(status != PartStatus::Ok, |(before, _)| before != status);
        let (why, what_to_do) = (reason.clone(), remedy.clone());
        parts.insert(part, Said { status, since, reason, remedy });
        drop(parts);
        match status {
            _ if !tell => {}
            PartStatus::Ok => info!(part = %part, "well again"),
            _ => {
                warn!(part = %part, status = %status, reason = why, remedy = what_to_do, "not well")
            }
        }
    }

    /// Every part, in a fixed order.
    pub(crate) fn all(&self) -> Vec<PartView> {
        let view = |(part, said): (&Part, &Said)| PartView {
            name: *part,
            status: said.status,
            since: said.since,
            reason: said.reason.clone(),
            remedy: said.remedy.clone(),
        };
        self.parts().iter().map(view).collect()
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Part, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_keeps_the_time_of_its_status_while_its_reason_changes() {
        let health = Health::default();
        assert_eq!(health.all(), []);
        health.ok(Part::Store);
        health.set(Part::Mqtt, PartStatus::Degraded, "no broker", "start it");
        let first = health.all();
        assert_eq!(
            first.iter().map(|part| part.name).collect::<Vec<_>>(),
            [Part::Store, Part::Mqtt]
        );
        assert_eq!((first[0].status, &*first[0].reason), (PartStatus::Ok, ""));
        health.set(Part::Mqtt, PartStatus::Degraded, "it refuses us", "give it a password");
        let second = health.all();
        assert_eq!(second[1].since, first[1].since);
        assert_eq!(
            (&*second[1].reason, &*second[1].remedy),
            ("it refuses us", "give it a password")
        );
        health.set(Part::Store, PartStatus::Failed, "no space left", "make room");
        assert_eq!(health.all()[0].status, PartStatus::Failed);
    }
}
