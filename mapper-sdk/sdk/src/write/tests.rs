use std::collections::BTreeMap;

use device_model::QualityCode;
use proptest::prelude::*;

use super::*;

fn options() -> PropertyOptions {
    PropertyOptions::default()
}

fn wanted(number: i64, generation: u64, known: Known) -> Wanted {
    let (value, generation) = (Value::Int(number), Generation(generation));
    Wanted { value, generation, set_at: None, known, trace: None }
}

fn shows(number: i64) -> ReadResult {
    Ok(Value::Int(number).into())
}

/// Tells the agent of a pulse, which records it.
fn announce(writer: &mut Writer, acks: &mut Vec<Ack>) {
    assert_eq!(writer.step(acks), Some(Step::Announce));
    writer.announced(7);
    assert_eq!((writer.step(acks), writer.cleared(6)), (None, Turn::None));
    assert_eq!(writer.cleared(7), NOW);
}

fn codes(acks: &[Ack]) -> Vec<u16> {
    acks.iter().map(|ack| ack.code.number()).collect()
}

#[test]
fn a_written_value_is_verified_by_reading_it_back() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    assert_eq!(writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::Write(Value::Int(5))));
    assert_eq!(writer.written(&options(), &mut acks), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack));
    assert_eq!(writer.read_back(&shows(5), &options(), &mut acks), Turn::None);
    assert_eq!(codes(&acks), [102, 202, 209]);
    assert_eq!(writer.step(&mut acks), None, "once per generation");
    let again = writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    assert_eq!((again, acks.len()), (Turn::None, 3));
}

#[test]
fn a_restarted_mapper_does_not_write_what_is_finally_acknowledged() {
    for code in AckCode::ALL.into_iter().filter(|code| code.is_final()) {
        let (mut writer, mut acks) = (Writer::default(), Vec::new());
        let turn = writer.want(Some(wanted(5, 7, Known::Acked(code))), &options(), &mut acks);
        assert_eq!((turn, acks.len(), writer.step(&mut acks)), (Turn::None, 0, None), "{code}");
    }
}

#[test]
fn what_was_on_the_wire_when_the_mapper_died_is_looked_at_first() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let known = Known::Acked(AckCode::Applying);
    writer.want(Some(wanted(5, 7, known)), &options(), &mut acks);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack));
    writer.read_back(&shows(5), &options(), &mut acks);
    assert_eq!((codes(&acks), writer.step(&mut acks)), (vec![209], None));

    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let pulse = PropertyOptions { at_most_once: true, ..options() };
    assert_eq!(writer.want(Some(wanted(1, 7, known)), &pulse, &mut acks), Turn::None);
    assert_eq!((codes(&acks), writer.step(&mut acks)), (vec![500], None));
    assert!(acks[0].detail.starts_with("unknown outcome"));
}

#[test]
fn a_newer_value_takes_the_place_of_one_that_waits() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    writer.unreachable("link down", &mut acks);
    writer.want(Some(wanted(6, 2, Known::New)), &options(), &mut acks);
    assert_eq!(codes(&acks), [102, 424, 409, 102]);
    assert_eq!((acks[2].generation, acks[3].generation), (Generation(1), Generation(2)));
    assert_eq!(writer.step(&mut acks), Some(Step::Write(Value::Int(6))));
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    assert_eq!(writer.wanted().unwrap().generation, Generation(2), "an older one is ignored");
}

#[test]
fn a_lost_answer_of_a_pulse_is_an_unknown_outcome_and_never_repeated() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let pulse = PropertyOptions { at_most_once: true, ..options() };
    writer.want(Some(wanted(1, 1, Known::New)), &pulse, &mut acks);
    announce(&mut writer, &mut acks);
    writer.step(&mut acks);
    assert_eq!(writer.unanswered(&pulse, "time-out", &mut acks), Turn::None);
    assert_eq!(codes(&acks), [102, 202, 500]);
    assert_eq!(acks[2].detail, "unknown outcome: time-out");
    assert_eq!((writer.back(&pulse), writer.step(&mut acks)), (Turn::None, None));
}

