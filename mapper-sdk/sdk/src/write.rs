//! The write contract of one property (rules R14 to R20), without wire and clock.
//!
//! ```text
//! desired ─102→ Write ─202→ on the wire ─ok→ Verify ─equal→ 209, else after four looks 203
//!                 ↑              │ └ refused → 400 403 404 500      └ cannot be read → 200
//!                 │              └ no answer → at most once: 500 unknown outcome
//!                 └─ differs ─ ReadFirst ←─424┘ else: look first, then once more; 504 after three
//! ```
//!
//! A pulse (`atMostOnce`) is announced first: it waits until the agent has recorded 202. So a process that comes after a
//! kill knows that it may have been written, and that one without 202 was not. Of other values it cannot tell, and
//! looks.
//!
//! A value is written once per generation. A newer one takes the place of one that waits (409). While the device
//! cannot be reached the value waits (424), for ever. That holds for the read-back too, so that 200 is said only
//! where none will follow. Codes move forward only.

use std::time::Duration;

use device_model::{Ack, AckCode, Desire, Generation, PropertyOptions, Timestamp, Value};

use dmi::convert::DesiredWords;
use dmi::trace::TraceId;

use crate::driver::{PropertyFault, ReadResult};

#[cfg(test)]
mod tests;

/// A desired value on its way to a property.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) value: Value,
    pub(crate) generation: Generation,
    /// Tells two desires of a peer apart that numbers none.
    pub(crate) set_at: Option<Timestamp>,
    pub(crate) known: Known,
    /// Which change it is, for logs.
    pub(crate) trace: Option<TraceId>,
}

/// What was known about a desired value before it came to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is new.
    New,
    /// The agent holds this acknowledgement.
    Acked(AckCode),
    /// It came with a registration, from an agent that keeps no acknowledgements: it may be written already.
    Untold,
}

/// Whether a desired value came with a registration, that is, from before this mapper's time, or as an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Registration,
    Update,
}

impl Wanted {
    /// Reads the desired value that the agent sent. Where the agent gives no version, a new value or a new time is
    /// a new generation, numbered here; `before` is what this mapper held until now.
    pub(crate) fn read(desire: &Desire, before: Option<&Self>, origin: Origin) -> Self {
        let DesiredWords { generation, set_at, ack, trace, .. } =
            DesiredWords::read(&desire.metadata);
        let value = desire.value.clone();
        if let Some(generation) = generation {
            let known = match ack {
                Some((acked, code)) if acked == generation => Known::Acked(code),
                _ => Known::New,
            };
            return Self { value, generation, set_at, known, trace };
        }
        match before {
            Some(before) if before.value.same_as(&value) && before.set_at == set_at => {
                before.clone()
            }
            Some(before) => {
                let (generation, known) = (before.generation.next(), Known::New);
                Self { value, generation, set_at, known, trace }
            }
            None => {
                let known = match origin {
                    Origin::Registration => Known::Untold,
                    Origin::Update => Known::New,
                };
                Self { value, generation: Generation(1), set_at, known, trace }
            }
        }
    }
}

/// What the property's turn on the wire is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Tell the agent, then [`Writer::announced`].
    Announce,
    /// Write this value.
    Write(Value),
    /// Read the property back and tell [`Writer::read_back`].
    ReadBack,
}

/// Whether the property needs a turn on the wire, and after how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    None,
    After(Duration),
}

const NOW: Turn = Turn::After(Duration::ZERO);
/// A device may need a moment to show what was written: when to look again.
const LOOKS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1_500)];
/// Writes sent without an answer before giving up.
const TRIES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be written.
    Write,
    /// A pulse to be told to the agent before it is written.
    Announce,
    /// It was told, and waits until the agent has recorded it.
    Announced { ticket: u64 },
    /// It was recorded: to be written.
    Cleared,
    /// Perhaps written: look, and write only if it differs.
    ReadFirst,
    /// Written: look whether the device shows it.
    Verify { looks: usize },
    /// Nothing more to do.
    Settled { success: bool },
}

