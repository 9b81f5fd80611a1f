//! What became of a command: the answer to whoever asked, and the changes to publish.

use std::sync::Arc;

use device_model::{Device, DeviceId, Generation, PropertyName};

use crate::{Condition, TwinProperty, Uid};

/// What became of one command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What to answer.
    pub result: Result<Answer, Rejected>,
    /// What changed, in order; empty if nothing did.
    pub changes: Vec<Change>,
}

/// A command was accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The device's revision now; 0 for commands that concern no single device.
    pub rev: u64,
    /// The generations of what was desired, in the order of the request; `None` where nothing is desired any more.
    pub generations: Vec<(PropertyName, Option<Generation>)>,
    /// Parts of a report that were refused; the other parts were applied.
    pub refused: Vec<Refused>,
    /// Whether this answers a repeated request that was done before (rule R7).
    pub repeated: bool,
}

/// One part of a request that was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// Its place in the request.
    pub index: usize,
    /// The property as it was named.
    pub property: String,
    /// Why.
    pub reason: Rejected,
}

/// A command was refused and changed nothing. Each variant says what the caller does next.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejected {
    /// Ask for what exists (404).
    #[error("{what} is not known here; see `edgetwin get` for what is")]
    Unknown {
        /// `device demo/pump`, or `property speed of device demo/pump`.
        what: String,
    },
    /// Do not write to it (403).
    #[error("{property} is ReadOnly; only the device changes it")]
    ReadOnly {
        /// Which property.
        property: PropertyName,
    },
    /// Send it corrected (400).
    #[error("{property}: {reason}")]
    Invalid {
        /// Which property, as it was named.
        property: String,
        /// What is wrong, and what would do.
        reason: String,
    },
    /// Several properties of one request are at fault; send them corrected (400 or 403).
    #[error("{}", join(.0))]
    Several(Vec<Refused>),
    /// Read again, decide again, send with the versions given here (409).
    #[error("the twin is at revision {}, not {expected}; read it again and decide again", current.rev)]
    Conflict {
        /// The revision or generation that was asked for.
        expected: u64,
        /// How things stand.
        current: Box<Current>,
    },
    /// Drop it: something newer is known (409).
    #[error("{what} is older than what is known; drop it")]
    Stale {
        /// What is old.
        what: String,
    },
    /// Drop it: it was meant for a former life of the device (410).
    #[error("device {device} was made again since; this was meant for {uid}")]
    FormerLife {
        /// Which device.
        device: DeviceId,
        /// The life that was addressed.
        uid: Uid,
    },
    /// Write where the owner of desired values is (403).
    #[error("{property}: {reason}")]
    NotOwner {
        /// Which property.
        property: String,
        /// Who may write, and how.
        reason: String,
    },
    /// Send less, or raise the limit (413).
    #[error("{what} is larger than {limit}; raise the limit or send less")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// A counter is at its end (2^53); remove the device and make it again.
    #[error("the version counter of {0} is used up; remove the device and make it again")]
    Exhausted(DeviceId),
}

fn join(refused: &[Refused]) -> String {
    refused.iter().map(|one| one.reason.to_string()).collect::<Vec<_>>().join("; ")
}

/// How a twin stands, for whoever lost a race.
#[derive(Clone, Debug, PartialEq)]
pub struct Current {
    /// The device's revision.
    pub rev: u64,
    /// The properties that were asked about.
    pub properties: Vec<(PropertyName, TwinProperty)>,
}

/// One committed change of one twin.
#[derive(Clone, Debug)]
pub struct Change {
    /// The device as it is described now; for [`ChangeKind::Removed`], as it was.
    pub device: Arc<Device>,
    /// Which life of it.
    pub uid: Uid,
    /// The revision that this change made.
    pub rev: u64,
    /// What happened to the device as a whole.
    pub kind: ChangeKind,
    /// Its state before and after, if that or its reason changed.
    pub condition: Option<(Condition, Condition)>,
    /// What changed in its properties, in their order.
    pub properties: Vec<PropertyChange>,
    /// Whether the content of [`Twin::delta`](crate::Twin::delta) changed (rule R19).
    pub delta_changed: bool,
}

impl Change {
    /// Octets that it takes beside a fixed size for each property: of texts and bytes, before and after. What they share
    /// with others counts as theirs.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
        let words = |one: &Condition| text(&one.reason) + text(&one.problem);
        let condition = self.condition.as_ref().map_or(0, |(old, new)| words(old) + words(new));
        let sides = self.properties.iter().flat_map(|property| [&property.old, &property.new]);
        condition + sides.flatten().map(TwinProperty::weight).sum::<usize>()
    }
}

/// What happened to a device as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its description changed; values may have changed with it.
    Described,
    /// Its values or its state changed.
    Updated,
    /// It is gone; `properties` holds what they were.
    Removed,
}

/// One property before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyChange {
    /// Which.
    pub name: PropertyName,
    /// Before; `None`: the property is new.
    pub old: Option<TwinProperty>,
    /// After; `None`: the property is gone.
    pub new: Option<TwinProperty>,
}

impl PropertyChange {
    /// Whether the reported side changed.
    pub fn reported_changed(&self) -> bool {
        let pv = |side: &Option<TwinProperty>| {
            side.as_ref()
                .and_then(|property| property.reported.as_ref())
                .map(|reported| reported.pv)
        };
        pv(&self.old) != pv(&self.new)
    }

    /// Whether another value is desired, or the same with another generation, or none any more.
    pub fn desired_changed(&self) -> bool {
        let desired = |side: &Option<TwinProperty>| {
            let desired = side.as_ref()?.desired.as_ref()?;
            Some((desired.generation, desired.expires_at))
        };
        desired(&self.old) != desired(&self.new)
    }

    /// Whether the acknowledgement changed.
    pub fn ack_changed(&self) -> bool {
        let ack =
            |side: &Option<TwinProperty>| side.as_ref().and_then(|property| property.ack.clone());
        ack(&self.old) != ack(&self.new)
    }
}
