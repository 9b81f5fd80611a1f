//! What was refused on the bus: counted by reason, logged once for each kind of topic and reason.

use std::sync::atomic::{AtomicU64, Ordering};

use device_twin::Rejected;
use tracing::warn;

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Not the JSON that is expected there.
    Unreadable,
    /// No device can have this name.
    BadName,
    UnknownDevice,
    UnknownProperty,
    BadValue,
    ReadOnly,
    TooLarge,
    /// No word for a device's state.
    BadState,
    /// What only the cloud may say.
    Spoofed,
    /// What only the agent may say.
    AnswerTopic,
    /// Kept by an external broker from some time before.
    Retained,
    /// For the cloud, and there is no way there.
    NoRoute,
    /// The agent could not do it.
    Unavailable,
    /// A client that wants a session that lasts, and there are too many.
    Sessions,
}

/// All of them, in the order of their numbers.
const REASONS: [(Reason, &str); 14] = [
    (Reason::Unreadable, "unreadable"),
    (Reason::BadName, "bad_name"),
    (Reason::UnknownDevice, "unknown_device"),
    (Reason::UnknownProperty, "unknown_property"),
    (Reason::BadValue, "bad_value"),
    (Reason::ReadOnly, "read_only"),
    (Reason::TooLarge, "too_large"),
    (Reason::BadState, "bad_state"),
    (Reason::Spoofed, "spoofed"),
    (Reason::AnswerTopic, "answer_topic"),
    (Reason::Retained, "retained"),
    (Reason::NoRoute, "no_route"),
    (Reason::Unavailable, "unavailable"),
    (Reason::Sessions, "sessions"),
];

impl Reason {
    /// Why the twins refused a request.
    pub(super) fn of(rejected: &Rejected) -> Self {
        match rejected {
            Rejected::Unknown { what } if what.starts_with("property") => Self::UnknownProperty,
            Rejected::Unknown { .. } | Rejected::FormerLife { .. } => Self::UnknownDevice,
            Rejected::ReadOnly { .. } | Rejected::NotOwner { .. } => Self::ReadOnly,
            Rejected::TooLarge { .. } => Self::TooLarge,
            Rejected::Several(refused) => {
                refused.first().map_or(Self::BadValue, |one| Self::of(&one.reason))
            }
            Rejected::Exhausted(_) => Self::Unavailable,
            _ => Self::BadValue,
        }
    }
}

/// Kinds of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TwinUpdate,
    TwinGet,
    StateUpdate,
    MembershipGet,
    /// What only the agent or the cloud says.
    Foreign,
    /// Ways to the cloud.
    Upload,
    /// No topic: a client that connects.
    Connect,
}

const KINDS: usize = 7;

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Refused([[AtomicU64; REASONS.len()]; KINDS]);

impl Refused {
    /// Counts one refusal; the first of its kind is logged.
    pub(crate) fn note(&self, kind: Kind, reason: Reason, client: &str, topic: &str, why: &str) {
        let counter = &self.0[kind as usize][reason as usize];
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            let word = REASONS[reason as usize].1;
            let next = "the next ones are only counted, in edgetwin_bus_refused_total";
            warn!(client, topic, reason = word, "refused a message on the bus: {why}; {next}");
        }
    }

    /// How many for each reason.
    pub(crate) fn counts(&self) -> [(&'static str, u64); REASONS.len()] {
        REASONS.map(|(reason, word)| {
            let of_kind =
                |kind: &[AtomicU64; REASONS.len()]| kind[reason as usize].load(Ordering::Relaxed);
            (word, self.0.iter().map(of_kind).sum())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_the_place_of_its_number() {
        for (index, (reason, _)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        let refused = Refused::default();
        refused.note(Kind::TwinUpdate, Reason::BadValue, "app", "t", "no");
        refused.note(Kind::StateUpdate, Reason::BadValue, "app", "t", "no");
        refused.note(Kind::Upload, Reason::Unavailable, "app", "t", "no");
        let counted: Vec<_> =
            refused.counts().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("bad_value", 2), ("unavailable", 1)]);
    }
}
