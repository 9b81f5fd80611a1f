//! R25, R26 and R28: devices and properties come and go.

use device_model::{DeviceState, Generation, Quality, QualityCode, Value};
use device_twin::store::Confirmed;
use device_twin::{
    Change, ChangeKind, Command, MemoryStore, Owner, Rejected, Settings, Store, Uid, Writer,
};

use crate::fixture::{Bench, at, pump, pump_id, pump_where};

const DAY: i64 = 24 * 3600;

fn tombstones(bench: &mut Bench) -> usize {
    bench.twins.store().load().unwrap().tombstones.len()
}

fn without_speed() -> std::sync::Arc<device_model::Device> {
    pump_where(|text| {
        let lines = text.lines().filter(|line| {
            !line.contains("name: speed, vis") && !line.contains("name: speed, type")
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

fn names(change: &Change) -> Vec<(&str, bool, bool)> {
    let one = |one: &device_twin::PropertyChange| (one.old.is_some(), one.new.is_some());
    let properties = change.properties.iter();
    properties.map(|p| (p.name.as_str(), one(p).0, one(p).1)).collect()
}

#[test]
fn r25_a_deleted_property_is_remembered_for_thirty_days() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    bench.change(at(2), Command::Report(bench.reads("level", Value::Double(1.0), at(2))));
    let change = bench.change(at(3), Command::Load(without_speed()));
    assert_eq!(change.kind, ChangeKind::Described);
    assert_eq!(names(&change), [("speed", true, false)]);
    assert!(bench.property("level").reported.is_some(), "the others keep their state");
    assert_eq!(tombstones(&mut bench), 1);
    let mut late = bench.wants("speed", "5");
    late.uid = Some(bench.pump().uid().clone());
    assert!(matches!(bench.refusal(at(4), Command::Desire(late)), Rejected::Unknown { .. }));

    let change = bench.change(at(5), Command::Load(pump()));
    assert_eq!(names(&change), [("speed", false, true)]);
    assert_eq!(tombstones(&mut bench), 0);
    bench.change(at(6), Command::Desire(bench.wants("speed", "100")));
    let generation = bench.property("speed").desired.unwrap().generation;
    assert_eq!(generation, Generation(2), "its number goes on");

    bench.change(at(7), Command::Load(without_speed()));
    bench.outcome(at(7 + 30 * DAY - 1), Command::Tick);
    assert_eq!(tombstones(&mut bench), 1);
    bench.outcome(at(7 + 30 * DAY), Command::Tick);
    assert_eq!(tombstones(&mut bench), 0);
}

#[test]
fn r25_where_the_cloud_owns_a_deletion_is_remembered_until_the_cloud_has_it() {
    let settings = Settings { owner: Owner::Cloud, ..Settings::default() };
    let mut bench = Bench::over(MemoryStore::new(), settings);
    bench.change(at(0), Command::Load(pump()));
    let uid = bench.pump().uid().clone();
    let change = bench.change(at(1), Command::Remove(pump_id()));
    assert_eq!((change.kind, change.rev), (ChangeKind::Removed, 2));
    bench.outcome(at(40 * DAY), Command::Tick);
    assert_eq!(tombstones(&mut bench), 1);
    let epoch = bench.twins.epoch();
    bench.twins.confirm(&[(pump_id(), Confirmed { uid: uid.clone(), epoch, rev: 1 })]).unwrap();
    bench.outcome(at(40 * DAY), Command::Tick);
    assert_eq!(tombstones(&mut bench), 1, "it has not seen the deletion yet");
    bench.twins.confirm(&[(pump_id(), Confirmed { uid, epoch, rev: 2 })]).unwrap();
    bench.outcome(at(40 * DAY), Command::Tick);
    assert_eq!(tombstones(&mut bench), 0);
}

#[test]
fn r25_a_message_for_a_former_life_is_dropped_and_counted() {
    let mut bench = Bench::with_pump();
    let former = bench.pump().uid().clone();
    bench.change(at(1), Command::Remove(pump_id()));
    assert!(bench.twins.get(&pump_id()).is_none());
    let report = bench.reads("speed", Value::Int(1), at(2));
    let rejected = bench.refusal(at(2), Command::Report(report));
    assert_eq!(rejected, Rejected::Unknown { what: "device demo/pump".into() });
    bench.change(at(3), Command::Load(pump()));
    let mut late = bench.reads("speed", Value::Int(1), at(4));
    late.uid = Some(former.clone());
    let rejected = bench.refusal(at(4), Command::Report(late));
    assert_eq!(rejected, Rejected::FormerLife { device: pump_id(), uid: former.clone() });
    let mut late = bench.wants("speed", "1");
    late.uid = Some(former);
    bench.refusal(at(4), Command::Desire(late));
    assert_eq!(bench.twins.counters().former_lives, 2);
    let mut present = bench.reads("speed", Value::Int(1), at(5));
    present.uid = Some(bench.pump().uid().clone());
    bench.change(at(5), Command::Report(present));
}

#[test]
fn r26_a_device_made_again_starts_a_new_life_at_revision_one() {
    let mut bench = Bench::with_pump();
    let former = bench.pump().uid().clone();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    bench.change(at(2), Command::Remove(pump_id()));
    let change = bench.change(at(3), Command::Load(pump()));
    assert_eq!((change.kind, change.rev), (ChangeKind::Added, 1));
    assert_ne!(*bench.pump().uid(), former);
    assert_eq!(bench.property("speed").desired, None);
    assert_eq!(change.properties.len(), pump().properties.len());
}

/// The pump as an API server has it.
fn with_uid(uid: &str) -> std::sync::Arc<device_model::Device> {
    pump_where(|text| {
        let named = format!("kind: Device\nmetadata: {{uid: {uid}, name");
        text.replace("kind: Device\nmetadata: {name", &named)
    })
}

#[test]
fn r26_another_uid_of_the_same_name_is_another_life() {
    let mut bench = Bench::empty();
    bench.change(at(0), Command::Load(with_uid("first")));
    assert_eq!(*bench.pump().uid(), Uid::new("first"));
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(1), at(1))));
    let outcome = bench.outcome(at(2), Command::Load(with_uid("second")));
    let kinds: Vec<_> = outcome.changes.iter().map(|one| (one.kind, one.rev)).collect();
    assert_eq!(kinds, [(ChangeKind::Removed, 3), (ChangeKind::Added, 1)]);
    assert_eq!(bench.property("speed").reported, None);
    // Also across a restart.
    let mut bench = Bench::over(bench.twins.store().clone(), Settings::default());
    bench.nothing(at(3), Command::Load(with_uid("second")));
    assert_eq!(bench.pump().rev(), 1);
    let outcome = bench.outcome(at(4), Command::Load(with_uid("third")));
    assert_eq!(outcome.changes.len(), 2);
    assert_eq!(*bench.pump().uid(), Uid::new("third"));
}

#[test]
fn r26_what_was_not_heard_in_this_run_is_doubted_where_the_store_may_be_a_copy() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(100), at(1))));
    bench.change(at(2), Command::Report(bench.reads("level", Value::Double(1.5), at(2))));
    let mut bench = Bench::opened(bench.twins.store().clone(), Settings::default(), at(10));
    bench.outcome(at(10), Command::Load(pump()));
    bench.nothing(at(11), Command::Report(bench.reads("speed", Value::Int(100), at(11))));
    let change = bench.change(at(12), Command::Doubt);
    let names: Vec<_> = change.properties.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["level"], "speed was read since");
    let quality = |bench: &Bench| {
        let reported = bench.property("level").reported.unwrap();
        (reported.quality, reported.code)
    };
    assert_eq!(quality(&bench), (Quality::Uncertain, QualityCode::Restored));
    bench.nothing(at(13), Command::Doubt);
    bench.outcome(at(DAY), Command::Tick);
    assert_eq!(quality(&bench), (Quality::Uncertain, QualityCode::Restored), "whatever its age");
    let mut bench = Bench::opened(bench.twins.store().clone(), Settings::default(), at(20));
    bench.outcome(at(20), Command::Load(pump()));
    assert_eq!(quality(&bench), (Quality::Uncertain, QualityCode::Restored), "a restart keeps it");
    bench.change(at(21), Command::Report(bench.reads("level", Value::Double(1.5), at(21))));
    assert_eq!(quality(&bench), (Quality::Good, QualityCode::Ok));
}

