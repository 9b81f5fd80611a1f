//! The edge's end alone.

use std::time::Duration;

use edge_link::content::{Confirmation, Point, Welcome};
use edge_link::up::{Outbox, OutboxSettings, Told};
use edge_link::{MessageId, Uid};

fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

fn point(life: &str, epoch: u64, rev: u64) -> Point {
    Point { uid: uid(life), epoch, rev }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An outbox in epoch 5, and fresh ids `1`, `2`, `3`.
struct Edge {
    outbox: Outbox<&'static str>,
    ids: u32,
}

impl Edge {
    fn new(settings: OutboxSettings) -> Self {
        Self { outbox: Outbox::new(settings, 5), ids: 0 }
    }

    fn linked() -> Self {
        let mut edge = Self::new(OutboxSettings::default());
        assert_eq!(edge.outbox.connect(None), Told::Nothing);
        edge
    }

    fn note(&mut self, name: &'static str, rev: u64) {
        self.outbox.note(&name, &uid(name), rev);
    }

    /// All that is sent at that second: id, device, and from which revision to which.
    fn sent(&mut self, second: u64) -> Vec<String> {
        std::iter::from_fn(|| {
            let id = MessageId::new(&(self.ids + 1).to_string()).unwrap();
            let upload = self.outbox.next(seconds(second), id)?;
            self.ids += 1;
            let progress = upload.progress;
            Some(format!("{} {} {}..{}", upload.id, upload.key, progress.base_rev, progress.rev))
        })
        .collect()
    }

    fn told(&mut self, id: &str, said: &Confirmation) -> Told<&'static str> {
        self.outbox.confirm(&MessageId::new(id).unwrap(), said)
    }

    fn taken(&mut self, id: &str) -> Told<&'static str> {
        self.told(id, &Confirmation::Taken)
    }
}

#[test]
fn the_newest_is_sent_once_and_then_what_changed_since() {
    let mut edge = Edge::linked();
    edge.note("a", 1);
    edge.note("a", 2);
    assert_eq!(edge.sent(0), ["1 a 0..2"]);
    edge.note("a", 3);
    assert_eq!(edge.sent(0), [""; 0], "one report of a device at a time");
    assert_eq!(edge.taken("1"), Told::Confirmed("a", point("a", 5, 2)));
    assert_eq!(edge.sent(0), ["2 a 2..3"]);
    assert_eq!(edge.taken("2"), Told::Confirmed("a", point("a", 5, 3)));
    assert!(edge.outbox.is_settled());
}

#[test]
fn what_was_reported_while_there_was_no_link_is_sent_when_there_is_one() {
    // EdgeCore sends none of it, and minutes later what was under way when the link broke.
    let mut edge = Edge::linked();
    edge.note("a", 1);
    assert_eq!(edge.sent(0), ["1 a 0..1"]);
    edge.outbox.disconnect();
    edge.note("a", 2);
    edge.note("a", 3);
    assert_eq!(edge.sent(0), [""; 0]);
    edge.outbox.connect(None);
    assert_eq!(edge.taken("1"), Told::Nothing, "of the former link");
    assert_eq!(edge.sent(0), ["2 a 0..3"]);
}

#[test]
fn a_late_confirmation_confirms_nothing_and_brings_no_old_value_back() {
    let mut edge = Edge::linked();
    edge.note("a", 1);
    assert_eq!(edge.sent(0), ["1 a 0..1"]);
    edge.note("a", 2);
    assert_eq!(edge.outbox.due(), Some(seconds(10)));
    assert_eq!(edge.sent(10), ["2 a 0..2"], "never the old one again");
    assert_eq!(edge.taken("1"), Told::Nothing);
    assert_eq!(edge.outbox.due(), Some(seconds(30)), "twice the span");
    assert_eq!(edge.taken("2"), Told::Confirmed("a", point("a", 5, 2)));
    assert_eq!(edge.told("2", &Confirmation::Has(point("a", 5, 1))), Told::Nothing);
    assert!(edge.outbox.is_settled());
}

#[test]
fn live_changes_go_before_the_backlog_and_do_not_starve_it() {
    let settings = OutboxSettings { in_flight: 1, ..OutboxSettings::default() };
    let mut edge = Edge::new(settings);
    for name in ["old-1", "old-2", "old-3"] {
        edge.note(name, 1);
    }
    edge.outbox.connect(None);
    let live = ["a", "b", "c", "d", "e", "f"];
    live.iter().for_each(|name| edge.note(name, 1));
    let mut order = Vec::new();
    while let Some(sent) = edge.sent(0).pop() {
        let mut words = sent.split(' ');
        let id = words.next().unwrap();
        edge.taken(id);
        order.push(words.next().unwrap().to_owned());
    }
    assert_eq!(order, ["a", "b", "c", "old-1", "d", "e", "f", "old-2", "old-3"]);
}