#[derive(Debug)]
struct Current {
    wanted: Wanted,
    ack: Option<AckCode>,
    phase: Phase,
    tries: u32,
    /// The device went its own way since, and that was dealt with.
    drifted: bool,
    /// A lower number that came after this one.
    passed_over: Option<Generation>,
}

/// The desired value of one property, and how far it got.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    /// Apart, since most properties desire nothing.
    current: Option<Box<Current>>,
}

impl Writer {
    /// What the mapper acts on.
    pub(crate) fn wanted(&self) -> Option<&Wanted> {
        self.current.as_ref().map(|current| &current.wanted)
    }

    /// Takes what the agent desires now; nothing, if nobody desires anything any more.
    pub(crate) fn want(
        &mut self,
        wanted: Option<Wanted>,
        options: &PropertyOptions,
        acks: &mut Vec<Ack>,
    ) -> Turn {
        let Some(mut wanted) = wanted else {
            self.current = None;
            return Turn::None;
        };
        if let Some(current) = &mut self.current {
            let same = wanted.value.same_as(&current.wanted.value);
            // The agent never gives a number twice, unless it lost its store.
            let renumbered = current.is_outdone_by(&wanted);
            if !renumbered
                && (wanted.generation < current.wanted.generation
                    || (wanted.generation == current.wanted.generation && same))
            {
                return Turn::None;
            }
            if renumbered && wanted.known == Known::New {
                wanted.known = Known::Untold;
            }
            if !current.ack.is_some_and(AckCode::is_final) {
                let newer = wanted.generation;
                current.tell(AckCode::Superseded, format!("by generation {newer}"), acks);
            }
        }
        let first = self.current.is_none();
        let (phase, ack) = match wanted.known {
            // Nobody watched the device meanwhile: both may have been without power.
            Known::Acked(code)
                if code.is_success() && first && may_repeat(options.reapply, options) =>
            {
                (Phase::ReadFirst, Some(code))
            }
            Known::Acked(code) if code.is_final() => {
                (Phase::Settled { success: code.is_success() }, Some(code))
            }
            // A pulse that was not announced was not written.
            Known::Acked(code @ (AckCode::Received | AckCode::Unreachable))
                if options.at_most_once =>
            {
                (Phase::Announce, Some(code))
            }
            // An earlier process may have written it, and ended before it could say so.
            Known::Acked(code) => (Phase::ReadFirst, Some(code)),
            Known::New if options.at_most_once => (Phase::Announce, None),
            Known::New => (Phase::Write, None),
            Known::Untold => (Phase::ReadFirst, None),
        };
        let mut current =
            Current { wanted, ack, phase, tries: 0, drifted: false, passed_over: None };
        if ack.is_none() {
            current.tell(AckCode::Received, String::new(), acks);
        }
        if phase == Phase::ReadFirst && options.at_most_once {
            let detail = "unknown outcome: it may have been written already, and atMostOnce forbids \
                          a repetition";
            current.settle(AckCode::DeviceError, detail.into(), acks);
        }
        let turn = current.turn();
        self.current = Some(Box::new(current));
        turn
    }

    /// Whether `wanted` is to be passed over, though it is not what the mapper acts on: its number is a lower one,
    /// and it is no newer. Said once for each.
    pub(crate) fn passes_over(&mut self, wanted: &Wanted) -> bool {
        let Some(current) = &mut self.current else { return false };
        wanted.generation < current.wanted.generation
            && !current.is_outdone_by(wanted)
            && current.passed_over.replace(wanted.generation) != Some(wanted.generation)
    }

