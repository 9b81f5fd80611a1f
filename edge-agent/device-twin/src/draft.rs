//! A change in the making: it knows what each touched property was, and ends as one revision or as none.

use std::sync::Arc;

use device_model::{DeviceState, Timestamp};

use crate::{
    Change, ChangeKind, Condition, Counters, Now, PropertyChange, Rejected, Settings, Twin,
    TwinProperty,
};

/// The largest version: JSON numbers are exact up to here (rule R4).
pub(crate) const LAST_VERSION: u64 = (1 << 53) - 1;

/// What the rules need to know beside the twin.
pub(crate) struct Moment<'a> {
    /// By the machine's clock, as people see it.
    pub(crate) now: Timestamp,
    /// By both clocks.
    pub(crate) clocks: Now,
    /// When the store was opened, by the steady clock: values from before it are not stale before they had time to be
    /// read again.
    pub(crate) opened_at: Timestamp,
    pub(crate) settings: &'a Settings,
    pub(crate) counters: &'a mut Counters,
}

/// One command's work on one twin.
pub(crate) struct Draft<'a> {
    twin: &'a mut Twin,
    /// The revision that this change will have.
    rev: u64,
    before: Vec<(usize, TwinProperty)>,
    condition_before: Option<Condition>,
}

impl<'a> Draft<'a> {
    /// # Errors
    /// The twin's revision is at its end.
    pub(crate) fn of(twin: &'a mut Twin) -> Result<Self, Rejected> {
        if twin.rev >= LAST_VERSION {
            return Err(Rejected::Exhausted(twin.device.id.clone()));
        }
        let rev = twin.rev + 1;
        Ok(Self { twin, rev, before: Vec::new(), condition_before: None })
    }

    pub(crate) fn twin(&self) -> &Twin {
        self.twin
    }

    /// The twin, for what needs no revision: times, and when to look again.
    pub(crate) fn quietly(&mut self) -> &mut Twin {
        self.twin
    }

    /// The revision that this change will have.
    pub(crate) fn rev(&self) -> u64 {
        self.rev
    }

    /// The property at `index`, for a change of its desired side.
    pub(crate) fn desired_side(&mut self, index: usize) -> &mut TwinProperty {
        self.keep(index);
        let property = &mut self.twin.properties[index];
        property.desired_pv = self.rev;
        property
    }

    /// The property at `index`, for a change of its reported side; the caller sets its `pv`.
    pub(crate) fn reported_side(&mut self, index: usize) -> &mut TwinProperty {
        self.keep(index);
        &mut self.twin.properties[index]
    }

    /// The device is in `state` for `reason`. Said again without a reason, the known one still holds.
    pub(crate) fn set_state(
        &mut self,
        state: DeviceState,
        reason: Option<Arc<str>>,
        now: Timestamp,
    ) {
        let known = &self.twin.condition;
        let moved = state != known.state;
        if moved || reason.is_some() && reason != known.reason {
            let since = if moved { now } else { known.since };
            let problem = known.problem.clone();
            self.set_condition(Condition { state, since, reason, problem });
        }
    }

    /// The mapper refuses the device's description, or no longer does.
    pub(crate) fn set_problem(&mut self, problem: Option<Arc<str>>) {
        let known = &self.twin.condition;
        if problem != known.problem {
            self.set_condition(Condition { problem, ..known.clone() });
        }
    }

    fn set_condition(&mut self, condition: Condition) {
        let former = std::mem::replace(&mut self.twin.condition, condition);
        self.condition_before.get_or_insert(former);
    }

    /// Something happens to this twin at `time` by the steady clock: look at it then at the latest.
    pub(crate) fn check_at(&mut self, time: Timestamp) {
        let sooner = self.twin.check_at.is_none_or(|at| time < at);
        if sooner {
            self.twin.check_at = Some(time);
        }
    }

    fn keep(&mut self, index: usize) {
        let property = &self.twin.properties[index];
        let touched = property.desired_pv == self.rev
            || property.reported.as_ref().is_some_and(|reported| reported.pv == self.rev);
        if !touched {
            self.before.push((index, property.clone()));
        }
    }

    /// Takes the revision, if anything changed.
    pub(crate) fn finish(self) -> Option<Change> {
        let Self { twin, rev, mut before, condition_before } = self;
        let condition = condition_before
            .filter(|old| *old != twin.condition)
            .map(|old| (old, twin.condition.clone()));
        if before.is_empty() && condition.is_none() {
            return None;
        }
        twin.rev = rev;
        before.sort_unstable_by_key(|(index, _)| *index);
        let mut delta_changed = false;
        let properties = before
            .into_iter()
            .map(|(index, old)| {
                let property = &twin.device.properties[index];
                let new = twin.properties[index].clone();
                delta_changed |= old.wanted_generation(property) != new.wanted_generation(property);
                PropertyChange { name: property.name.clone(), old: Some(old), new: Some(new) }
            })
            .collect();
        Some(Change {
            device: twin.device.clone(),
            uid: twin.uid.clone(),
            rev,
            kind: ChangeKind::Updated,
            condition,
            properties,
            delta_changed,
        })
    }
}