#[test]
fn after_a_lost_answer_the_mapper_looks_before_it_writes_again() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    writer.step(&mut acks);
    assert_eq!(writer.unanswered(&options(), "time-out", &mut acks), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack));
    assert_eq!(writer.read_back(&shows(3), &options(), &mut acks), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::Write(Value::Int(5))));
    writer.written(&options(), &mut acks);
    writer.read_back(&shows(5), &options(), &mut acks);
    assert_eq!(codes(&acks), [102, 202, 424, 202, 209]);
}

#[test]
fn a_read_back_that_is_lost_is_made_up_for_when_the_device_is_back() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    writer.step(&mut acks);
    writer.written(&options(), &mut acks);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack));
    writer.unanswered(&options(), "time-out", &mut acks);
    assert_eq!(acks[2].detail, "written, not read back yet: time-out");
    assert_eq!((writer.back(&options()), writer.step(&mut acks)), (NOW, Some(Step::ReadBack)));
    writer.read_back(&shows(5), &options(), &mut acks);
    assert_eq!(codes(&acks), [102, 202, 424, 209], "written once, and never called applied");
}

#[test]
fn a_pulse_whose_read_back_is_lost_is_applied_and_never_written_again() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let pulse = PropertyOptions { at_most_once: true, ..options() };
    writer.want(Some(wanted(1, 1, Known::New)), &pulse, &mut acks);
    announce(&mut writer, &mut acks);
    writer.step(&mut acks);
    writer.written(&pulse, &mut acks);
    assert_eq!(writer.unanswered(&pulse, "time-out", &mut acks), Turn::None);
    assert_eq!(codes(&acks), [102, 202, 200]);
    // The next process knows what the agent kept.
    let mut writer = Writer::default();
    let known = Known::Acked(AckCode::Applied);
    assert_eq!(writer.want(Some(wanted(1, 1, known)), &pulse, &mut acks), Turn::None);
}

#[test]
fn three_unanswered_writes_are_a_timeout() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    for _ in 0..3 {
        assert!(matches!(writer.step(&mut acks), Some(Step::Write(_))));
        writer.unanswered(&options(), "time-out", &mut acks);
        writer.read_back(&shows(3), &options(), &mut acks);
    }
    assert_eq!(codes(&acks), [102, 202, 424, 202, 424, 202, 504]);
    assert_eq!(writer.step(&mut acks), None);
}

#[test]
fn a_device_with_a_value_of_its_own_is_never_called_applied() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    writer.step(&mut acks);
    writer.written(&options(), &mut acks);
    let mut looks = 1;
    while let Turn::After(_) = writer.read_back(&shows(4), &options(), &mut acks) {
        looks += 1;
    }
    assert_eq!((looks, codes(&acks)), (4, vec![102, 202, 203]));
    assert_eq!(acks[2].detail, "the device shows 4");
}

#[test]
fn a_refusal_is_final_and_carries_the_devices_word() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(5, 1, Known::New)), &options(), &mut acks);
    writer.step(&mut acks);
    let fault = PropertyFault::Refused {
        code: QualityCode::NotFound,
        ack: AckCode::NotFound,
        detail: "exception 2".into(),
    };
    writer.refused(&fault, &mut acks);
    assert_eq!(codes(&acks), [102, 202, 404]);
    assert!(acks[2].detail.contains("exception 2"));
    assert_eq!((writer.back(&options()), writer.step(&mut acks)), (Turn::None, None));
}

