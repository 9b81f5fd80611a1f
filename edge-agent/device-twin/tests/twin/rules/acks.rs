//! R14 to R19: what became of a desired value.

use device_model::{Ack, AckCode, Generation, Quality, QualityCode, Value};
use device_twin::{AckSource, Command, GivenReading, PropertyReport, Settings};

use crate::fixture::{Bench, at, pump, pump_where};

fn wanting() -> Bench {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    bench
}

fn code(bench: &Bench) -> AckCode {
    bench.property("speed").ack.unwrap().code
}

#[test]
fn r14_each_code_is_kept_with_its_generation_detail_and_time() {
    for code in AckCode::ALL {
        let mut bench = wanting();
        let ack = Ack { generation: Generation(1), code, detail: "as the device says".into() };
        let report = bench.report().with(PropertyReport::ack("speed", ack));
        bench.change(at(2), Command::Report(report));
        let known = bench.property("speed").ack.unwrap();
        assert_eq!((known.generation, known.code, known.at), (Generation(1), code, at(2)));
        assert_eq!(&*known.detail, "as the device says");
    }
}

#[test]
fn r14_what_is_not_written_in_time_expires() {
    let mut bench = Bench::with_pump();
    let mut desire = bench.wants("speed", "100");
    desire.expires_at = Some(at(10));
    bench.change(at(1), Command::Desire(desire.clone()));
    assert_eq!(bench.twins.next_deadline(), Some(at(10)));
    bench.nothing(at(9), Command::Tick);
    bench.change(at(10), Command::Tick);
    assert_eq!(code(&bench), AckCode::Expired);
    assert!(bench.delta().is_empty());
    bench.nothing(at(11), Command::Report(bench.acks("speed", 1, AckCode::Applied)));
    // What was written has no end.
    desire.expires_at = Some(at(20));
    bench.change(at(12), Command::Desire(desire));
    bench.change(at(13), Command::Report(bench.acks("speed", 2, AckCode::Verified)));
    bench.nothing(at(20), Command::Tick);
    assert_eq!(code(&bench), AckCode::Verified);
}

#[test]
fn r15_codes_lead_forwards_alone() {
    let mut bench = wanting();
    let step = |bench: &mut Bench, next: AckCode, expected: AckCode| {
        let report = Command::Report(bench.acks("speed", 1, next));
        let outcome = bench.outcome(at(2), report);
        assert_eq!(outcome.result.unwrap().refused, [], "a step back harms nobody");
        assert_eq!(code(bench), expected);
    };
    use AckCode::{Applied, Applying, Received, Unreachable, Verified};
    for (next, expected) in [
        (Received, Received),
        (Applying, Applying),
        (Received, Applying),
        (Unreachable, Unreachable),
        (Applying, Applying),
        (Applied, Applied),
        (Applying, Applied),
        (Verified, Verified),
        (Applied, Verified),
        (AckCode::DeviceError, Verified),
    ] {
        step(&mut bench, next, expected);
    }
    assert_eq!(bench.twins.counters().stale_acks, 4);
}

#[test]
fn r16_for_a_mapper_without_acknowledgements_echo_and_read_back_stand_in() {
    let mut bench = wanting();
    let derived = |bench: &Bench, value: i64, second: i64| {
        let mut report = bench.reads("speed", Value::Int(value), at(second));
        report.acks = AckSource::Derived;
        report
    };
    // It happens to have the value, but the mapper has not heard of it.
    let report = derived(&bench, 100, 2);
    bench.change(at(2), Command::Report(report));
    assert_eq!(bench.property("speed").ack, None);
    let mut report = derived(&bench, 0, 3);
    report.properties[0].echo = Some("100".into());
    bench.change(at(3), Command::Report(report));
    assert_eq!(code(&bench), AckCode::Received);
    let report = derived(&bench, 100, 4);
    bench.change(at(4), Command::Report(report));
    assert_eq!(code(&bench), AckCode::Verified);
    assert!(bench.in_sync("speed"));
}

#[test]
fn r17_settled_is_a_final_answer_and_in_sync_is_that_the_device_has_it() {
    let mut bench = wanting();
    assert!(!bench.property("speed").settled());
    bench.change(at(2), Command::Report(bench.acks("speed", 1, AckCode::Applying)));
    assert!(!bench.property("speed").settled());
    // Written, but no reading since: settled, and not known to be in sync.
    bench.change(at(3), Command::Report(bench.reads("speed", Value::Int(100), at(3))));
    bench.change(at(5), Command::Report(bench.acks("speed", 1, AckCode::Applied)));
    assert!(bench.property("speed").settled() && !bench.in_sync("speed"));
    bench.nothing(at(6), Command::Report(bench.reads("speed", Value::Int(100), at(6))));
    assert!(bench.in_sync("speed"));
    // The device went its own way: still settled.
    bench.change(at(7), Command::Report(bench.reads("speed", Value::Int(90), at(7))));
    assert!(bench.property("speed").settled() && !bench.in_sync("speed"));
    // Refused: settled, never in sync.
    bench.change(at(8), Command::Desire(bench.wants("speed", "50")));
    bench.change(at(9), Command::Report(bench.acks("speed", 2, AckCode::OwnValue)));
    assert!(bench.property("speed").settled() && !bench.in_sync("speed"));
    assert!(bench.property("level").settled() && bench.in_sync("level"), "nothing is desired");
    // Within the tolerance is equal.
    bench.change(at(10), Command::Desire(bench.wants("level", "20")));
    let report = PropertyReport {
        ack: Some(bench.ack(1, AckCode::Verified)),
        ..PropertyReport::reading("level", bench.reading(Value::Double(20.4), at(11)))
    };
    bench.change(at(11), Command::Report(bench.report().with(report)));
    assert!(bench.in_sync("level"));
}

