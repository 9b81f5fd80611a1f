//! The rules against a small model of them, over random histories with restarts.
//!
//! The model is written apart from the crate: plain integers, no revisions per side, every rule spelled out once more.

use std::collections::BTreeMap;

use device_model::{Ack, AckCode, DeviceState, Generation, Quality, QualityCode, Reading, Value};
use device_twin::{
    Change, ChangeKind, Command, Desire, PropertyReport, Report, Settings, Twin, Twins, Uid, Writer,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::fixture::{InFile, InMemory, Place, at, pump, pump_id, pump_wanting};

const NAMES: [&str; 3] = ["speed", "locked", "patient"];
/// `speed` accepts 0 to 3000.
const TOO_MUCH: i64 = 5000;
const STALE_AFTER: i64 = 10;

#[derive(Clone, Debug)]
enum Step {
    /// The manifest is read, with or without a desired speed.
    Load(Option<i64>),
    Remove,
    Read {
        property: usize,
        value: Option<i64>,
        late: bool,
    },
    Ack {
        property: usize,
        back: u64,
        code: AckCode,
        with_reading: Option<i64>,
    },
    Echo {
        property: usize,
        value: i64,
    },
    Desire {
        property: usize,
        value: Option<i64>,
        life: Option<i64>,
    },
    DesireTwo {
        value: i64,
        other: i64,
    },
    State(DeviceState, Option<&'static str>),
    Lose,
    Judge(Option<&'static str>),
    Wait(i64),
    Restart,
}

/// Why a device is in its state.
const REASONS: [&str; 2] = ["connection refused", "no answer"];
/// What is wrong with a description.
const PROBLEMS: [&str; 2] = ["port: missing", "port: too large"];
const LOST: Option<&str> = Some("its mapper is gone");

fn step() -> impl Strategy<Value = Step> {
    let property = 0..NAMES.len();
    let value = || prop_oneof![8 => 0..4_i64, 1 => Just(TOO_MUCH)];
    let state = prop_oneof![Just(DeviceState::Online), Just(DeviceState::Offline)];
    prop_oneof![
        2 => prop::option::of(0..4_i64).prop_map(Step::Load),
        1 => Just(Step::Remove),
        6 => (property.clone(), prop::option::weighted(0.8, value()), prop::bool::weighted(0.1))
            .prop_map(|(property, value, late)| Step::Read { property, value, late }),
        5 => (property.clone(), 0..2_u64, prop::sample::select(&AckCode::ALL[..]), prop::option::of(0..4_i64))
            .prop_map(|(property, back, code, with_reading)| Step::Ack { property, back, code, with_reading }),
        2 => (property.clone(), 0..4_i64).prop_map(|(property, value)| Step::Echo { property, value }),
        5 => (property, prop::option::weighted(0.8, value()), prop::option::weighted(0.3, 1..8_i64))
            .prop_map(|(property, value, life)| Step::Desire { property, value, life }),
        1 => (value(), value()).prop_map(|(value, other)| Step::DesireTwo { value, other }),
        2 => (state, prop::option::of(prop::sample::select(&REASONS[..])))
            .prop_map(|(state, reason)| Step::State(state, reason)),
        1 => Just(Step::Lose),
        1 => prop::option::of(prop::sample::select(&PROBLEMS[..])).prop_map(Step::Judge),
        3 => (0..12_i64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Reported {
    value: Option<i64>,
    quality: Quality,
    code: QualityCode,
    sampled: i64,
    received: i64,
}

#[derive(Clone, Debug, PartialEq)]
struct Desired {
    value: i64,
    generation: u64,
    expires: Option<i64>,
    from_manifest: bool,
    /// Code, and when.
    ack: Option<(AckCode, i64)>,
    /// The clock said so, not the mapper.
    by_clock: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Property {
    reported: Option<Reported>,
    desired: Option<Desired>,
    highest: u64,
    manifest: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Device {
    rev: u64,
    state: DeviceState,
    /// When it came about, and why.
    since: i64,
    reason: Option<&'static str>,
    problem: Option<&'static str>,
    properties: BTreeMap<&'static str, Property>,
}

/// What the twins should be.
#[derive(Clone, Debug, Default)]
struct Model {
    device: Option<Device>,
    now: i64,
    opened: i64,
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

    fn settled(&self) -> bool {
        self.desired.as_ref().is_none_or(|one| one.ack.is_some_and(|(code, _)| is_final(code)))
    }

    fn in_sync(&self) -> bool {
        let Some(desired) = &self.desired else { return true };
        let (Some((code, time)), Some(reported)) = (desired.ack, &self.reported) else {
            return false;
        };
        succeeded(code)
            && self.shows(desired.value)
            && (code == AckCode::Verified || reported.sampled >= time)
    }

    fn in_delta(&self) -> bool {
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
    fn step(&mut self, step: &Step) -> bool {
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

/// The twins under test, and what they said so far.
struct Real<P: Place> {
    twins: Option<Twins<P::Store>>,
    place: P,
    device: std::sync::Arc<device_model::Device>,
    revs: BTreeMap<Uid, u64>,
}

impl<P: Place> Real<P> {
    fn at(place: P) -> Self {
        let mut real = Self { twins: None, place, device: pump(), revs: BTreeMap::new() };
        real.open(0);
        real
    }

    fn open(&mut self, now: i64) {
        if let Some(twins) = self.twins.take() {
            self.place.close(twins.into_store());
        }
        let store = self.place.open();
        // Refreshes are written at once, so that a restart forgets no time of a reading.
        let settings =
            Settings { refresh_persist: std::time::Duration::ZERO, ..Settings::default() };
        self.twins = Some(Twins::open(store, settings, at(now)).unwrap());
    }

    fn twins(&mut self) -> &mut Twins<P::Store> {
        self.twins.as_mut().unwrap()
    }

    fn twin(&self) -> Option<&Twin> {
        self.twins.as_ref().unwrap().get(&pump_id())
    }

    fn step(&mut self, step: &Step, now: i64) -> bool {
        let time = at(now);
        let report = Report::of(pump_id());
        let highest = |at: usize| {
            let property = self.twin().and_then(|twin| twin.property(NAMES[at]));
            property.map_or(0, |(_, state)| state.generation.0)
        };
        let command = match *step {
            Step::Load(speed) => {
                self.device = speed.map_or_else(pump, |speed| pump_wanting(&speed.to_string()));
                Command::Load(self.device.clone())
            }
            Step::Remove => Command::Remove(pump_id()),
            Step::Read { property, value, late } => {
                let sampled = at(if late { now - 100 } else { now });
                let reading = match value {
                    Some(value) => Reading::good(Value::Int(value), sampled),
                    None => Reading::bad(QualityCode::Timeout, sampled),
                };
                Command::Report(report.with(PropertyReport::reading(NAMES[property], reading)))
            }
            Step::Ack { property, back, code, with_reading } => {
                let generation = Generation(highest(property).saturating_sub(back));
                let ack = Ack { generation, code, detail: String::new() };
                let mut one = PropertyReport::ack(NAMES[property], ack);
                one.reading =
                    with_reading.map(|value| Reading::good(Value::Int(value), time).into());
                Command::Report(report.with(one))
            }
            Step::Echo { property, value } => Command::Report(
                report.with(PropertyReport::echo(NAMES[property], value.to_string())),
            ),
            Step::Desire { property, value, life } => {
                let desire = Desire::of(pump_id(), Writer::local("model"));
                let mut desire = match value {
                    Some(value) => desire.with(NAMES[property], value.to_string()),
                    None => desire.without(NAMES[property]),
                };
                desire.expires_at = life.map(|life| at(now + life));
                Command::Desire(desire)
            }
            Step::DesireTwo { value, other } => Command::Desire(
                Desire::of(pump_id(), Writer::local("model"))
                    .with(NAMES[0], Value::Int(value))
                    .with(NAMES[1], Value::Int(other)),
            ),
            Step::State(state, reason) => {
                let mut report = report.with_state(state);
                report.reason = reason.map(Into::into);
                Command::Report(report)
            }
            Step::Lose => Command::Lose { devices: vec![pump_id()], reason: LOST.unwrap().into() },
            Step::Judge(problem) => {
                Command::Judge { device: pump_id(), problem: problem.map(Into::into) }
            }
            Step::Wait(_) => Command::Tick,
            Step::Restart => {
                self.restart(now);
                return true;
            }
        };
        let is_report = matches!(command, Command::Report(_));
        let outcome = self.twins().apply(vec![command], time).unwrap().remove(0);
        for change in &outcome.changes {
            self.counted(change);
            if is_report {
                assert!(change.properties.iter().all(|one| !one.desired_changed()));
            }
        }
        outcome.result.is_ok_and(|answer| answer.refused.is_empty())
    }

    /// Each change of a life has the next revision; a life starts at one.
    fn counted(&mut self, change: &Change) {
        let last = self.revs.get(&change.uid).copied().unwrap_or(0);
        assert_eq!(change.rev, last + 1, "{:?}", change.kind);
        assert_eq!(change.kind == ChangeKind::Added, last == 0);
        self.revs.insert(change.uid.clone(), change.rev);
    }

    /// Opens the file again: nothing but the description must be told to it.
    fn restart(&mut self, now: i64) {
        let before = self.twin().cloned();
        self.open(now);
        if let Some(before) = before {
            let load = Command::Load(self.device.clone());
            let outcome = self.twins().apply(vec![load], at(now)).unwrap().remove(0);
            assert!(outcome.changes.is_empty(), "a restart is no change");
            let after = self.twin().unwrap();
            assert_eq!((before.rev(), before.uid()), (after.rev(), after.uid()));
            assert_eq!(before.condition(), after.condition());
            for ((_, before), (_, after)) in before.properties().zip(after.properties()) {
                assert_eq!(before, after);
            }
        } else {
            assert_eq!(self.twins().parked().len(), 0);
        }
    }
}

fn compare<P: Place>(model: &Model, real: &Real<P>) {
    let (Some(device), Some(twin)) = (&model.device, real.twin()) else {
        assert_eq!(model.device.is_some(), real.twin().is_some());
        return;
    };
    let condition = twin.condition();
    assert_eq!((twin.rev(), condition.state), (device.rev, device.state));
    assert_eq!(condition.problem.as_deref(), device.problem);
    assert_eq!((condition.since, condition.reason.as_deref()), (at(device.since), device.reason));
    for (name, expected) in &device.properties {
        let (property, state) = twin.property(name).unwrap();
        let reported = state.reported.as_ref().map(|one| Reported {
            value: one.value.as_ref().map(|value| match value {
                Value::Int(number) => *number,
                other => panic!("{other:?}"),
            }),
            quality: one.quality,
            code: one.code,
            sampled: one.sample_time.since(at(0)).as_secs().try_into().unwrap(),
            received: one.received_at.since(at(0)).as_secs().try_into().unwrap(),
        });
        assert_eq!(reported, expected.reported, "{name}");
        let desired = state.desired.as_ref().map(|one| {
            let expected = expected.desired.as_ref().unwrap();
            assert_eq!(one.value, Value::Int(expected.value), "{name}");
            assert_eq!(one.expires_at, expected.expires.map(at), "{name}");
            assert_eq!(one.writer == Writer::Manifest, expected.from_manifest, "{name}");
            let ack = state.ack.as_ref().map(|ack| {
                assert_eq!(ack.generation, one.generation);
                (ack.code, ack.at)
            });
            assert_eq!(ack, expected.ack.map(|(code, time)| (code, at(time))), "{name}");
            one.generation.0
        });
        assert_eq!(desired, expected.desired.as_ref().map(|one| one.generation), "{name}");
        assert_eq!(state.generation.0, expected.highest);
        assert_eq!(state.settled(), expected.settled(), "{name}");
        assert_eq!(state.in_sync(property), expected.in_sync(), "{name}");
        let in_delta = twin.delta().any(|one| one.name.as_str() == *name);
        assert_eq!(in_delta, expected.in_delta(), "{name}");
    }
}

fn follow(steps: &[Step], place: impl Place) -> Result<(), TestCaseError> {
    // Readings may be 100 s late.
    let mut model = Model { now: 1000, opened: 0, ..Model::default() };
    let mut real = Real::at(place);
    for step in steps {
        let accepted = model.step(step);
        prop_assert_eq!(real.step(step, model.now), accepted, "{:?}", step);
        compare(&model, &real);
    }
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    let more = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = more.unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_twins_follow_the_model_through_any_history(steps in prop::collection::vec(step(), 1..80)) {
        follow(&steps, InMemory::default())?;
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn the_twins_follow_the_model_over_a_file_that_is_closed_and_opened(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        follow(&steps, InFile::new())?;
    }
}
