//! R21, R23, R24 and the order of readings: what is known of a device, and how well.

use device_model::{DeviceState, Quality, QualityCode, Reading, Value};
use device_twin::{Change, Command, Durability, PropertyReport, Settings};

use crate::fixture::{Bench, at, pump, pump_id, pump_where};
use crate::spy::SpyStore;

fn quality(bench: &Bench, property: &str) -> (Quality, QualityCode) {
    let reported = bench.property(property).reported.unwrap();
    (reported.quality, reported.code)
}

fn states(change: &Change) -> Option<(DeviceState, DeviceState)> {
    change.condition.as_ref().map(|(before, after)| (before.state, after.state))
}

fn lose() -> Command {
    Command::Lose { devices: vec![pump_id()], reason: "its mapper is gone".into() }
}

/// State, the second since when, and the reason.
fn condition(bench: &Bench) -> (DeviceState, i64, Option<&str>) {
    let condition = bench.pump().condition();
    let since = condition.since.since(at(0)).as_secs().try_into().unwrap();
    (condition.state, since, condition.reason.as_deref())
}

#[test]
fn r21_a_reading_outside_of_the_models_range_is_kept_with_a_doubt() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(3001), at(1))));
    assert_eq!(quality(&bench, "speed"), (Quality::Uncertain, QualityCode::OutOfRange));
    assert_eq!(bench.property("speed").reported.unwrap().value, Some(Value::Int(3001)));
}

#[test]
fn r23_a_lost_device_is_one_change_and_keeps_its_last_values() {
    let mut bench = Bench::with_pump();
    let online = (bench.reads("speed", Value::Int(7), at(1)))
        .with(PropertyReport::reading("running", bench.reading(Value::Boolean(true), at(1))))
        .with_state(DeviceState::Online);
    bench.change(at(1), Command::Report(online));
    let bad = || Reading::bad(QualityCode::NoCommunication, at(2));
    let lost = (bench.report().with_state(DeviceState::Offline))
        .with(PropertyReport::reading("speed", bad()))
        .with(PropertyReport::reading("running", bad()));
    let change = bench.change(at(2), Command::Report(lost));
    assert_eq!(change.rev, 3);
    assert_eq!(states(&change), Some((DeviceState::Online, DeviceState::Offline)));
    assert_eq!(change.properties.len(), 2);
    for property in ["speed", "running"] {
        assert_eq!(quality(&bench, property), (Quality::Bad, QualityCode::NoCommunication));
    }
    assert_eq!(bench.property("speed").reported.unwrap().value, Some(Value::Int(7)));
    assert_eq!(bench.pump().last_online(), Some(at(1)));
    bench.nothing(at(100), Command::Tick);
}

#[test]
fn r24_what_nobody_refreshes_becomes_stale() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(7), at(1))));
    assert_eq!(bench.twins.next_deadline(), Some(at(11)), "ten seconds at least");
    bench.nothing(at(8), Command::Report(bench.reads("speed", Value::Int(7), at(8))));
    bench.nothing(at(11), Command::Tick);
    assert_eq!(bench.twins.next_deadline(), Some(at(18)));
    let change = bench.change(at(18), Command::Tick);
    assert!(change.properties[0].reported_changed());
    assert_eq!(quality(&bench, "speed"), (Quality::Uncertain, QualityCode::Stale));
    assert_eq!(bench.property("speed").reported.unwrap().value, Some(Value::Int(7)));
    bench.nothing(at(1000), Command::Tick);
    bench.change(at(1001), Command::Report(bench.reads("speed", Value::Int(7), at(1001))));
    assert_eq!(quality(&bench, "speed"), (Quality::Good, QualityCode::Ok));
}

#[test]
fn r24_each_property_has_its_own_age() {
    let mut bench = Bench::empty();
    let slow = pump_where(|text| text.replace("{tolerance: 0.5}", "{staleAfter: 2s}"));
    bench.change(at(0), Command::Load(slow));
    bench.change(at(0), Command::Report(bench.reads("level", Value::Double(1.0), at(0))));
    bench.change(at(0), Command::Report(bench.reads("speed", Value::Int(1), at(0))));
    assert_eq!(bench.twins.next_deadline(), Some(at(2)));
    assert_eq!(bench.change(at(2), Command::Tick).properties.len(), 1);
    assert_eq!(bench.change(at(10), Command::Tick).properties.len(), 1);
}

