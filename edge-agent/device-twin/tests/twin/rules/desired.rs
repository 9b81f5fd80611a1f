//! R8 to R12 and R20: what may be desired, by whom.

use device_model::{AckCode, DeviceState, Generation, Value};
use device_twin::{
    Command, Desire, Limits, MemoryStore, Owner, PropertyReport, Rejected, Settings, Writer,
};

use crate::fixture::{Bench, at, pump, pump_id, pump_wanting};

fn of_the_cloud() -> Bench {
    let settings = Settings { owner: Owner::Cloud, ..Settings::default() };
    let mut bench = Bench::over(MemoryStore::new(), settings);
    bench.change(at(0), Command::Load(pump()));
    bench
}

fn cloud(property: &str, value: Option<&str>, version: u64) -> Command {
    let desire = Desire::of(pump_id(), Writer::Cloud);
    let mut desire = match value {
        Some(value) => desire.with(property, value),
        None => desire.without(property),
    };
    desire.properties[0].cloud_version = Some(version);
    Command::Desire(desire)
}

fn value(bench: &Bench, property: &str) -> Option<Value> {
    bench.property(property).desired.map(|desired| desired.value.clone())
}

#[test]
fn r08_missing_null_and_empty_are_three_things() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("label", "a").with("speed", "5")));
    bench.change(at(2), Command::Desire(bench.wants("label", "")));
    assert_eq!(value(&bench, "label"), Some(Value::String(String::new())));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(5)), "missing leaves it");
    let rejected = bench.refusal(at(3), Command::Desire(bench.wants("speed", "")));
    assert!(matches!(rejected, Rejected::Invalid { .. }), "{rejected:?}");
    let nothing = Desire::of(pump_id(), Writer::local("test")).without("label");
    bench.change(at(4), Command::Desire(nothing.clone()));
    assert_eq!(value(&bench, "label"), None);
    bench.nothing(at(5), Command::Desire(nothing));
    bench.change(at(6), Command::Desire(bench.wants("raw", "")));
    assert_eq!(value(&bench, "raw"), Some(Value::Bytes(Vec::new())));
}

#[test]
fn r08_the_number_of_a_deleted_value_is_never_used_again() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "5")));
    let nothing = Desire::of(pump_id(), Writer::local("test")).without("speed");
    bench.change(at(2), Command::Desire(nothing));
    bench.change(at(3), Command::Desire(bench.wants("speed", "5")));
    assert_eq!(bench.property("speed").desired.unwrap().generation, Generation(2));
}

#[test]
fn r09_values_are_parsed_at_the_door_and_limited() {
    let limits = Limits { value: 64, properties: 8, twin: 100 };
    let settings = Settings { limits, ..Settings::default() };
    let mut bench = Bench::over(MemoryStore::new(), settings);
    bench.change(at(0), Command::Load(pump()));
    let rejected = bench.refusal(at(1), Command::Desire(bench.wants("level", "high")));
    assert_eq!(rejected.to_string(), "level: is DOUBLE: \"high\" is not a number, such as 21.5");
    let typed = Desire::of(pump_id(), Writer::local("test")).with("speed", Value::Double(1.0));
    let rejected = bench.refusal(at(1), Command::Desire(typed));
    assert_eq!(rejected.to_string(), "speed: takes INT, not DOUBLE");
    let rejected = bench.refusal(at(1), Command::Desire(bench.wants("label", &"x".repeat(65))));
    assert!(matches!(rejected, Rejected::TooLarge { .. }), "{rejected:?}");
    bench.change(at(1), Command::Desire(bench.wants("label", &"x".repeat(60))));
    let text = Value::String("y".repeat(60));
    let report = Command::Report(bench.reads("label", text, at(2)));
    let outcome = bench.outcome(at(2), report);
    let refused = &outcome.result.unwrap().refused[0];
    assert!(refused.reason.to_string().contains("larger than 100 octets"), "{}", refused.reason);

    let few = Limits { properties: 7, ..limits };
    let mut bench =
        Bench::over(MemoryStore::new(), Settings { limits: few, ..Settings::default() });
    let rejected = bench.refusal(at(0), Command::Load(pump()));
    assert!(rejected.to_string().contains("larger than 7 properties"), "{rejected}");
}

