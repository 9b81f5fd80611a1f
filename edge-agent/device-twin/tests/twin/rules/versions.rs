//! R1 to R7: what is one change, and in which order.

use device_model::{Quality, QualityCode, Timestamp, Value};
use device_twin::store::{Row, Stored};
use device_twin::{
    Command, DesireProperty, Durability, EventKey, GivenReading, MemoryStore, PropertyReport,
    Rejected, Settings, Store, Twins, Update, Writer,
};

use crate::fixture::{Bench, at, pump, pump_id};
use crate::spy::SpyStore;

#[test]
fn r01_a_batch_is_one_transaction_and_a_failed_one_leaves_nothing() {
    let (store, spy) = SpyStore::new();
    let mut bench = Bench::over(store, Settings::default());
    bench.change(at(0), Command::Load(pump()));
    spy.commits();
    let both = |bench: &Bench<SpyStore>| {
        vec![
            Command::Report(bench.reads("speed", Value::Int(7), at(1))),
            Command::Desire(bench.wants("level", "2.5")),
        ]
    };
    spy.fail(true);
    let commands = both(&bench);
    let error = bench.twins.apply(commands, at(1)).unwrap_err();
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(bench.pump().rev(), 1);
    assert_eq!(bench.property("speed").reported, None);
    assert_eq!(bench.property("level").desired, None);
    assert_eq!(bench.twins.counters().changes, 1, "only the device's coming");

    spy.fail(false);
    let commands = both(&bench);
    let outcomes = bench.twins.apply(commands, at(2)).unwrap();
    let revs: Vec<_> = outcomes.iter().map(|one| one.changes[0].rev).collect();
    assert_eq!(revs, [2, 3]);
    assert_eq!(spy.commits(), [(2, Durability::Synced)], "one row for each side");
}

#[test]
fn r01_a_device_that_came_and_one_that_went_are_taken_back_with_the_batch() {
    let (store, spy) = SpyStore::new();
    let mut bench = Bench::over(store, Settings::default());
    spy.fail(true);
    bench.twins.apply(vec![Command::Load(pump())], at(0)).unwrap_err();
    assert!(bench.twins.get(&pump_id()).is_none());
    spy.fail(false);
    bench.change(at(1), Command::Load(pump()));
    let uid = bench.pump().uid().clone();
    spy.fail(true);
    let gone_and_back = vec![Command::Remove(pump_id()), Command::Load(pump())];
    bench.twins.apply(gone_and_back, at(2)).unwrap_err();
    assert_eq!((bench.pump().uid(), bench.pump().rev()), (&uid, 1));
}

#[test]
fn r02_the_revision_rises_by_one_for_each_change_and_by_none_for_nothing() {
    let mut bench = Bench::with_pump();
    assert_eq!(bench.pump().rev(), 1);
    let several = (bench.reads("speed", Value::Int(1), at(1)))
        .with(PropertyReport::reading("level", bench.reading(Value::Double(0.5), at(1))));
    assert_eq!(bench.change(at(1), Command::Report(several.clone())).rev, 2);
    bench.nothing(at(1), Command::Report(several));
    bench.nothing(at(1), Command::Report(bench.report()));
    assert_eq!(bench.change(at(2), Command::Desire(bench.wants("speed", "5"))).rev, 3);
    bench.nothing(at(3), Command::Desire(bench.wants("speed", "5")));
    assert_eq!(bench.pump().rev(), 3);
}

#[test]
fn r03_a_newer_timestamp_alone_is_no_change() {
    let (store, spy) = SpyStore::new();
    let mut bench = Bench::over(store, Settings::default());
    bench.change(at(0), Command::Load(pump()));
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(7), at(1))));
    spy.commits();
    for second in 2..61 {
        bench.nothing(at(second), Command::Report(bench.reads("speed", Value::Int(7), at(second))));
    }
    assert_eq!(spy.commits(), [], "a refresh is written once a minute");
    let reported = bench.property("speed").reported.unwrap();
    assert_eq!((reported.sample_time, reported.received_at, reported.pv), (at(60), at(60), 2));
    bench.nothing(at(61), Command::Report(bench.reads("speed", Value::Int(7), at(61))));
    assert_eq!(spy.commits(), [(1, Durability::Synced)], "with the sync that is due by now");
}