#[test]
fn a_live_change_of_what_waited_before_goes_first() {
    let settings = OutboxSettings { in_flight: 1, ..OutboxSettings::default() };
    let mut edge = Edge::new(settings);
    ["old-1", "old-2", "old-3"].iter().for_each(|name| edge.note(name, 1));
    edge.outbox.connect(None);
    edge.note("old-3", 2);
    assert_eq!(edge.sent(0), ["1 old-3 0..2"], "both of it in one");
}

#[test]
fn what_a_cloud_turns_out_not_to_have_waits_behind_live_changes() {
    let settings = OutboxSettings { in_flight: 1, ..OutboxSettings::default() };
    let mut edge = Edge::new(settings);
    for name in ["lost-1", "lost-2"] {
        edge.outbox.restore(&name, uid(name), 7, Some(&point(name, 5, 7)));
    }
    assert!(edge.outbox.is_settled());
    assert_eq!(edge.outbox.connect(Some(&Welcome::default())), Told::Nothing);
    edge.note("live", 1);
    assert_eq!(edge.sent(0), ["1 live 0..1"]);
}

#[test]
fn no_more_are_in_flight_than_may_be() {
    let settings = OutboxSettings { in_flight: 2, ..OutboxSettings::default() };
    let mut edge = Edge::new(settings);
    edge.outbox.connect(None);
    ["a", "b", "c"].iter().for_each(|name| edge.note(name, 1));
    assert_eq!(edge.sent(0).len(), 2);
    assert_eq!((edge.outbox.in_flight(), edge.outbox.differing()), (2, 3));
}

#[test]
fn a_cloud_that_has_less_than_it_confirmed_is_sent_everything() {
    let mut edge = Edge::linked();
    edge.outbox.restore(&"a", uid("a"), 7, Some(&point("a", 5, 7)));
    assert_eq!(edge.sent(0), [""; 0]);
    let welcome = Welcome { has: vec![point("a", 5, 3)], gone: Vec::new() };
    edge.outbox.connect(Some(&welcome));
    assert_eq!(edge.sent(0), ["1 a 0..7"]);
    assert_eq!(edge.told("1", &Confirmation::Nothing(uid("a"))), Told::Nothing);
    assert_eq!(edge.sent(0), ["2 a 0..7"]);
    assert_eq!(edge.taken("2"), Told::Nothing, "it was confirmed before");
    assert!(edge.outbox.is_settled());
}

#[test]
fn a_cloud_says_from_where_to_go_on() {
    let mut edge = Edge::linked();
    edge.outbox.restore(&"a", uid("a"), 9, None);
    edge.outbox.restore(&"b", uid("b"), 4, None);
    edge.outbox.restore(&"c", uid("c"), 2, None);
    let welcome = Welcome { has: vec![point("a", 5, 6), point("b", 5, 4)], gone: vec![uid("c")] };
    assert_eq!(edge.outbox.connect(Some(&welcome)), Told::Nothing);
    assert_eq!(edge.sent(0), ["1 a 6..9"]);
    assert_eq!(edge.outbox.points().count(), 2);
    assert_eq!(edge.told("1", &Confirmation::Gone(uid("a"))), Told::Nothing);
    assert!(edge.outbox.is_settled());
}

#[test]
fn a_new_life_of_a_store_or_of_a_device_builds_on_nothing() {
    let mut edge = Edge::linked();
    edge.outbox.restore(&"a", uid("a"), 9, Some(&point("a", 4, 9)));
    assert_eq!(edge.sent(0), ["1 a 0..9"], "it was confirmed to the store before");
    edge.outbox.note(&"a", &uid("a-again"), 1);
    assert_eq!(edge.taken("1"), Told::Nothing);
    assert_eq!(edge.sent(0), ["2 a 0..1"]);
}

#[test]
fn a_store_that_is_behind_the_cloud_begins_anew_above_it() {
    let welcome = |has| Welcome { has: vec![has], gone: Vec::new() };
    let mut edge = Edge::linked();
    edge.note("a", 3);
    assert_eq!(edge.outbox.connect(Some(&welcome(point("x", 8, 1)))), Told::Behind(9));
    assert_eq!(edge.outbox.connect(Some(&welcome(point("a", 5, 4)))), Told::Behind(6));
    assert_eq!(edge.sent(0), [""; 0], "nothing before it does");
    edge.outbox.connect(None);
    assert_eq!(edge.sent(0), ["1 a 0..3"]);
    assert_eq!(edge.told("1", &Confirmation::Has(point("a", 7, 1))), Told::Behind(8));
}
