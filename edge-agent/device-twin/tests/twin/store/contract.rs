//! One suite over both stores: what is committed is there when it is opened again, and nothing else.

use device_model::{AckCode, DeviceState, Quality, QualityCode, Reading, Value};
use device_twin::store::{Confirmed, Object, ObjectKey};
use device_twin::{
    Command, Desire, GivenReading, PropertyReport, Settings, SqliteStore, Store, Uid, Writer,
};

use crate::fixture::{Bench, InFile, InMemory, Place, at, pump, pump_id, pump_wanting};

fn reopened<P: Place>(place: &mut P, bench: Bench<P::Store>) -> Bench<P::Store> {
    place.close(bench.twins.into_store());
    let store = place.open();
    Bench::opened(store, Settings::default(), at(7))
}

fn all_values_read_back(mut place: impl Place) {
    let mut bench = Bench::over(place.open(), Settings::default());
    bench.change(at(0), Command::Load(pump_wanting("70")));
    let values = [
        ("speed", Value::Int(i64::MIN)),
        ("pressure", Value::Float(0.1)),
        ("level", Value::Double(f64::NAN)),
        ("label", Value::String("ä\0'\"; DROP TABLE twin".into())),
        ("running", Value::Boolean(true)),
        ("raw", Value::Bytes(vec![0, 255, 7])),
    ];
    let mut report = bench.report().with_state(DeviceState::Online).because("it's said; so");
    for (name, value) in &values {
        let mut reading = bench.reading(value.clone(), at(2));
        reading.source_time = Some(at(1));
        report.properties.push(PropertyReport::reading(*name, reading));
    }
    bench.change(at(3), Command::Report(report));
    let problem = Some("port = \"70000\": out of range".into());
    bench.change(at(3), Command::Judge { device: pump_id(), problem });
    let mut desire = (Desire::of(pump_id(), Writer::local("contract")))
        .with("label", Value::String(String::new()))
        .with("raw", Value::Bytes(Vec::new()))
        .with("level", Value::Double(f64::INFINITY))
        .with("running", Value::Boolean(false));
    desire.expires_at = Some(at(1_000_000));
    bench.change(at(4), Command::Desire(desire));
    let mut ack = bench.ack(1, AckCode::DeviceError);
    ack.detail = "slave device failure".into();
    bench.change(at(5), Command::Report(bench.report().with(PropertyReport::ack("label", ack))));
    let bad = GivenReading::from(Reading::bad(QualityCode::SensorFailure, at(6)));
    let report = bench.report().with(PropertyReport::reading("pressure", bad));
    bench.change(at(6), Command::Report(report));
    let before = bench.pump().clone();

    let mut bench = reopened(&mut place, bench);
    bench.nothing(at(7), Command::Load(pump_wanting("70")));
    let after = bench.pump();
    assert_eq!((after.rev(), after.uid()), (before.rev(), before.uid()));
    assert_eq!((after.state(), after.last_online()), (DeviceState::Online, Some(at(3))));
    assert_eq!(after.condition(), before.condition());
    assert_eq!(after.condition().since, at(3));
    assert!(after.condition().problem.is_some());
    for ((property, old), (_, new)) in before.properties().zip(after.properties()) {
        // Debug text, since NaN differs from itself.
        assert_eq!(format!("{old:?}"), format!("{new:?}"), "{}", property.name);
    }
    let reported = bench.property("pressure").reported.unwrap();
    assert_eq!((reported.value, reported.quality), (Some(Value::Float(0.1)), Quality::Bad));
}

fn a_negative_zero_stays_one(mut place: impl Place) {
    let mut bench = Bench::over(place.open(), Settings::default());
    bench.change(at(0), Command::Load(pump()));
    bench.change(at(1), Command::Report(bench.reads("level", Value::Double(-0.0), at(1))));
    let mut bench = reopened(&mut place, bench);
    bench.nothing(at(2), Command::Load(pump()));
    let Some(Value::Double(zero)) = bench.property("level").reported.unwrap().value else {
        panic!("another type");
    };
    assert!(zero == 0.0 && zero.is_sign_negative());
}

fn what_was_removed_stays_removed(mut place: impl Place) {
    let mut bench = Bench::over(place.open(), Settings::default());
    bench.change(at(0), Command::Load(pump_wanting("70")));
    let uid = bench.pump().uid().clone();
    bench.change(at(1), Command::Remove(pump_id()));
    let mut bench = reopened(&mut place, bench);
    assert_eq!(bench.twins.parked().len(), 0);
    let tombstones = bench.twins.store().load().unwrap().tombstones;
    assert_eq!((&tombstones[0].uid, tombstones[0].rev), (&uid, 2));
    let change = bench.change(at(2), Command::Load(pump()));
    assert_eq!(change.rev, 1);
    let mut bench = reopened(&mut place, bench);
    bench.nothing(at(3), Command::Load(pump()));
    assert_eq!(bench.twins.store().load().unwrap().tombstones, []);
}