#[test]
fn r03_numbers_compare_by_value_and_quality_counts() {
    let mut bench = Bench::with_pump();
    let text = |property: &str, text: &str| {
        let mut reading = GivenReading::from(device_model::Reading::good(Value::Int(0), at(1)));
        reading.value = Some(text.into());
        PropertyReport::reading(property, reading)
    };
    bench.change(at(1), Command::Report(bench.report().with(text("speed", "1"))));
    bench.nothing(at(1), Command::Report(bench.report().with(text("speed", "1.0"))));
    bench.nothing(at(1), Command::Report(bench.report().with(text("speed", "01"))));
    bench.change(at(1), Command::Report(bench.report().with(text("level", "NaN"))));
    bench.nothing(at(1), Command::Report(bench.report().with(text("level", "NaN"))));
    bench.change(at(1), Command::Report(bench.report().with(text("label", "1"))));
    bench.change(at(1), Command::Report(bench.report().with(text("label", "1.0"))));
    let mut doubtful = bench.reading(Value::Int(1), at(1));
    (doubtful.quality, doubtful.code) = (Quality::Uncertain, QualityCode::Clamped);
    let report = PropertyReport::reading("speed", doubtful);
    bench.change(at(1), Command::Report(bench.report().with(report)));
}

#[test]
fn r04_a_version_that_would_pass_two_to_the_53_is_refused() {
    let mut store = MemoryStore::new();
    let last = (1 << 53) - 1;
    let mut twins = Twins::open(store.clone(), Settings::default(), at(0)).unwrap();
    twins.apply(vec![Command::Load(pump())], at(0)).unwrap();
    let Stored { twins: stored, .. } = twins.store().load().unwrap();
    store
        .commit(
            &[
                Row::Device { row: 1, id: &stored[0].id, uid: &stored[0].uid },
                Row::Twin {
                    row: 1,
                    rev: last - 1,
                    condition: &stored[0].condition,
                    last_online: None,
                },
            ],
            Durability::Synced,
        )
        .unwrap();
    for property in &stored[0].properties {
        let (row, data_type) = (property.row(), property.data_type);
        let row = Row::Property { row, device: 1, name: &property.name, data_type };
        store.commit(&[row], Durability::Synced).unwrap();
    }
    let mut bench = Bench::over(store, Settings::default());
    bench.nothing(at(0), Command::Load(pump()));
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(0), at(1))));
    assert_eq!(bench.pump().rev(), last);
    let report = bench.reads("speed", Value::Int(1), at(1));
    let rejected = bench.refusal(at(1), Command::Report(report));
    assert_eq!(rejected, Rejected::Exhausted(pump_id()));
    assert_eq!(bench.pump().rev(), last);
}

#[test]
fn r05_a_request_for_another_version_is_refused_whole_and_told_the_present_state() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    let mut late = bench.wants("speed", "200").with("level", "1");
    late.if_version = Some(1);
    let Rejected::Conflict { expected, current } = bench.refusal(at(2), Command::Desire(late))
    else {
        panic!("no conflict");
    };
    assert_eq!((expected, current.rev), (1, 2));
    assert_eq!(current.properties.len(), 2);
    let desired = current.properties[0].1.desired.as_ref().unwrap();
    assert_eq!(desired.value, Value::Int(100));
    assert_eq!(bench.property("level").desired, None);

    let mut on_time = bench.wants("speed", "200");
    on_time.if_version = Some(2);
    bench.change(at(3), Command::Desire(on_time));
    let mut by_generation = bench.wants("speed", "300");
    by_generation.properties[0].if_version = Some(1);
    let rejected = bench.refusal(at(4), Command::Desire(by_generation.clone()));
    assert!(matches!(rejected, Rejected::Conflict { expected: 1, .. }), "{rejected:?}");
    by_generation.properties[0].if_version = Some(2);
    bench.change(at(4), Command::Desire(by_generation));
    let mut report = bench.reads("speed", Value::Int(9), at(5));
    report.if_version = Some(1);
    assert!(matches!(
        bench.refusal(at(5), Command::Report(report)),
        Rejected::Conflict { expected: 1, .. }
    ));
    assert_eq!(bench.twins.counters().conflicts, 3);
}

#[test]
fn r06_a_request_with_one_wrong_property_changes_none_and_names_each() {
    let mut bench = Bench::with_pump();
    let desire = (bench.wants("speed", "5000").with("label", "fine"))
        .with("pressure", "1")
        .with("depth", "1");
    let Rejected::Several(refused) = bench.refusal(at(1), Command::Desire(desire)) else {
        panic!("one refusal at most");
    };
    let named: Vec<_> = refused.iter().map(|one| (one.index, one.property.as_str())).collect();
    assert_eq!(named, [(0, "speed"), (2, "pressure"), (3, "depth")]);
    assert!(matches!(refused[0].reason, Rejected::Invalid { .. }));
    assert!(refused[0].reason.to_string().contains("0 to 3000"), "{}", refused[0].reason);
    assert!(matches!(refused[1].reason, Rejected::ReadOnly { .. }));
    assert!(matches!(refused[2].reason, Rejected::Unknown { .. }));
    assert_eq!(bench.property("label").desired, None);
    assert_eq!(bench.pump().rev(), 1);
}

