//! What somebody wants: all of a request or nothing of it.

use std::sync::Arc;

use device_model::{Access, Ack, AckCode, Generation, LocalOverride, Timestamp, Value};

use crate::draft::{Draft, LAST_VERSION, Moment};
use crate::report::{acknowledge, typed};
use crate::{
    Change, Current, Desire, DesireProperty, Desired, Owner, Refused, Rejected, Twin, Writer,
};

/// One property's part of a request, checked.
struct Wish {
    at: usize,
    value: Option<Value>,
    cloud_version: Option<u64>,
}

impl Twin {
    /// Checks all of `desire`, then takes all of it.
    ///
    /// # Errors
    /// Any part of it may not be; nothing is changed then (rule R6).
    pub(crate) fn desire(
        &mut self,
        desire: &Desire,
        moment: &mut Moment<'_>,
    ) -> Result<Option<Change>, Rejected> {
        let named = desire.properties.iter().map(|one| one.property.as_str());
        self.meant(desire.uid.as_ref(), desire.if_version, named, moment)?;
        let mut wishes = Vec::with_capacity(desire.properties.len());
        let mut refused = Vec::new();
        for (index, one) in desire.properties.iter().enumerate() {
            match self.check_wish(one, &desire.writer, moment) {
                Ok(wish) => wishes.push(wish),
                Err(reason) => {
                    refused.push(Refused { index, property: one.property.clone(), reason });
                }
            }
        }
        match refused.len() {
            0 => {}
            1 => return Err(refused.remove(0).reason),
            _ => return Err(Rejected::Several(refused)),
        }
        let mut draft = Draft::of(self)?;
        for wish in wishes {
            let expires_at = desire.expires_at;
            take(
                &mut draft,
                wish.at,
                wish.value,
                &desire.writer,
                expires_at,
                wish.cloud_version,
                moment,
            );
        }
        Ok(draft.finish())
    }

    fn check_wish(
        &self,
        wish: &DesireProperty,
        writer: &Writer,
        moment: &mut Moment<'_>,
    ) -> Result<Wish, Rejected> {
        let at = self.index(&wish.property).ok_or_else(|| self.unknown_property(&wish.property))?;
        let (property, state) = (&self.device.properties[at], &self.properties[at]);
        if property.access == Access::ReadOnly {
            return Err(Rejected::ReadOnly { property: property.name.clone() });
        }
        may_write(writer, property.options.local_override, moment.settings.owner).map_err(
            |reason| Rejected::NotOwner { property: wish.property.clone(), reason: reason.into() },
        )?;
        let generation = state.desired.as_ref().map_or(0, |desired| desired.generation.0);
        if let Some(expected) = wish.if_version.filter(|version| *version != generation) {
            moment.counters.conflicts += 1;
            let properties = vec![(property.name.clone(), state.clone())];
            let current = Box::new(Current { rev: self.rev, properties });
            return Err(Rejected::Conflict { expected, current });
        }
        if wish.cloud_version.is_some_and(|version| version < state.cloud_version) {
            return Err(Rejected::Stale { what: format!("this value of {}", property.name) });
        }
        let highest = wish.cloud_version.unwrap_or(0).max(state.generation.0);
        if highest >= LAST_VERSION {
            return Err(Rejected::Exhausted(self.device.id.clone()));
        }
        let value = match &wish.value {
            None => None,
            Some(given) => {
                let value = typed(property, given, moment)?;
                property.accepts(&value).map_err(|reason| Rejected::Invalid {
                    property: wish.property.clone(),
                    reason: format!("{value} is {reason}"),
                })?;
                self.has_room(at, &value, moment)?;
                Some(value)
            }
        };
        Ok(Wish { at, value, cloud_version: wish.cloud_version })
    }
}

/// Rules R10 and R11.
fn may_write(writer: &Writer, policy: LocalOverride, owner: Owner) -> Result<(), &'static str> {
    match (owner, writer) {
        (Owner::Node, Writer::Cloud) => {
            Err("this node owns desired values; join it to a cloud before one writes to it")
        }
        (Owner::Cloud, Writer::Manifest) => {
            Err("the cloud owns desired values; change the Device there")
        }
        (Owner::Cloud, Writer::Local(_)) if policy == LocalOverride::Deny => {
            Err("localOverride is deny; change the Device in the cloud")
        }
        _ => Ok(()),
    }
}