fn a_device_may_come_and_go_and_come_within_one_batch(mut place: impl Place) {
    let mut bench = Bench::over(place.open(), Settings::default());
    let batch = |bench: &Bench<_>, value| {
        vec![
            Command::Load(pump_wanting("70")),
            Command::Remove(pump_id()),
            Command::Load(pump_wanting("80")),
            Command::Report(bench.reads("level", Value::Double(value), at(1))),
        ]
    };
    for value in [1.0, 2.0] {
        let commands = batch(&bench, value);
        let outcomes = bench.twins.apply(commands, at(1)).unwrap();
        assert!(outcomes.iter().all(|one| one.result.is_ok()), "{outcomes:?}");
        let before = bench.pump().clone();
        assert_eq!(before.rev(), 2);
        bench = reopened(&mut place, bench);
        bench.nothing(at(2), Command::Load(pump_wanting("80")));
        assert_eq!((bench.pump().uid(), bench.pump().rev()), (before.uid(), 2));
        let speed = bench.property("speed").desired.unwrap();
        assert_eq!(speed.value, Value::Int(80));
        let level = bench.property("level").reported.unwrap();
        assert_eq!(level.value, Some(Value::Double(value)));
    }
}

fn what_changed_after_a_revision_is_found(mut place: impl Place) {
    let mut bench = Bench::over(place.open(), Settings::default());
    bench.change(at(0), Command::Load(pump()));
    bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(1), at(1))));
    bench.change(at(2), Command::Desire(bench.wants("level", "1")));
    bench.change(at(3), Command::Report(bench.acks("level", 1, AckCode::Received)));
    let mut dirty = |rev| {
        let names = bench.twins.store().dirty_since(&pump_id(), rev).unwrap();
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(dirty(0), ["level", "speed"]);
    assert_eq!(dirty(2), ["level"]);
    assert_eq!(dirty(4), Vec::<String>::new());
    let other = "demo/none".parse().unwrap();
    assert!(bench.twins.store().dirty_since(&other, 0).unwrap().is_empty());
}

fn a_confirmation_never_goes_back(mut place: impl Place) {
    let mut store = place.open();
    let at = |uid: &str, epoch, rev| Confirmed { uid: Uid::new(uid), epoch, rev };
    assert_eq!(store.confirmed(&pump_id()).unwrap(), None);
    store.confirm(&[(pump_id(), at("a", 1, 10))]).unwrap();
    store.confirm(&[(pump_id(), at("a", 1, 9))]).unwrap();
    assert_eq!(store.confirmed(&pump_id()).unwrap(), Some(at("a", 1, 10)));
    store.confirm(&[(pump_id(), at("a", 2, 3))]).unwrap();
    store.confirm(&[(pump_id(), at("a", 1, 99))]).unwrap();
    assert_eq!(store.confirmed(&pump_id()).unwrap(), Some(at("a", 2, 3)));
    store.confirm(&[(pump_id(), at("b", 2, 1))]).unwrap();
    place.close(store);
    assert_eq!(place.open().confirmed(&pump_id()).unwrap(), Some(at("b", 2, 1)), "another life");
}

fn objects_are_kept_whole(mut place: impl Place) {
    let mut store = place.open();
    let object = |name: &str, version: &str| Object {
        key: ObjectKey { kind: "ConfigMap".into(), namespace: "demo".into(), name: name.into() },
        uid: "u1".into(),
        resource_version: version.into(),
        body: b"{\"data\":{}}\n\xff".to_vec(),
    };
    store.put_object(&object("b", "1")).unwrap();
    store.put_object(&object("a", "1")).unwrap();
    store.put_object(&object("a", "2")).unwrap();
    place.close(store);
    let mut store = place.open();
    assert_eq!(store.object(&object("a", "").key).unwrap(), Some(object("a", "2")));
    assert_eq!(store.objects("ConfigMap").unwrap(), [object("a", "2"), object("b", "1")]);
    assert_eq!(store.objects("Pod").unwrap(), []);
    assert!(store.delete_object(&object("a", "").key).unwrap());
    assert!(!store.delete_object(&object("a", "").key).unwrap());
    assert_eq!(store.object(&object("a", "").key).unwrap(), None);
}

fn the_epoch_is_kept_and_starts_with_the_clock(mut place: impl Place) {
    let bench = Bench::over(place.open(), Settings::default());
    let epoch = bench.twins.epoch();
    assert_eq!(Ok(epoch), u64::try_from(at(0).as_millis()));
    let mut bench = reopened(&mut place, bench);
    assert_eq!(bench.twins.epoch(), epoch);
    bench.twins.store().set_epoch(epoch + 1).unwrap();
    assert_eq!(reopened(&mut place, bench).twins.epoch(), epoch + 1);
}

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[test]
            fn $name() {
                super::$name(super::InMemory::default());
            })+
        }
        mod sqlite {
            $(#[test]
            fn $name() {
                super::$name(super::InFile::new());
            })+
        }
    };
}

contract!(
    all_values_read_back,
    a_negative_zero_stays_one,
    what_was_removed_stays_removed,
    a_device_may_come_and_go_and_come_within_one_batch,
    what_changed_after_a_revision_is_found,
    a_confirmation_never_goes_back,
    objects_are_kept_whole,
    the_epoch_is_kept_and_starts_with_the_clock,
);

/// The WAL is moved into the file again and again, so its size does not follow the number of commits.
#[test]
fn the_wal_stays_small_over_many_commits() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench::over(
        SqliteStore::open(&directory.path().join("twins.db")).unwrap(),
        Settings::default(),
    );
    bench.change(at(0), Command::Load(pump()));
    let mut largest = 0;
    for number in 0..3000 {
        let text = Value::String(format!("{number:04096}"));
        bench.change(at(1), Command::Report(bench.reads("label", text, at(1))));
        let wal = std::fs::metadata(directory.path().join("twins.db-wal")).unwrap().len();
        largest = largest.max(wal);
    }
    assert!(largest < 8 << 20, "{largest} octets");
    let file = std::fs::metadata(directory.path().join("twins.db")).unwrap().len();
    assert!(file < 1 << 20, "{file} octets");
}
