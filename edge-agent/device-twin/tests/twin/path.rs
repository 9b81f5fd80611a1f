//! The way of one value: reported up, desired down, acknowledged.

use crate::fixture::{Bench, at};
use device_model::{AckCode, Quality, Value};
use device_twin::{Command, PropertyReport};

#[test]
fn a_value_is_reported_and_another_desired_and_acknowledged() {
    let mut bench = Bench::with_pump();
    let change =
        bench.change(at(1), Command::Report(bench.reads("speed", Value::Int(1200), at(1))));
    assert_eq!(change.rev, 2);
    assert!(change.properties[0].reported_changed());
    let reported = bench.property("speed").reported.unwrap();
    assert_eq!((reported.value, reported.quality), (Some(Value::Int(1200)), Quality::Good));

    let change = bench.change(at(2), Command::Desire(bench.wants("speed", "1450")));
    assert!(change.properties[0].desired_changed() && change.delta_changed);
    assert_eq!(bench.delta(), ["speed=1450@1"]);
    assert!(!bench.property("speed").settled());

    let verified = PropertyReport::ack("speed", bench.ack(1, AckCode::Verified));
    let reading = bench.reading(Value::Int(1450), at(3));
    let report = PropertyReport { reading: Some(reading), ..verified };
    let change = bench.change(at(3), Command::Report(bench.report().with(report)));
    assert!(change.properties[0].ack_changed() && change.delta_changed);
    assert_eq!(change.rev, 4);
    assert!(bench.property("speed").settled());
    assert!(bench.in_sync("speed"));
    assert!(bench.delta().is_empty());
}