#[test]
fn r06_an_update_is_taken_whole_or_not_at_all() {
    let mut bench = Bench::with_pump();
    let update = |level: &str, speed: &str| Update {
        device: pump_id(),
        writer: Writer::local("mqtt"),
        reported: vec![PropertyReport::reading(
            "level",
            GivenReading {
                value: Some(level.into()),
                quality: Quality::Good,
                code: QualityCode::Ok,
                source_time: None,
                sample_time: at(1),
            },
        )],
        desired: vec![DesireProperty::of("speed", Some(speed.into()))],
    };
    for (level, speed) in [("0.5", "3001"), ("high", "7")] {
        let counted = bench.twins.counters();
        let outcome = bench.outcome(at(1), Command::Update(update(level, speed)));
        assert!(matches!(outcome.result, Err(Rejected::Invalid { .. })), "{outcome:?}");
        assert!(outcome.changes.is_empty());
        assert_eq!(bench.twins.counters().refused, counted.refused + 1, "once, not for each part");
        assert_eq!(bench.pump().rev(), 1);
        assert_eq!(bench.property("level").reported, None);
    }
    let outcome = bench.outcome(at(1), Command::Update(update("0.5", "7")));
    let revs: Vec<_> = outcome.changes.iter().map(|change| change.rev).collect();
    assert_eq!(revs, [2, 3]);
    assert_eq!(outcome.result.unwrap().rev, 3);
    assert!(
        bench.property("level").reported.is_some() && bench.property("speed").desired.is_some()
    );
}

#[test]
fn r06_a_report_harms_only_the_property_that_is_wrong() {
    let mut bench = Bench::with_pump();
    let mut wrong = bench.reading(Value::Int(0), at(1));
    wrong.value = Some("fast".into());
    let mut absent = bench.reading(Value::Int(0), at(1));
    absent.value = None;
    let report = (bench.reads("level", Value::Double(1.5), at(1)))
        .with(PropertyReport::reading("speed", wrong))
        .with(PropertyReport::reading("depth", bench.reading(Value::Int(1), at(1))))
        .with(PropertyReport::reading("running", absent))
        .with(PropertyReport::reading("label", bench.reading(Value::String("a".into()), at(1))));
    let outcome = bench.outcome(at(1), Command::Report(report));
    let refused = outcome.result.unwrap().refused;
    let named: Vec<_> = refused.iter().map(|one| (one.index, one.property.as_str())).collect();
    assert_eq!(named, [(1, "speed"), (2, "depth"), (3, "running")]);
    assert!(refused[0].reason.to_string().contains("\"fast\" is not a whole number"));
    assert_eq!(outcome.changes[0].rev, 2);
    assert_eq!(outcome.changes[0].properties.len(), 2);
    assert_eq!(bench.property("speed").reported, None);
}

#[test]
fn r07_a_repeated_request_is_answered_from_memory() {
    let mut bench = Bench::with_pump();
    let event = |id: &str| Some(EventKey { client: "app".into(), id: id.into() });
    let send = |bench: &mut Bench, now: Timestamp, id: &str, value: &str| {
        let mut desire = bench.wants("speed", value);
        desire.event = event(id);
        bench.outcome(now, Command::Desire(desire))
    };
    let first = send(&mut bench, at(1), "1", "100").result.unwrap();
    send(&mut bench, at(2), "2", "200").result.unwrap();
    let again = send(&mut bench, at(3), "1", "100");
    assert!(again.changes.is_empty());
    let again = again.result.unwrap();
    assert!(again.repeated);
    assert_eq!((again.rev, again.generations), (first.rev, first.generations));
    assert_eq!(bench.property("speed").desired.unwrap().value, Value::Int(200));
    // A refusal is repeated too.
    let refused = send(&mut bench, at(3), "3", "9999").result.unwrap_err();
    assert_eq!(send(&mut bench, at(4), "3", "9999").result.unwrap_err(), refused);
    assert_eq!(bench.twins.counters().repeats, 2);
    // After ten minutes, or 256 others, it is a new request.
    let late = send(&mut bench, at(602), "1", "100").result.unwrap();
    assert!(!late.repeated && late.rev > first.rev);
    for number in 0..256 {
        send(&mut bench, at(603), &format!("n{number}"), "100").result.unwrap();
    }
    assert!(!send(&mut bench, at(603), "1", "100").result.unwrap().repeated);
}

#[test]
fn r07_an_answer_that_was_never_committed_is_not_remembered() {
    let (store, spy) = SpyStore::new();
    let mut bench = Bench::over(store, Settings::default());
    bench.change(at(0), Command::Load(pump()));
    let mut desire = bench.wants("speed", "100");
    desire.event = Some(EventKey { client: "app".into(), id: "1".into() });
    spy.fail(true);
    bench.twins.apply(vec![Command::Desire(desire.clone())], at(1)).unwrap_err();
    spy.fail(false);
    assert_eq!(bench.change(at(2), Command::Desire(desire)).rev, 2);
}