#[test]
fn enforce_writes_once_per_drift() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let options = PropertyOptions { enforce: true, ..options() };
    let known = Known::Acked(AckCode::Verified);
    writer.want(Some(wanted(5, 1, known)), &options, &mut acks);
    assert_eq!(writer.seen(&Value::Int(5), &options), Turn::None);
    assert_eq!(writer.seen(&Value::Int(9), &options), NOW);
    assert!(matches!(writer.step(&mut acks), Some(Step::Write(_))));
    writer.written(&options, &mut acks);
    while let Turn::After(_) = writer.read_back(&shows(9), &options, &mut acks) {}
    assert_eq!(writer.seen(&Value::Int(9), &options), Turn::None, "the same drift");

    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let lax = PropertyOptions::default();
    writer.want(Some(wanted(5, 1, known)), &lax, &mut acks);
    assert_eq!(writer.seen(&Value::Int(9), &lax), Turn::None);
}

#[test]
fn reapply_looks_when_the_device_is_back_and_writes_if_it_forgot() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    let options = PropertyOptions { reapply: true, ..options() };
    writer.want(Some(wanted(5, 1, Known::Acked(AckCode::Verified))), &options, &mut acks);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack), "both may have been without power");
    assert_eq!(writer.read_back(&shows(5), &options, &mut acks), Turn::None);
    assert_eq!(writer.back(&options), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack));
    writer.read_back(&shows(0), &options, &mut acks);
    assert!(matches!(writer.step(&mut acks), Some(Step::Write(_))));
    assert!(acks.is_empty(), "what was acknowledged stays acknowledged");

    let pulse = PropertyOptions { at_most_once: true, ..options };
    let mut writer = Writer::default();
    let known = Known::Acked(AckCode::Verified);
    assert_eq!(writer.want(Some(wanted(1, 1, known)), &pulse, &mut acks), Turn::None);
}

#[test]
fn a_peer_without_versions_is_numbered_by_value_and_time() {
    let desire = |value: i64, timestamp: &str| Desire {
        value: Value::Int(value),
        metadata: BTreeMap::from([("timestamp".into(), timestamp.into())]),
    };
    let first = Wanted::read(&desire(5, "100"), None, Origin::Registration);
    assert_eq!((first.generation, first.known), (Generation(1), Known::Untold));
    let same = Wanted::read(&desire(5, "100"), Some(&first), Origin::Registration);
    assert_eq!(same, first);
    let touched = Wanted::read(&desire(5, "200"), Some(&first), Origin::Update);
    assert_eq!((touched.generation, touched.known), (Generation(2), Known::New));
}

#[test]
fn an_agent_that_numbers_is_believed() {
    let metadata = [("version", "7"), ("ackCode", "209"), ("ackVersion", "7")];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let desire = Desire { value: Value::Int(5), metadata: metadata.into() };
    let wanted = Wanted::read(&desire, None, Origin::Registration);
    assert_eq!(wanted.generation, Generation(7));
    assert_eq!(wanted.known, Known::Acked(AckCode::Verified));
}

#[test]
fn a_pulse_is_repeated_neither_over_a_drift_nor_after_an_outage() {
    let pulse = PropertyOptions { at_most_once: true, enforce: true, reapply: true, ..options() };
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(wanted(1, 1, Known::Acked(AckCode::Applied))), &pulse, &mut acks);
    assert_eq!(writer.seen(&Value::Int(0), &pulse), Turn::None);
    assert_eq!((writer.back(&pulse), writer.step(&mut acks)), (Turn::None, None));
}

fn dated(number: i64, generation: u64, millis: i64) -> Wanted {
    let set_at = Some(Timestamp::from_millis(millis));
    Wanted { set_at, ..wanted(number, generation, Known::New) }
}

