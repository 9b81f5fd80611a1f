//! Faults as text.

use proptest::prelude::*;

use super::*;

#[test]
fn every_fault_can_be_written_on_a_command_line() {
    for (text, fault) in [
        ("silence:unit=3", Fault::new(FaultKind::Silence).unit(3)),
        ("delay:unit=1,ms=200", Fault::new(FaultKind::Delay(Duration::from_millis(200))).unit(1)),
        ("exception", Fault::new(FaultKind::Exception(4))),
        ("wrong-crc:count=2", Fault::new(FaultKind::WrongCrc).count(2)),
        ("truncate: function=3, every=5", Fault::new(FaultKind::Truncate).function(3).every(5)),
        ("late:ms=1500", Fault::new(FaultKind::Late(Duration::from_millis(1500)))),
        ("wrong-transaction:unit=2", Fault::new(FaultKind::WrongTransaction).unit(2)),
        ("garbage", Fault::new(FaultKind::Garbage(Duration::ZERO))),
        (
            "garbage:ms=300,count=1",
            Fault::new(FaultKind::Garbage(Duration::from_millis(300))).count(1),
        ),
        ("echo:every=2", Fault::new(FaultKind::Echo).every(2)),
        ("merge:ms=300", Fault::new(FaultKind::Merge(Duration::from_millis(300)))),
        ("reboot:ms=2000,count=1", Fault::new(FaultKind::Reboot(Duration::from_secs(2))).count(1)),
        ("reset:every=10", Fault::new(FaultKind::Reset).every(10)),
        ("one-connection", Fault::new(FaultKind::OneConnection)),
    ] {
        assert_eq!(text.parse(), Ok(fault), "{text}");
    }
}

#[test]
fn what_is_no_fault_says_what_would_be_one() {
    for (text, message) in [
        ("noise", "write one of delay, late, silence"),
        ("reboot:count=1", "say how long, as in reboot:ms=200"),
        ("delay", "say how long, as in delay:ms=200"),
        ("delay:ms=0", "write milliseconds from 1"),
        ("garbage:code=1", "write ms=, unit="),
        ("delay:ms=soon", "delay: ms=soon: write milliseconds"),
        ("silence:unit=300", "silence: unit=300: write a unit from 0 to 255"),
        ("silence:code=2", "\"code=2\" does not belong here; write unit="),
        ("silence:unit", "\"unit\" does not belong here"),
        ("one-connection:unit=1", "write nothing after the word"),
        ("reset:every=0", "every=0: write a whole number from 1"),
        ("exception:function=200", "function=200: write a function code from 1 to 127"),
    ] {
        let error = text.parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

fn optional(most: u64) -> impl Strategy<Value = Option<u64>> {
    prop::option::of(1..=most)
}

proptest! {
    #[test]
    fn faults_survive_text(
        kind in prop_oneof![
            (1..3_600_000u64).prop_map(|ms| FaultKind::Delay(Duration::from_millis(ms))),
            (1..3_600_000u64).prop_map(|ms| FaultKind::Late(Duration::from_millis(ms))),
            (1..3_600_000u64).prop_map(|ms| FaultKind::Merge(Duration::from_millis(ms))),
            (1..3_600_000u64).prop_map(|ms| FaultKind::Reboot(Duration::from_millis(ms))),
            (1..=255u8).prop_map(FaultKind::Exception),
            Just(FaultKind::WrongTransaction),
            (0..3_600_000u64).prop_map(|ms| FaultKind::Garbage(Duration::from_millis(ms))),
            Just(FaultKind::Echo),
            Just(FaultKind::Silence),
            Just(FaultKind::WrongCrc),
            Just(FaultKind::Truncate),
            Just(FaultKind::Reset),
        ],
        unit in optional(255), function in optional(127), count in optional(u64::MAX), every in optional(u64::MAX),
    ) {
        let byte = |number: Option<u64>| number.map(|number| u8::try_from(number).unwrap());
        let fault = Fault { kind, unit: byte(unit), function: byte(function), count, every };
        prop_assert_eq!(fault.to_string().parse(), Ok(fault));
    }

    #[test]
    fn any_text_is_read_without_panic(text in ".{0,60}") {
        let _ = text.parse::<Fault>();
    }
}