#[test]
fn r10_desired_belongs_to_its_owner_and_no_report_touches_it() {
    let mut bench = Bench::with_pump();
    let rejected = bench.refusal(at(1), cloud("speed", Some("5"), 1));
    assert!(matches!(rejected, Rejected::NotOwner { .. }), "{rejected:?}");
    bench.change(at(1), Command::Desire(bench.wants("speed", "5")));
    let before = bench.property("speed").desired;
    let report = (bench.reads("speed", Value::Int(99), at(2)))
        .with(PropertyReport::echo("speed", "99"))
        .with_state(DeviceState::Online);
    bench.change(at(2), Command::Report(report));
    assert_eq!(bench.property("speed").desired, before);

    let mut bench = of_the_cloud();
    let manifest = Desire::of(pump_id(), Writer::Manifest).with("speed", "5");
    let rejected = bench.refusal(at(1), Command::Desire(manifest));
    assert!(rejected.to_string().contains("the cloud owns"), "{rejected}");
    assert_eq!(bench.change(at(1), cloud("speed", Some("5"), 12)).rev, 2);
    assert_eq!(bench.property("speed").desired.unwrap().generation, Generation(12));
    let rejected = bench.refusal(at(2), cloud("speed", Some("6"), 11));
    assert!(matches!(rejected, Rejected::Stale { .. }), "{rejected:?}");
}

#[test]
fn r10_a_manifest_counts_when_its_text_changed_so_a_later_write_survives_a_restart() {
    let mut bench = Bench::empty();
    bench.change(at(0), Command::Load(pump_wanting("100")));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(100)));
    assert_eq!(bench.property("speed").desired.unwrap().writer, Writer::Manifest);
    bench.change(at(1), Command::Desire(bench.wants("speed", "200")));

    let store = bench.twins.store().clone();
    let mut bench = Bench::over(store, Settings::default());
    bench.nothing(at(2), Command::Load(pump_wanting("100")));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(200)), "the same text does not count");
    bench.change(at(3), Command::Load(pump_wanting("300")));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(300)));
    bench.change(at(4), Command::Load(pump()));
    assert_eq!(value(&bench, "speed"), None, "what the manifest said goes with it");
    bench.change(at(5), Command::Load(pump_wanting("300")));
    bench.change(at(6), Command::Desire(bench.wants("speed", "400")));
    bench.change(at(7), Command::Load(pump()));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(400)), "what somebody else said stays");
}

#[test]
fn r11_a_local_override_has_an_end_and_the_clouds_value_counts_again() {
    let mut bench = of_the_cloud();
    bench.change(at(1), cloud("speed", Some("100"), 4));
    bench.change(at(2), Command::Desire(bench.wants("speed", "200")));
    let state = bench.property("speed");
    let desired = state.desired.unwrap();
    assert_eq!(desired.expires_at, Some(at(2 + 3600)), "an hour, unless it is said otherwise");
    assert_eq!((&desired.value, desired.generation), (&Value::Int(200), Generation(5)));
    assert_eq!(desired.writer.to_string(), "local:test");
    assert_eq!(state.beneath.unwrap().value, Value::Int(100));
    bench.nothing(at(3601), Command::Tick);
    assert!(bench.twins.next_deadline().unwrap() <= at(3602));
    let change = bench.change(at(3602), Command::Tick);
    assert!(change.properties[0].desired_changed() && change.delta_changed);
    let desired = bench.property("speed").desired.unwrap();
    assert_eq!((&desired.value, desired.cloud_version), (&Value::Int(100), Some(4)));
    assert_eq!(desired.generation, Generation(6), "a new number, so that it is written again");
    assert_eq!(bench.property("speed").beneath, None);
}

#[test]
fn r11_the_policy_says_what_a_newer_value_of_the_cloud_does() {
    let mut bench = of_the_cloud();
    // cloudWins: it ends the override.
    bench.change(at(1), Command::Desire(bench.wants("speed", "200")));
    bench.change(at(2), cloud("speed", Some("100"), 7));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(100)));
    // untilExpiry: it waits beneath.
    bench.change(at(1), Command::Desire(bench.wants("patient", "200")));
    bench.change(at(2), cloud("patient", Some("100"), 7));
    assert_eq!(value(&bench, "patient"), Some(Value::Int(200)));
    // A local writer may end its override before its time.
    let ended = Desire::of(pump_id(), Writer::local("test")).without("patient");
    bench.change(at(3), Command::Desire(ended.clone()));
    assert_eq!(value(&bench, "patient"), Some(Value::Int(100)));
    bench.nothing(at(4), Command::Desire(ended));
    // deny: refused.
    let rejected = bench.refusal(at(4), Command::Desire(bench.wants("locked", "1")));
    assert!(rejected.to_string().contains("localOverride is deny"), "{rejected}");
}