#[test]
fn r18_delta_is_what_the_device_does_not_show_and_has_not_refused() {
    let mut bench = wanting();
    assert_eq!(bench.delta(), ["speed=100@1"], "never reported");
    bench.change(at(2), Command::Report(bench.reads("speed", Value::Int(90), at(2))));
    assert_eq!(bench.delta(), ["speed=100@1"], "differs");
    bench.change(at(3), Command::Report(bench.reads("speed", Value::Int(100), at(3))));
    assert!(bench.delta().is_empty());
    let bad = GivenReading::from(device_model::Reading::bad(QualityCode::Timeout, at(4)));
    let bad = bench.report().with(PropertyReport::reading("speed", bad));
    bench.change(at(4), Command::Report(bad));
    assert_eq!(bench.delta(), ["speed=100@1"], "its last reading is bad");
    bench.change(at(5), Command::Report(bench.acks("speed", 1, AckCode::NotFound)));
    assert!(bench.delta().is_empty(), "finally refused");
    bench.change(at(6), Command::Desire(bench.wants("level", "20")));
    bench.change(at(7), Command::Report(bench.reads("level", Value::Double(20.5), at(7))));
    assert!(bench.delta().is_empty(), "within the tolerance");
    let set_at = bench.pump().property("level").unwrap().1.desired.as_ref().unwrap().set_at;
    bench.change(at(8), Command::Report(bench.reads("level", Value::Double(21.0), at(8))));
    let delta: Vec<_> = bench.pump().delta().collect();
    assert_eq!((delta[0].set_at, delta[0].value), (set_at, &Value::Double(20.0)));
}

#[test]
fn r19_a_change_says_whether_the_delta_is_another_now() {
    let mut bench = Bench::with_pump();
    let delta_changed = |bench: &mut Bench, second: i64, command: Command| {
        bench.change(at(second), command).delta_changed
    };
    let desire = Command::Desire(bench.wants("speed", "100"));
    assert!(delta_changed(&mut bench, 1, desire));
    let elsewhere = Command::Report(bench.reads("speed", Value::Int(90), at(2)));
    assert!(!delta_changed(&mut bench, 2, elsewhere), "it still lacks the same");
    let received = Command::Report(bench.acks("speed", 1, AckCode::Received));
    assert!(!delta_changed(&mut bench, 3, received));
    let newer = Command::Desire(bench.wants("speed", "110"));
    assert!(delta_changed(&mut bench, 4, newer));
    let there = Command::Report(bench.reads("speed", Value::Int(110), at(5)));
    assert!(delta_changed(&mut bench, 5, there));
    let drift = Command::Report(bench.reads("speed", Value::Int(0), at(6)));
    assert!(delta_changed(&mut bench, 6, drift));
    let refused = Command::Report(bench.acks("speed", 2, AckCode::Forbidden));
    assert!(delta_changed(&mut bench, 7, refused));
}

#[test]
fn e6_a_restart_finds_the_attempt_as_it_was() {
    let mut bench = wanting();
    bench.change(at(2), Command::Report(bench.acks("speed", 1, AckCode::Applying)));
    let before = bench.property("speed");
    let mut bench = Bench::over(bench.twins.store().clone(), Settings::default());
    bench.nothing(at(3), Command::Load(pump()));
    assert_eq!(bench.property("speed"), before);
    assert_eq!(code(&bench), AckCode::Applying, "the mapper reads before it writes again");
}

#[test]
fn a_desired_value_that_the_device_no_longer_allows_is_refused_by_the_twin() {
    let mut bench = wanting();
    let smaller = pump_where(|text| text.replace("maximum: \"3000\"", "maximum: \"50\""));
    bench.change(at(2), Command::Load(smaller));
    let ack = bench.property("speed").ack.unwrap();
    assert_eq!((ack.code, &*ack.detail), (AckCode::Invalid, "outside of 0 to 50"));
    assert!(bench.delta().is_empty());
    assert_eq!(bench.property("speed").reported.map(|one| one.quality), None::<Quality>);
}