#[test]
fn r26_a_device_of_the_cloud_takes_over_the_twin_that_a_node_had_on_its_own() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    bench.change(at(2), Command::Report(bench.reads("speed", Value::Int(100), at(2))));
    let local = bench.pump().uid().clone();
    let desired = bench.property("speed").desired.unwrap();
    let settings = Settings { owner: Owner::Cloud, ..Settings::default() };
    let store = bench.twins.store().clone();
    for parked in [false, true] {
        let mut bench = Bench::over(store.clone(), settings.clone());
        if !parked {
            bench.outcome(at(3), Command::Load(pump()));
        }
        let uid = Uid::new("of-the-cloud");
        let device = with_uid("of-the-cloud");
        let change = bench.change(at(4), Command::Adopt(device.clone()));
        assert_eq!((change.kind, &change.uid), (ChangeKind::Described, &uid));
        assert_ne!(uid, local);
        let speed = bench.property("speed");
        let reported = speed.reported.unwrap();
        assert_eq!(reported.value, Some(Value::Int(100)));
        assert_eq!((reported.quality, reported.code), (Quality::Uncertain, QualityCode::Restored));
        let handed = speed.desired.unwrap();
        assert_eq!((handed.generation, &handed.writer), (desired.generation, &Writer::Cloud));
        assert_eq!(handed.value, desired.value, "until the cloud wants something else");
        bench.nothing(at(5), Command::Adopt(device.clone()));
        let mut bench = Bench::over(bench.twins.store().clone(), settings.clone());
        bench.outcome(at(6), Command::Load(device));
        assert_eq!(
            (bench.pump().uid(), bench.property("speed").desired.unwrap().generation),
            (&uid, desired.generation)
        );
        assert_eq!(tombstones(&mut bench), 0);
    }
}