    /// What to do when the property has its turn.
    pub(crate) fn step(&mut self, acks: &mut Vec<Ack>) -> Option<Step> {
        let current = self.current.as_mut()?;
        match current.phase {
            Phase::Write | Phase::Cleared => {
                current.tell(AckCode::Applying, String::new(), acks);
                Some(Step::Write(current.wanted.value.clone()))
            }
            Phase::Announce => {
                current.tell(AckCode::Applying, String::new(), acks);
                Some(Step::Announce)
            }
            Phase::ReadFirst | Phase::Verify { .. } => Some(Step::ReadBack),
            Phase::Announced { .. } | Phase::Settled { .. } => None,
        }
    }

    /// The pulse is being told to the agent; `ticket` is for [`Writer::cleared`].
    pub(crate) fn announced(&mut self, ticket: u64) {
        if let Some(current) = &mut self.current {
            current.phase = Phase::Announced { ticket };
        }
    }

    /// The agent has recorded what was announced under `ticket`, or never will.
    pub(crate) fn cleared(&mut self, ticket: u64) -> Turn {
        match &mut self.current {
            Some(current) if current.phase == (Phase::Announced { ticket }) => {
                current.phase = Phase::Cleared;
                NOW
            }
            _ => Turn::None,
        }
    }

    /// The device took the value. `Turn::After(0)` asks for an immediate read-back.
    pub(crate) fn written(&mut self, options: &PropertyOptions, acks: &mut Vec<Ack>) -> Turn {
        let Some(current) = &mut self.current else { return Turn::None };
        current.tries = 0;
        if options.verify {
            current.phase = Phase::Verify { looks: 0 };
            NOW
        } else {
            current.settle(AckCode::Applied, String::new(), acks);
            Turn::None
        }
    }

    /// The device refused the value.
    pub(crate) fn refused(&mut self, fault: &PropertyFault, acks: &mut Vec<Ack>) {
        if let Some(current) = &mut self.current {
            current.settle(fault.ack_code(), fault.to_string(), acks);
        }
    }

    /// No answer came to a turn: to a write, if `sent`.
    pub(crate) fn unanswered(
        &mut self,
        options: &PropertyOptions,
        cause: &str,
        acks: &mut Vec<Ack>,
    ) -> Turn {
        let Some(current) = &mut self.current else { return Turn::None };
        match current.phase {
            Phase::Write | Phase::Cleared if options.at_most_once => {
                current.settle(AckCode::DeviceError, format!("unknown outcome: {cause}"), acks);
            }
            Phase::Write | Phase::Cleared => {
                current.tries += 1;
                if current.tries >= TRIES {
                    let detail = format!("no answer to {TRIES} writes: {cause}");
                    current.settle(AckCode::Timeout, detail, acks);
                } else {
                    current.phase = Phase::ReadFirst;
                    current.tell(AckCode::Unreachable, cause.into(), acks);
                }
            }
            Phase::ReadFirst => current.tell(AckCode::Unreachable, cause.into(), acks),
            // A later process must not take it for one that waits to be written.
            Phase::Verify { .. } if options.at_most_once => {
                current.settle(AckCode::Applied, format!("not read back: {cause}"), acks);
            }
            Phase::Verify { .. } => {
                let detail = format!("written, not read back yet: {cause}");
                current.tell(AckCode::Unreachable, detail, acks);
            }
            Phase::Announce | Phase::Announced { .. } | Phase::Settled { .. } => {}
        }
        current.turn()
    }

    /// The device cannot be reached: what waits says so, once.
    pub(crate) fn unreachable(&mut self, cause: &str, acks: &mut Vec<Ack>) {
        let Some(current) = &mut self.current else { return };
        match current.phase {
            Phase::Write | Phase::ReadFirst | Phase::Announce => {}
            // 424 says that it was not written, so it is announced once more.
            Phase::Announced { .. } | Phase::Cleared => current.phase = Phase::Announce,
            Phase::Verify { .. } | Phase::Settled { .. } => return,
        }
        if current.ack != Some(AckCode::Unreachable) {
            current.tell(AckCode::Unreachable, cause.into(), acks);
        }
    }