#[test]
fn r24_the_devices_of_a_lost_mapper_are_unknown_at_once_and_stale_in_time() {
    let mut bench = Bench::with_pump();
    let report = bench.reads("speed", Value::Int(7), at(1)).with_state(DeviceState::Online);
    bench.change(at(1), Command::Report(report));
    let change = bench.change(at(2), lose());
    assert_eq!(states(&change), Some((DeviceState::Online, DeviceState::Unknown)));
    assert_eq!(quality(&bench, "speed"), (Quality::Good, QualityCode::Ok));
    bench.nothing(at(3), lose());
    bench.change(at(11), Command::Tick);
    assert_eq!(quality(&bench, "speed"), (Quality::Uncertain, QualityCode::Stale));
}

#[test]
fn r24_after_a_restart_a_mapper_has_its_time_to_come_back() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(7), at(1))));
    let store = bench.twins.store().clone();
    let twins = device_twin::Twins::open(store, Settings::default(), at(500)).unwrap();
    let mut bench = Bench { twins };
    bench.nothing(at(500), Command::Load(pump()));
    bench.nothing(at(509), Command::Tick);
    bench.change(at(510), Command::Tick);
    assert_eq!(quality(&bench, "speed"), (Quality::Uncertain, QualityCode::Stale));
}

#[test]
fn r27_a_state_has_the_time_of_its_change_and_a_reason() {
    let mut bench = Bench::with_pump();
    assert_eq!(condition(&bench), (DeviceState::Unknown, 0, Some("nothing was heard of it yet")));
    let says = |bench: &Bench, state| bench.report().with_state(state);
    let online = says(&bench, DeviceState::Online);
    bench.change(at(1), Command::Report(online));
    assert_eq!(condition(&bench), (DeviceState::Online, 1, None), "nobody said why");
    let offline = says(&bench, DeviceState::Offline).because("connection refused");
    let change = bench.change(at(2), Command::Report(offline));
    assert_eq!(condition(&bench), (DeviceState::Offline, 2, Some("connection refused")));
    let (before, after) = change.condition.unwrap();
    assert_eq!((before.since, after), (at(1), bench.pump().condition().clone()));
    let change = bench.change(at(9), lose());
    assert_eq!(condition(&bench), (DeviceState::Unknown, 9, Some("its mapper is gone")));
    assert_eq!(change.rev, bench.pump().rev());
    let other = Command::Lose { devices: vec![pump_id()], reason: "another reason".into() };
    bench.nothing(at(10), other);
    assert_eq!(condition(&bench), (DeviceState::Unknown, 9, Some("its mapper is gone")));
}

#[test]
fn r27_the_same_state_again_does_not_move_its_time() {
    let mut bench = Bench::with_pump();
    let offline = || Bench::with_pump().report().with_state(DeviceState::Offline);
    bench.change(at(2), Command::Report(offline().because("connection refused")));
    bench.nothing(at(3), Command::Report(offline().because("connection refused")));
    bench.nothing(at(4), Command::Report(offline()));
    assert_eq!(condition(&bench), (DeviceState::Offline, 2, Some("connection refused")));
    let change = bench.change(at(5), Command::Report(offline().because("no answer")));
    assert_eq!(states(&change), Some((DeviceState::Offline, DeviceState::Offline)));
    assert_eq!(condition(&bench), (DeviceState::Offline, 2, Some("no answer")));
}

#[test]
fn a_reading_older_than_the_known_one_is_dropped_and_counted() {
    let mut bench = Bench::with_pump();
    bench.change(at(5), Command::Report(bench.reads("speed", Value::Int(5), at(5))));
    bench.nothing(at(6), Command::Report(bench.reads("speed", Value::Int(4), at(4))));
    assert_eq!(bench.property("speed").reported.unwrap().value, Some(Value::Int(5)));
    assert_eq!(bench.twins.counters().stale_readings, 1);
}