#[test]
fn r26_without_a_uid_a_device_keeps_its_life_over_restarts() {
    let mut bench = Bench::with_pump();
    let uid = bench.pump().uid().clone();
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(1), at(1))));
    let mut bench = Bench::over(bench.twins.store().clone(), Settings::default());
    assert!(bench.twins.get(&pump_id()).is_none(), "not before it is described");
    assert_eq!(bench.twins.parked().collect::<Vec<_>>(), [&pump_id()]);
    bench.nothing(at(2), Command::Load(pump()));
    assert_eq!((bench.pump().uid(), bench.pump().rev()), (&uid, 2));
    assert_eq!(bench.twins.parked().len(), 0);
}

#[test]
fn r28_a_refused_description_is_kept_until_one_is_taken() {
    let mut bench = Bench::with_pump();
    let judge = |problem: Option<&str>| Command::Judge {
        device: pump_id(),
        problem: problem.map(Into::into),
    };
    bench.nothing(at(1), judge(None));
    let wrong = "port = \"70000\": out of range";
    let change = bench.change(at(2), judge(Some(wrong)));
    let (before, after) = change.condition.unwrap();
    assert_eq!((before.problem, after.problem.as_deref()), (None, Some(wrong)));
    assert_eq!((change.kind, change.properties.len()), (ChangeKind::Updated, 0));
    bench.nothing(at(3), judge(Some(wrong)));
    // Neither what the device says, nor a restart, nor another description mends it.
    let since = bench.pump().condition().since;
    bench.change(at(4), Command::Report(bench.report().with_state(DeviceState::Online)));
    assert!(bench.pump().condition().since > since);
    let mut bench = Bench::over(bench.twins.store().clone(), Settings::default());
    bench.nothing(at(5), Command::Load(pump()));
    bench.change(at(6), Command::Load(without_speed()));
    assert_eq!(bench.pump().condition().problem.as_deref(), Some(wrong));
    bench.change(at(7), judge(None));
    assert_eq!(bench.pump().condition().problem, None);
    assert_eq!(bench.pump().state(), DeviceState::Online);
    bench.change(at(8), Command::Remove(pump_id()));
    assert!(matches!(bench.refusal(at(9), judge(None)), Rejected::Unknown { .. }));
}

#[test]
fn a_device_that_left_while_the_node_was_off_can_be_removed() {
    let mut bench = Bench::with_pump();
    let mut bench = Bench::over(bench.twins.store().clone(), Settings::default());
    bench.outcome(at(2), Command::Remove(pump_id())).result.unwrap();
    assert_eq!(bench.twins.parked().len(), 0);
    let stored = bench.twins.store().load().unwrap();
    assert_eq!((stored.twins.len(), stored.tombstones.len()), (0, 1));
}

#[test]
fn a_property_of_another_type_starts_anew() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("patient", "1")));
    bench.change(at(1), Command::Report(bench.reads("patient", Value::Int(1), at(1))));
    let other = pump_where(|text| {
        text.replace("{name: patient, type: INT", "{name: patient, type: STRING")
    });
    let change = bench.change(at(2), Command::Load(other));
    assert_eq!(names(&change), [("patient", true, true)]);
    let state = bench.property("patient");
    assert_eq!((state.reported, state.desired), (None, None));
    bench.change(at(3), Command::Desire(bench.wants("patient", "one")));
    assert_eq!(bench.property("patient").desired.unwrap().generation, Generation(2));
}

#[test]
fn another_description_is_a_change_and_the_same_is_none() {
    let mut bench = Bench::with_pump();
    bench.nothing(at(1), Command::Load(pump()));
    let other = pump_where(|text| text.replace("tolerance: 0.5", "tolerance: 0.7"));
    let change = bench.change(at(2), Command::Load(other));
    assert_eq!((change.kind, change.rev, change.properties.len()), (ChangeKind::Described, 2, 0));
}