    /// What the device shows.
    pub(crate) fn read_back(
        &mut self,
        result: &ReadResult,
        options: &PropertyOptions,
        acks: &mut Vec<Ack>,
    ) -> Turn {
        let Some(current) = &mut self.current else { return Turn::None };
        let seen = match result {
            Ok(sample) => Ok(&sample.value),
            Err(fault) => Err(fault.to_string()),
        };
        match (current.phase, seen) {
            (Phase::ReadFirst | Phase::Verify { .. }, Ok(seen)) if current.shown(seen, options) => {
                current.drifted = false;
                current.settle(AckCode::Verified, String::new(), acks);
            }
            // It may never have been written, and cannot be looked at: writing again is what is left.
            (Phase::ReadFirst, _) => current.phase = Phase::Write,
            (Phase::Verify { .. }, Err(fault)) => {
                current.settle(AckCode::Applied, format!("not readable: {fault}"), acks);
            }
            (Phase::Verify { looks }, Ok(seen)) => match LOOKS.get(looks) {
                Some(wait) => {
                    current.phase = Phase::Verify { looks: looks + 1 };
                    return Turn::After(*wait);
                }
                None => {
                    current.settle(AckCode::OwnValue, format!("the device shows {seen}"), acks);
                }
            },
            // A look that was no longer asked for.
            (
                Phase::Write
                | Phase::Announce
                | Phase::Announced { .. }
                | Phase::Cleared
                | Phase::Settled { .. },
                _,
            ) => {}
        }
        current.turn()
    }

    /// A reading came. With `enforce` a drift from a value that the device had taken is written over, once.
    pub(crate) fn seen(&mut self, value: &Value, options: &PropertyOptions) -> Turn {
        let Some(current) = &mut self.current else { return Turn::None };
        if !may_repeat(options.enforce, options)
            || current.phase != (Phase::Settled { success: true })
        {
            return Turn::None;
        }
        if current.shown(value, options) {
            current.drifted = false;
            return Turn::None;
        }
        if std::mem::replace(&mut current.drifted, true) {
            return Turn::None;
        }
        current.phase = Phase::Write;
        current.tries = 0;
        NOW
    }

    /// The device is back after it could not be reached.
    pub(crate) fn back(&mut self, options: &PropertyOptions) -> Turn {
        let Some(current) = &mut self.current else { return Turn::None };
        if may_repeat(options.reapply, options)
            && current.phase == (Phase::Settled { success: true })
        {
            current.phase = Phase::ReadFirst;
            current.tries = 0;
        }
        current.turn()
    }
}

/// Whether `wish`, `enforce` or `reapply`, counts: a pulse is never repeated.
const fn may_repeat(wish: bool, options: &PropertyOptions) -> bool {
    wish && !options.at_most_once
}

impl Current {
    /// Whether `wanted` was desired later, under a number that was used up: an agent that lost its store, or went
    /// back to an old copy of it, begins to count anew.
    fn is_outdone_by(&self, wanted: &Wanted) -> bool {
        wanted.generation <= self.wanted.generation
            && matches!((wanted.set_at, self.wanted.set_at), (Some(new), Some(old)) if new > old)
    }

    fn turn(&self) -> Turn {
        match self.phase {
            Phase::Announced { .. } | Phase::Settled { .. } => Turn::None,
            _ => NOW,
        }
    }

    /// Acknowledges, unless that would be a step back (rule R15).
    fn tell(&mut self, code: AckCode, detail: String, acks: &mut Vec<Ack>) {
        if self.ack.is_none_or(|before| before.may_become(code) && (before != code)) {
            self.ack = Some(code);
            acks.push(Ack { generation: self.wanted.generation, code, detail });
        }
    }

    fn settle(&mut self, code: AckCode, detail: String, acks: &mut Vec<Ack>) {
        self.phase = Phase::Settled { success: code.is_success() };
        self.tell(code, detail, acks);
    }

    fn shown(&self, seen: &Value, options: &PropertyOptions) -> bool {
        seen.within(&self.wanted.value, options.tolerance)
    }
}
