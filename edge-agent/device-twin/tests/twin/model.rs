//! The rules against a small model of them, over random histories with restarts: [`step`] happens to both, [`expected`]
//! is the model, and this file compares.

mod expected;
mod step;

use std::collections::BTreeMap;

use device_model::{Ack, Generation, QualityCode, Reading, Value};
use device_twin::{
    Change, ChangeKind, Command, Desire, PropertyReport, Report, Settings, Twin, Twins, Uid, Writer,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::fixture::{InFile, InMemory, Place, at, pump, pump_id, pump_wanting};
use expected::{Model, Reported};
use step::{LOST, NAMES, Step, step};

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