#[test]
fn an_agent_that_lost_its_store_is_heard_when_it_desires_something_newer() {
    let (mut writer, mut acks) = (Writer::default(), Vec::new());
    writer.want(Some(dated(5, 9, 1_000)), &options(), &mut acks);
    writer.step(&mut acks);
    writer.written(&options(), &mut acks);
    writer.read_back(&shows(5), &options(), &mut acks);
    acks.clear();
    // What it found in an old copy of its store.
    assert_eq!(writer.want(Some(dated(4, 3, 500)), &options(), &mut acks), Turn::None);
    assert_eq!(writer.want(Some(dated(4, 3, 1_000)), &options(), &mut acks), Turn::None);
    assert_eq!(writer.wanted().unwrap().generation, Generation(9));
    // What somebody desired since.
    assert_eq!(writer.want(Some(dated(6, 4, 2_000)), &options(), &mut acks), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::ReadBack), "its numbers say nothing: look");
    assert_eq!(writer.read_back(&shows(5), &options(), &mut acks), NOW);
    assert_eq!(writer.step(&mut acks), Some(Step::Write(Value::Int(6))));
    writer.written(&options(), &mut acks);
    writer.read_back(&shows(6), &options(), &mut acks);
    assert_eq!(codes(&acks), [102, 202, 209]);
    assert!(acks.iter().all(|ack| ack.generation == Generation(4)));
    // The same number and value again, of a store that began anew.
    acks.clear();
    assert_eq!(writer.want(Some(dated(6, 4, 2_000)), &options(), &mut acks), Turn::None);
    assert_eq!(writer.want(Some(dated(6, 4, 3_000)), &options(), &mut acks), NOW);
    writer.read_back(&shows(6), &options(), &mut acks);
    assert_eq!(codes(&acks), [102, 209]);
}

proptest! {
    #[test]
    fn whatever_happens_codes_move_forward_and_a_pulse_is_sent_at_most_once(
        events in prop::collection::vec(0u8..8, 1..60),
        (at_most_once, enforce, reapply) in any::<(bool, bool, bool)>(),
    ) {
        let options = PropertyOptions { at_most_once, enforce, reapply, ..options() };
        let (mut writer, mut acks) = (Writer::default(), Vec::new());
        writer.want(Some(wanted(5, 1, Known::New)), &options, &mut acks);
        let (mut sent, mut killed) = (0, false);
        for event in events {
            let step = writer.step(&mut acks);
            if let Some(Step::Write(_)) = step {
                sent += 1;
            }
            if event == 7 && matches!(step, Some(Step::Announce | Step::Write(_))) {
                // The mapper is killed. What it announced, the agent had no time to record.
                if step == Some(Step::Announce) {
                    acks.pop();
                }
                let known = acks.last().map_or(Known::New, |ack| Known::Acked(ack.code));
                writer = Writer::default();
                writer.want(Some(wanted(5, 1, known)), &options, &mut acks);
                killed = true;
                continue;
            }
            match step {
                Some(Step::Write(_)) => match event {
                    0..=2 => { writer.unanswered(&options, "lost", &mut acks); }
                    _ => { writer.written(&options, &mut acks); }
                },
                Some(Step::Announce) => {
                    writer.announced(u64::from(event));
                    if event > 4 {
                        writer.unreachable("away", &mut acks);
                    }
                    writer.cleared(u64::from(event));
                }
                Some(Step::ReadBack) => match event {
                    0 | 1 => { writer.unanswered(&options, "lost", &mut acks); }
                    2 | 3 => { writer.read_back(&shows(4), &options, &mut acks); }
                    4 => { writer.read_back(&Err(PropertyFault::undecodable("x")), &options, &mut acks); }
                    _ => { writer.read_back(&shows(5), &options, &mut acks); }
                },
                None if event % 2 == 0 => { writer.back(&options); }
                None => { writer.seen(&Value::Int(i64::from(event)), &options); }
            }
        }
        for pair in acks.windows(2) {
            prop_assert!(pair[0].code.may_become(pair[1].code), "{:?}", codes(&acks));
        }
        let most = match (at_most_once, enforce || reapply || killed) {
            (true, _) => 1,
            (false, true) => u32::MAX,
            (false, false) => TRIES,
        };
        prop_assert!(sent <= most, "{sent}");
    }
}