#[test]
fn a_clock_that_jumps_an_hour_stops_no_reading() {
    let mut bench = Bench::with_pump();
    bench.change(at(3600), Command::Report(bench.reads("speed", Value::Int(1), at(3600))));
    // Back: the mapper and this node share the clock.
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(2), at(1))));
    bench.change(at(2), Command::Report(bench.reads("speed", Value::Int(3), at(2))));
    // And forth.
    bench.change(at(7200), Command::Report(bench.reads("speed", Value::Int(4), at(7200))));
    assert_eq!(bench.pump().rev(), 5);
}

#[test]
fn reported_values_are_synced_in_intervals_and_everything_else_at_once() {
    let (store, spy) = SpyStore::new();
    let mut bench = Bench::over(store, Settings::default());
    bench.change(at(0), Command::Load(pump()));
    assert!(spy.commits().iter().all(|(_, durability)| *durability == Durability::Synced));
    let durability = |bench: &mut Bench<SpyStore>, second: i64, command: Command| {
        bench.change(at(second), command);
        let commits = spy.commits();
        assert_eq!(commits.len(), 1);
        commits[0].1
    };
    let speed = |bench: &Bench<SpyStore>, value: i64, second: i64| {
        Command::Report(bench.reads("speed", Value::Int(value), at(second)))
    };
    let report = speed(&bench, 1, 1);
    assert_eq!(durability(&mut bench, 1, report), Durability::Written);
    let report = speed(&bench, 2, 10);
    assert_eq!(durability(&mut bench, 10, report), Durability::Written);
    let report = speed(&bench, 3, 11);
    assert_eq!(durability(&mut bench, 11, report), Durability::Synced, "ten seconds later");
    let desire = Command::Desire(bench.wants("speed", "9"));
    assert_eq!(durability(&mut bench, 12, desire), Durability::Synced);
    let ack = Command::Report(bench.acks("speed", 1, device_model::AckCode::Received));
    assert_eq!(durability(&mut bench, 13, ack), Durability::Synced);
    let state = Command::Report(bench.report().with_state(DeviceState::Online));
    assert_eq!(durability(&mut bench, 14, state), Durability::Synced);
    // The last reading before a silence is synced by the clock.
    let report = speed(&bench, 4, 15);
    assert_eq!(durability(&mut bench, 15, report), Durability::Written);
    assert_eq!(bench.twins.next_deadline(), Some(at(11)), "for the staleness of the first reading");
    bench.nothing(at(24), Command::Tick);
    assert_eq!(spy.syncs(), 0);
    assert_eq!(bench.twins.next_deadline(), Some(at(25)));
    bench.outcome(at(25), Command::Tick).result.unwrap();
    assert_eq!((spy.syncs(), spy.commits().len()), (0, 1), "with the row that it made stale");
}

#[test]
fn with_an_interval_of_zero_each_commit_is_synced() {
    let (store, spy) = SpyStore::new();
    let settings = Settings { sync: std::time::Duration::ZERO, ..Settings::default() };
    let mut bench = Bench::over(store, settings);
    bench.change(at(0), Command::Load(pump()));
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(1), at(1))));
    assert!(spy.commits().iter().all(|(_, durability)| *durability == Durability::Synced));
}

#[test]
fn a_quiet_node_syncs_its_last_reading_too() {
    let (store, spy) = SpyStore::new();
    let mut bench = Bench::over(store, Settings::default());
    let patient =
        pump_where(|text| text.replacen("configData: {}}}", "configData: {staleAfter: 1h}}}", 1));
    bench.change(at(0), Command::Load(patient));
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(1), at(1))));
    assert_eq!(bench.twins.next_deadline(), Some(at(11)));
    bench.nothing(at(11), Command::Tick);
    assert_eq!(spy.syncs(), 1);
    assert_eq!(bench.twins.next_deadline(), Some(at(3601)));
}