#[test]
fn r11_what_the_cloud_says_again_ends_no_override_and_is_written_no_second_time() {
    let mut bench = of_the_cloud();
    bench.change(at(1), cloud("speed", Some("100"), 4));
    bench.change(at(2), Command::Desire(bench.wants("speed", "200")));
    // As after each start: the agent tells all that it knows of the cloud.
    bench.nothing(at(3), cloud("speed", Some("100"), 4));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(200)));
    bench.change(at(4), cloud("speed", None, 5));
    assert_eq!(value(&bench, "speed"), None);
    bench.change(at(5), Command::Desire(bench.wants("speed", "200")));
    bench.nothing(at(6), cloud("speed", None, 5));
    assert_eq!(value(&bench, "speed"), Some(Value::Int(200)));
    // Somebody turned the device's own knob since: nobody wanted anything new.
    bench.change(at(7), cloud("label", Some("new"), 7));
    bench.change(at(8), Command::Report(bench.acks("label", 7, AckCode::Verified)));
    bench.change(at(9), Command::Report(bench.reads("label", Value::String("old".into()), at(9))));
    bench.nothing(at(10), cloud("label", Some("new"), 7));
    assert_eq!(bench.property("label").generation, Generation(7));
}

#[test]
fn r12_an_echo_is_an_acknowledgement_and_never_a_write() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    let echo = |bench: &Bench, text: &str| {
        Command::Report(bench.report().with(PropertyReport::echo("speed", text)))
    };
    let stale = echo(&bench, "99");
    bench.nothing(at(2), stale);
    assert_eq!(bench.twins.counters().stale_echoes, 1);
    let equal = echo(&bench, "100.0");
    let change = bench.change(at(3), equal.clone());
    assert!(change.properties[0].ack_changed() && !change.properties[0].desired_changed());
    assert_eq!(bench.property("speed").ack.unwrap().code, AckCode::Received);
    bench.nothing(at(4), equal.clone());
    bench.change(at(5), Command::Report(bench.acks("speed", 1, AckCode::Verified)));
    bench.nothing(at(6), equal);
    assert_eq!(bench.property("speed").ack.unwrap().code, AckCode::Verified, "no step back");
    assert_eq!(value(&bench, "speed"), Some(Value::Int(100)));
}

#[test]
fn r20_a_newer_value_takes_the_place_of_a_pending_one_and_its_late_answer_is_dropped() {
    let mut bench = Bench::with_pump();
    bench.change(at(1), Command::Desire(bench.wants("speed", "100")));
    bench.change(at(2), Command::Report(bench.acks("speed", 1, AckCode::Applying)));
    let change = bench.change(at(3), Command::Desire(bench.wants("speed", "200")));
    let old = change.properties[0].old.as_ref().unwrap();
    assert_eq!(old.ack.as_ref().unwrap().code, AckCode::Applying, "who waits for it can see");
    assert_eq!(bench.property("speed").ack, None);
    bench.nothing(at(4), Command::Report(bench.acks("speed", 1, AckCode::Verified)));
    bench.nothing(at(4), Command::Report(bench.acks("speed", 1, AckCode::Superseded)));
    assert_eq!(bench.twins.counters().stale_acks, 2);
    assert_eq!(bench.delta(), ["speed=200@2"]);
}

#[test]
fn r20_the_same_value_is_written_again_only_after_a_failure_or_a_drift() {
    let mut bench = Bench::with_pump();
    let want = |bench: &Bench| Command::Desire(bench.wants("speed", "100"));
    let again = want(&bench);
    bench.change(at(1), again.clone());
    bench.nothing(at(2), again.clone());
    bench.change(at(3), Command::Report(bench.acks("speed", 1, AckCode::Timeout)));
    bench.change(at(4), again.clone());
    let verified = PropertyReport {
        ack: Some(bench.ack(2, AckCode::Verified)),
        ..PropertyReport::reading("speed", bench.reading(Value::Int(100), at(5)))
    };
    bench.change(at(5), Command::Report(bench.report().with(verified)));
    bench.nothing(at(6), again.clone());
    bench.change(at(7), Command::Report(bench.reads("speed", Value::Int(0), at(7))));
    bench.change(at(8), again);
    assert_eq!(bench.property("speed").desired.unwrap().generation, Generation(3));
}
