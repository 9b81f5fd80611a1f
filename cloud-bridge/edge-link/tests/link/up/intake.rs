//! The cloud's end alone.

use std::collections::BTreeMap;

use device_model::Timestamp;
use edge_link::content::{self, Confirmation, Point, Progress, TwinReport};
use edge_link::up::{Intake, Judged, Report, Sample};
use edge_link::{MessageId, Uid};

use crate::vectors::vector;

fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

fn point(epoch: u64, rev: u64) -> Point {
    Point { uid: uid("u"), epoch, rev }
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

/// A report of the device `u`: what changed after `base` up to `rev`.
fn report(
    name: &str,
    (epoch, base_rev, rev): (u64, u64, u64),
    changed: &[(&str, i32)],
) -> Report<String, i32> {
    let changed =
        changed.iter().map(|(property, value)| ((*property).to_owned(), *value)).collect();
    Report { id: id(name), progress: Progress { uid: uid("u"), epoch, rev, base_rev }, changed }
}

fn intake(written: Option<&Point>) -> Intake<String, i32> {
    Intake::new(uid("u"), written)
}

fn values(values: &[(&str, i32)]) -> BTreeMap<String, i32> {
    values.iter().map(|(property, value)| ((*property).to_owned(), *value)).collect()
}

#[test]
fn a_report_is_confirmed_when_it_is_written_and_not_before() {
    let mut intake = intake(None);
    assert_eq!(intake.take(report("1", (1, 0, 3), &[("a", 1)])), Judged::Accepted);
    assert_eq!(intake.done(), []);
    let write = intake.write().unwrap();
    assert_eq!((write.point, write.whole), (point(1, 3), true));
    assert_eq!(intake.write(), None, "one at a time");
    assert_eq!(intake.done(), [(id("1"), Confirmation::Has(point(1, 3)))]);
    assert_eq!(intake.written(), Some(point(1, 3)));
}

#[test]
fn several_reports_are_one_write_with_the_newest_of_each_property() {
    let mut intake = intake(Some(&point(1, 3)));
    intake.take(report("1", (1, 3, 4), &[("a", 1), ("b", 1)]));
    intake.take(report("2", (1, 3, 6), &[("a", 2), ("c", 2)]));
    let write = intake.write().unwrap();
    assert_eq!((write.point, write.whole), (point(1, 6), false));
    assert_eq!(write.changed, values(&[("a", 2), ("b", 1), ("c", 2)]));
    assert_eq!(intake.done().len(), 2);
}

#[test]
fn a_report_that_comes_twice_or_late_changes_nothing_and_is_answered() {
    let mut intake = intake(Some(&point(2, 7)));
    for late in [(2, 0, 7), (2, 3, 5), (1, 0, 99)] {
        let answer = intake.take(report("1", late, &[("a", 0)]));
        assert_eq!(answer, Judged::Answer(Confirmation::Has(point(2, 7))));
    }
    assert_eq!(intake.take(report("2", (2, 7, 9), &[("a", 9)])), Judged::Accepted);
    assert_eq!(
        intake.take(report("3", (2, 7, 8), &[("a", 8)])),
        Judged::Accepted,
        "with the newer one"
    );
    assert_eq!(intake.write().unwrap().changed, values(&[("a", 9)]));
    let confirmed = intake.done();
    assert_eq!(confirmed.len(), 2);
    assert!(confirmed.iter().all(|(_, said)| *said == Confirmation::Has(point(2, 9))));
}

#[test]
fn a_report_that_builds_on_what_is_not_there_is_refused_with_what_is() {
    let mut nothing = intake(None);
    let partial = report("1", (1, 4, 5), &[]);
    assert_eq!(nothing.take(partial.clone()), Judged::Answer(Confirmation::Nothing(uid("u"))));
    let mut less = intake(Some(&point(1, 3)));
    assert_eq!(less.take(partial), Judged::Answer(Confirmation::Has(point(1, 3))));
    let newer_store = report("2", (2, 1, 5), &[]);
    assert_eq!(less.take(newer_store), Judged::Answer(Confirmation::Has(point(1, 3))));
}

#[test]
fn a_report_of_a_former_life_is_told_that_it_is_over() {
    let mut intake = intake(None);
    let mut former = report("1", (1, 0, 5), &[("a", 1)]);
    former.progress.uid = uid("former");
    assert_eq!(intake.take(former), Judged::Answer(Confirmation::Gone(uid("former"))));
    assert_eq!(intake.write(), None);
}

#[test]
fn a_new_life_of_the_store_replaces_everything() {
    let mut intake = intake(Some(&point(1, 90)));
    intake.take(report("1", (1, 90, 91), &[("a", 1), ("b", 1)]));
    assert_eq!(intake.take(report("2", (2, 0, 1), &[("a", 2)])), Judged::Accepted);
    let write = intake.write().unwrap();
    assert_eq!((write.whole, write.changed), (true, values(&[("a", 2)])));
}

#[test]
fn what_the_api_server_does_not_take_is_written_again_with_what_came_since() {
    let mut intake = intake(Some(&point(1, 3)));
    intake.take(report("1", (1, 3, 4), &[("a", 1), ("b", 1)]));
    assert!(intake.write().is_some());
    intake.take(report("2", (1, 3, 5), &[("a", 2)]));
    assert_eq!(intake.refused(Some(&point(1, 3))), []);
    let write = intake.write().unwrap();
    assert_eq!(write.changed, values(&[("a", 2), ("b", 1)]));
    // Another hub has written more; or the record was deleted.
    let answers = intake.refused(Some(&point(1, 8)));
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].1, Confirmation::Has(point(1, 8)));
    intake.take(report("3", (1, 8, 9), &[("a", 3)]));
    assert!(intake.write().is_some());
    assert_eq!(intake.refused(None), [(id("3"), Confirmation::Nothing(uid("u")))]);
    assert_eq!(intake.write(), None);
}

#[test]
fn a_report_of_edgecore_that_comes_minutes_late_is_before_the_newer_one() {
    let sample = |name: &str| {
        let report: TwinReport = content::read(&vector(name).content).unwrap();
        Sample::of(&report.twin["speed"], report.timestamp)
    };
    let (first, second) = (sample("u9"), sample("u10"));
    assert!(first.is_before(&second) && !second.is_before(&first) && !first.is_before(&first));
    let at = |version, millis| Sample { version, at: Timestamp::from_millis(millis) };
    assert!(!at(1, 9).is_before(&at(7, 5)), "a twin that was made anew");
    assert!(!at(8, 3).is_before(&at(7, 5)), "a clock that was set back");
}
