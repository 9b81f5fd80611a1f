//! The rules once more, apart from the crate: plain integers, no revisions per side.

use std::collections::BTreeMap;

use device_model::{AckCode, DeviceState, Quality, QualityCode};

use super::step::{LOST, NAMES, Step, TOO_MUCH};

const STALE_AFTER: i64 = 10;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reported {
    pub(super) value: Option<i64>,
    pub(super) quality: Quality,
    pub(super) code: QualityCode,
    pub(super) sampled: i64,
    pub(super) received: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Desired {
    pub(super) value: i64,
    pub(super) generation: u64,
    pub(super) expires: Option<i64>,
    pub(super) from_manifest: bool,
    /// Code, and when.
    pub(super) ack: Option<(AckCode, i64)>,
    /// The clock said so, not the mapper.
    pub(super) by_clock: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Property {
    pub(super) reported: Option<Reported>,
    pub(super) desired: Option<Desired>,
    pub(super) highest: u64,
    pub(super) manifest: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Device {
    pub(super) rev: u64,
    pub(super) state: DeviceState,
    /// When it came about, and why.
    pub(super) since: i64,
    pub(super) reason: Option<&'static str>,
    pub(super) problem: Option<&'static str>,
    pub(super) properties: BTreeMap<&'static str, Property>,
}

/// What the twins should be.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) device: Option<Device>,
    pub(super) now: i64,
    pub(super) opened: i64,
}

/// Rule R15, written out.
fn leads_forwards(from: Option<AckCode>, to: AckCode) -> bool {
    use AckCode::{Applied, Applying, DeviceError, OwnValue, Received, Unreachable, Verified};
    match from {
        None | Some(Received) => true,
        Some(Applying) => to != Received,
        Some(Unreachable) => to != Received,
        Some(Applied) => matches!(to, Applied | Verified | OwnValue | DeviceError),
        Some(last) => last == to,
    }
}

fn succeeded(code: AckCode) -> bool {
    matches!(code, AckCode::Applied | AckCode::Verified)
}

fn is_final(code: AckCode) -> bool {
    !matches!(code, AckCode::Received | AckCode::Applying | AckCode::Unreachable)
}

impl Property {
    fn shows(&self, wanted: i64) -> bool {
        let reported = self.reported.as_ref().filter(|one| one.quality != Quality::Bad);
        reported.is_some_and(|one| one.value == Some(wanted))
    }

    pub(super) fn settled(&self) -> bool {
        self.desired.as_ref().is_none_or(|one| one.ack.is_some_and(|(code, _)| is_final(code)))
    }

    pub(super) fn in_sync(&self) -> bool {
        let Some(desired) = &self.desired else { return true };
        let (Some((code, time)), Some(reported)) = (desired.ack, &self.reported) else {
            return false;
        };
        succeeded(code)
            && self.shows(desired.value)
            && (code == AckCode::Verified || reported.sampled >= time)
    }

    pub(super) fn in_delta(&self) -> bool {
        self.desired.as_ref().is_some_and(|one| {
            let refused = one.ack.is_some_and(|(code, _)| is_final(code) && !succeeded(code));
            !refused && !self.shows(one.value)
        })
    }

    fn read(&mut self, name: &str, value: Option<i64>, sampled: i64, now: i64) {
        if let Some(old) = &self.reported
            && sampled < old.sampled
            && old.sampled <= now
        {
            return;
        }
        let kept = self.reported.as_ref().and_then(|old| old.value);
        let (quality, code) = match value {
            None => (Quality::Bad, QualityCode::Timeout),
            Some(TOO_MUCH) if name == "speed" => (Quality::Uncertain, QualityCode::OutOfRange),
            Some(_) => (Quality::Good, QualityCode::Ok),
        };
        let value = value.or(kept);
        self.reported = Some(Reported { value, quality, code, sampled, received: now });
    }

    fn acknowledge(&mut self, generation: u64, code: AckCode, time: i64) {
        let Some(desired) = &mut self.desired else { return };
        let known = desired.ack.map(|(code, _)| code);
        if desired.generation == generation && leads_forwards(known, code) {
            if known != Some(code) {
                desired.ack = Some((code, time));
            }
            desired.by_clock = false;
        }
    }

    fn desire(&mut self, value: Option<i64>, expires: Option<i64>, from_manifest: bool) {
        let Some(value) = value else {
            self.desired = None;
            return;
        };
        let standing = !self.settled() || self.in_sync();
        match &mut self.desired {
            Some(current) if current.value == value && standing => current.expires = expires,
            _ => {
                self.highest += 1;
                let generation = self.highest;
                self.desired = Some(Desired {
                    value,
                    generation,
                    expires,
                    from_manifest,
                    ack: None,
                    by_clock: false,
                });
            }
        }
    }

    /// What a reader of the twin sees, times of readings aside. The manifest is part of the description.
    fn seen(&self) -> impl PartialEq + use<> {
        let reported = self.reported.as_ref().map(|one| (one.value, one.quality, one.code));
        (reported, self.desired.clone(), self.manifest)
    }
}

impl Device {
    fn property(&mut self, at: usize) -> &mut Property {
        self.properties.get_mut(NAMES[at]).unwrap()
    }

    fn step(&mut self, step: &Step, now: i64) -> bool {
        match *step {
            Step::Read { property: at, value, late } => {
                let sampled = if late { now - 100 } else { now };
                self.property(at).read(NAMES[at], value, sampled, now);
            }
            Step::Ack { property: at, back, code, with_reading } => {
                let property = self.property(at);
                let generation = property.highest.saturating_sub(back);
                if let Some(value) = with_reading {
                    property.read(NAMES[at], Some(value), now, now);
                }
                property.acknowledge(generation, code, now);
            }
            Step::Echo { property: at, value } => {
                if let Some(desired) = &mut self.property(at).desired
                    && desired.value == value
                    && desired.ack.is_none()
                {
                    desired.ack = Some((AckCode::Received, now));
                }
            }
            Step::Desire { property: at, value, life } => {
                if at == 0 && value == Some(TOO_MUCH) {
                    return false;
                }
                self.property(at).desire(value, life.map(|life| now + life), false);
            }
            Step::DesireTwo { value, other } => {
                if value == TOO_MUCH {
                    return false;
                }
                self.property(0).desire(Some(value), None, false);
                self.property(1).desire(Some(other), None, false);
            }
            Step::State(state, reason) => {
                if state != self.state {
                    (self.state, self.since, self.reason) = (state, now, reason);
                } else if reason.is_some() {
                    self.reason = reason;
                }
            }
            Step::Judge(problem) => self.problem = problem,
            Step::Lose if self.state == DeviceState::Unknown => {}
            Step::Lose => (self.state, self.since, self.reason) = (DeviceState::Unknown, now, LOST),
            Step::Load(_) | Step::Remove | Step::Wait(_) | Step::Restart => {}
        }
        true
    }
}

impl Model {
    /// Whether the step is accepted.
    pub(super) fn step(&mut self, step: &Step) -> bool {
        let before = self.device.clone();
        // No two steps share a moment: a refresh within the millisecond of a write is not written.
        self.now += 1;
        let now = self.now;
        let accepted = match (step, &mut self.device) {
            (Step::Wait(seconds), _) => {
                self.now += seconds;
                self.tick();
                true
            }
            (Step::Restart, _) => {
                self.opened = now;
                true
            }
            (Step::Load(speed), _) => {
                self.load(*speed);
                true
            }
            // Losing what is not there harms nobody.
            (step, None) => return matches!(step, Step::Lose),
            (Step::Remove, _) => {
                self.device = None;
                true
            }
            (step, Some(device)) => device.step(step, now),
        };
        self.count(before.as_ref());
        accepted
    }

    fn load(&mut self, speed: Option<i64>) {
        let mut device = self.device.take().unwrap_or_else(|| Device {
            rev: 0,
            state: DeviceState::Unknown,
            since: self.now,
            reason: Some("nothing was heard of it yet"),
            problem: None,
            properties: NAMES.iter().map(|name| (*name, Property::default())).collect(),
        });
        let property = device.properties.get_mut("speed").unwrap();
        if property.manifest != speed {
            property.manifest = speed;
            let from_manifest = property.desired.as_ref().is_some_and(|one| one.from_manifest);
            if speed.is_some() || from_manifest {
                property.desire(speed, None, true);
            }
        }
        self.device = Some(device);
    }

    fn tick(&mut self) {
        let (now, opened) = (self.now, self.opened);
        for property in self.device.iter_mut().flat_map(|device| device.properties.values_mut()) {
            if !property.settled()
                && let Some(desired) = &mut property.desired
                && desired.expires.is_some_and(|time| time <= now)
            {
                (desired.ack, desired.by_clock) = (Some((AckCode::Expired, now)), true);
            }
            if let Some(reported) = &mut property.reported
                && reported.quality != Quality::Bad
                && reported.received.max(opened) + STALE_AFTER <= now
            {
                (reported.quality, reported.code) = (Quality::Uncertain, QualityCode::Stale);
            }
        }
    }

    /// Gives the revision.
    fn count(&mut self, before: Option<&Device>) {
        let (Some(after), seen) = (&mut self.device, |device: &Device| {
            let properties = device.properties.values();
            (
                device.state,
                device.reason,
                device.problem,
                properties.map(Property::seen).collect::<Vec<_>>(),
            )
        }) else {
            return;
        };
        let changed = before.is_none_or(|before| seen(before) != seen(after));
        after.rev = before.map_or(0, |before| before.rev) + u64::from(changed);
    }
}