/// Makes `value` what is desired, as far as that is news.
pub(crate) fn take(
    draft: &mut Draft<'_>,
    at: usize,
    value: Option<Value>,
    writer: &Writer,
    expires_at: Option<Timestamp>,
    cloud_version: Option<u64>,
    moment: &Moment<'_>,
) {
    let state = &draft.twin().properties[at];
    if *writer == Writer::Cloud && is_repeated(state, value.as_ref(), cloud_version, moment) {
        return;
    }
    let overriding = matches!(writer, Writer::Local(_)) && moment.settings.owner == Owner::Cloud;
    let overridden = state.desired.as_ref().is_some_and(|desired| desired.is_override(moment));
    if overriding && value.is_none() {
        if overridden {
            end_override(draft, at, moment);
        }
        return;
    }
    let expires_at = match expires_at {
        None if overriding => Some(moment.now.plus(moment.settings.override_life)),
        given => given,
    };
    if *writer == Writer::Cloud && overridden {
        let policy = draft.twin().device.properties[at].options.local_override;
        take_beneath(draft, at, value, cloud_version, policy, moment);
        return;
    }
    let Some(value) = value else {
        if state.desired.is_none() {
            note_cloud_version(&mut draft.quietly().properties[at], cloud_version);
            return;
        }
        let state = draft.desired_side(at);
        note_cloud_version(state, cloud_version);
        (state.desired, state.ack) = (None, None);
        return;
    };
    if let Some(time) = expires_at {
        draft.check_at(moment.clocks.when(time));
    }
    let state = &draft.twin().properties[at];
    if let Some(current) = state.desired.as_ref().filter(|current| current.value.same_as(&value)) {
        let property = &draft.twin().device.properties[at];
        // Under way, or there already: it needs no other write. After a failure or a drift it does.
        let standing = !state.settled() || state.in_sync(property);
        let same_side = overriding == overridden;
        if standing && same_side {
            let newer = cloud_version.is_some_and(|new| Some(new) != current.cloud_version);
            if newer || current.expires_at != expires_at {
                let cloud_version = cloud_version.or(current.cloud_version);
                let renewed = Desired { expires_at, cloud_version, ..Desired::clone(current) };
                let state = draft.desired_side(at);
                note_cloud_version(state, cloud_version);
                state.desired = Some(Arc::new(renewed));
            }
            return;
        }
    }
    let state = draft.desired_side(at);
    if overriding && !overridden {
        state.beneath = state.desired.take();
    }
    note_cloud_version(state, cloud_version);
    let desired = Desired {
        value,
        generation: next_generation(state.generation, cloud_version),
        set_at: moment.now,
        writer: writer.clone(),
        expires_at,
        cloud_version,
    };
    state.generation = desired.generation;
    state.desired = Some(Arc::new(desired));
    state.ack = None;
}

/// Whether the cloud says again what it said last. An agent tells all that it knows of the cloud at each start: that ends
/// no override, and is no reason to write a second time.
fn is_repeated(
    state: &crate::TwinProperty,
    value: Option<&Value>,
    cloud_version: Option<u64>,
    moment: &Moment<'_>,
) -> bool {
    let overridden = state.desired.as_ref().is_some_and(|desired| desired.is_override(moment));
    let known = if overridden { &state.beneath } else { &state.desired };
    let same_value = match (known, value) {
        (Some(known), Some(value)) => known.value.same_as(value),
        (None, None) => true,
        _ => false,
    };
    same_value && state.cloud_version > 0 && cloud_version == Some(state.cloud_version)
}

/// The cloud wants something while a local override lives.
fn take_beneath(
    draft: &mut Draft<'_>,
    at: usize,
    value: Option<Value>,
    cloud_version: Option<u64>,
    policy: LocalOverride,
    moment: &Moment<'_>,
) {
    let state = draft.desired_side(at);
    note_cloud_version(state, cloud_version);
    state.beneath = value.map(|value| {
        Arc::new(Desired {
            value,
            // It takes its number when it comes to count.
            generation: Generation(0),
            set_at: moment.now,
            writer: Writer::Cloud,
            expires_at: None,
            cloud_version,
        })
    });
    if policy != LocalOverride::UntilExpiry {
        end_override(draft, at, moment);
    }
}

/// What the cloud wants counts again, with a number of its own, so that a mapper writes it.
fn end_override(draft: &mut Draft<'_>, at: usize, moment: &Moment<'_>) {
    let state = draft.desired_side(at);
    state.ack = None;
    state.desired = state.beneath.take().map(|beneath| {
        let generation = next_generation(state.generation, beneath.cloud_version);
        state.generation = generation;
        Arc::new(Desired { generation, set_at: moment.now, ..Desired::clone(&beneath) })
    });
}

/// What expires at or before now (rules R11 and R14); returns when to look at this property again,
/// by the steady clock.
pub(crate) fn expire(draft: &mut Draft<'_>, at: usize, moment: &Moment<'_>) -> Option<Timestamp> {
    let state = &draft.twin().properties[at];
    let desired = state.desired.as_ref()?;
    let expires_at = desired.expires_at?;
    let over = desired.is_override(moment);
    if !over && state.settled() {
        return None;
    }
    if !moment.clocks.is_over(expires_at) {
        return Some(moment.clocks.when(expires_at));
    }
    if over {
        end_override(draft, at, moment);
        return None;
    }
    let (generation, code) = (desired.generation, AckCode::Expired);
    let ack = Ack { generation, code, detail: "not written in time".into() };
    acknowledge(draft, at, &ack, moment.now);
    None
}

fn note_cloud_version(state: &mut crate::TwinProperty, version: Option<u64>) {
    state.cloud_version = state.cloud_version.max(version.unwrap_or(0));
}

/// The cloud's number, where it leads upwards; else the next of ours.
fn next_generation(highest: Generation, cloud_version: Option<u64>) -> Generation {
    let next = highest.next();
    cloud_version.map_or(next, |version| next.max(Generation(version)))
}

impl Desired {
    /// Whether this stands over what the cloud wants, and ends.
    fn is_override(&self, moment: &Moment<'_>) -> bool {
        moment.settings.owner == Owner::Cloud && matches!(self.writer, Writer::Local(_))
    }
}
