//! The hub's end alone.

use std::time::Duration;

use device_model::Timestamp;
use edge_link::content::Holding;
use edge_link::down::{Outgoing, Queue, QueueSettings, Task, Window};
use edge_link::words::operation;
use edge_link::{Kind, MessageId, ObjectKey, Uid, Version};
use serde_json::{Value, json};

use crate::vectors::vector;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Some("demo"), Kind::DEVICE, name).unwrap()
}

fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn holding(name: &str, life: &str, version: &str) -> Holding {
    Holding { key: key(name), uid: uid(life), version: Version::new(version) }
}

/// A queue with a clock and fresh ids `1`, `2`, `3`.
struct Hub {
    queue: Queue<()>,
    now: u64,
    ids: u32,
}

impl Hub {
    fn new() -> Self {
        Self { queue: Queue::new(QueueSettings::default()), now: 0, ids: 0 }
    }

    /// Towards an edge that has nothing.
    fn linked(window: Window) -> Self {
        let mut hub = Self::new();
        hub.queue.connect(window, Some(Vec::new()));
        hub
    }

    fn put(&mut self, name: &str, life: &str, version: &str) {
        self.queue.put(&key(name), uid(life), Version::new(version), ());
    }

    fn next(&mut self) -> Option<Outgoing<()>> {
        self.ids += 1;
        self.queue.next(Duration::from_secs(self.now), id(&self.ids.to_string()))
    }

    /// All that is sent now: id, `+` or `-`, name, life, and the version.
    fn sent(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next())
            .map(|one| match one.task {
                Task::Put { uid, version, .. } => {
                    format!("{} +{} {uid} {}", one.id, one.key.name(), version.resource_version)
                }
                Task::Delete { uid } => format!("{} -{} {uid}", one.id, one.key.name()),
            })
            .collect()
    }

    fn ack(&mut self, message: &str) -> bool {
        self.queue.acknowledge(&id(message)).is_some()
    }
}

#[test]
fn the_newest_state_is_sent_and_the_order_between_objects_kept() {
    let mut hub = Hub::new();
    hub.put("b", "b1", "1");
    hub.put("a", "a1", "1");
    hub.put("b", "b1", "2");
    assert_eq!(hub.sent(), [""; 0], "there is no link");
    hub.queue.connect(Window::AGENT, Some(Vec::new()));
    assert_eq!(hub.sent(), ["2 +b b1 2", "3 +a a1 1"]);
    assert!(hub.ack("3") && hub.ack("2"));
    assert!(hub.queue.is_settled());
    hub.put("b", "b1", "2");
    assert_eq!(hub.sent(), [""; 0], "the edge has it");
}

#[test]
fn an_older_state_from_a_cache_that_lags_is_no_news() {
    let mut hub = Hub::linked(Window::AGENT);
    let version = |text, generation| Version::new(text).of_generation(generation);
    hub.queue.put(&key("a"), uid("a1"), version("9", 4), ());
    hub.queue.put(&key("a"), uid("a1"), version("8", 3), ());
    assert_eq!(hub.sent(), ["1 +a a1 9"]);
}

#[test]
fn towards_edgecore_one_message_waits_at_a_time_and_towards_ours_many() {
    let mut hub = Hub::linked(Window::EDGECORE);
    for name in ["a", "b", "c"] {
        hub.put(name, name, "1");
    }
    assert_eq!(hub.sent(), ["1 +a a 1"]);
    assert!(hub.ack("1"));
    assert_eq!(hub.sent(), ["3 +b b 1"]);
    hub.queue.connect(Window::of(2), Some(Vec::new()));
    assert_eq!(hub.sent().len(), 2);
    assert_eq!(hub.queue.in_flight(), 2);
}

#[test]
fn what_is_not_acknowledged_is_sent_five_times_and_then_others_have_their_turn() {
    let mut hub = Hub::linked(Window::EDGECORE);
    hub.put("d", "d1", "1");
    assert_eq!(hub.sent(), ["1 +d d1 1"]);
    hub.put("c", "c1", "1");
    hub.put("d", "d1", "2");
    let mut sent = Vec::new();
    for second in 1..=60 {
        hub.now = second;
        sent.extend(hub.sent().into_iter().map(|what| {
            let (_, what) = what.split_once(' ').unwrap();
            format!("{second} {what}")
        }));
    }
    // As CloudCore does, but for the last: the newest state as soon as it is the object's turn again.
    let d = |second: u32| format!("{second} +d d1 1");
    let c = |second: u32| format!("{second} +c c1 1");
    let mut wanted: Vec<_> = [5, 10, 15, 20].map(d).into();
    wanted.extend([25, 30, 35, 40, 45].map(c));
    wanted.extend([50, 55, 60].map(|second| format!("{second} +d d1 2")));
    assert_eq!(sent, wanted);
}

#[test]
fn a_message_that_is_sent_again_is_the_same_and_a_new_try_has_another_id() {
    let mut hub = Hub::linked(Window::EDGECORE);
    hub.put("a", "a1", "1");
    let first = hub.next().unwrap();
    assert_eq!(hub.queue.due(), Some(Duration::from_secs(5)));
    for second in [5, 10, 15, 20] {
        hub.now = second;
        assert_eq!(hub.next().as_ref(), Some(&first));
        assert_eq!(hub.next(), None);
    }
    hub.now = 25;
    let second = hub.next().unwrap();
    assert!(second.id != first.id && second.order > first.order);
    assert!(!hub.ack(first.id.as_str()), "nobody waits for it any more");
    assert!(hub.ack(second.id.as_str()));
    assert_eq!(hub.queue.due(), None);
}

#[test]
fn a_late_or_foreign_acknowledgement_changes_nothing() {
    let mut hub = Hub::linked(Window::AGENT);
    hub.put("a", "a1", "1");
    assert_eq!(hub.sent(), ["1 +a a1 1"]);
    let before = hub.queue.clone();
    assert!(!hub.ack("no such"));
    assert_eq!(hub.queue, before);
    assert!(hub.ack("1"));
    let before = hub.queue.clone();
    assert!(!hub.ack("1"), "twice");
    assert_eq!(hub.queue, before);
}

#[test]
fn an_acknowledgement_of_an_older_state_is_none_of_the_newer() {
    let mut hub = Hub::linked(Window::AGENT);
    hub.put("a", "a1", "1");
    assert_eq!(hub.sent(), ["1 +a a1 1"]);
    hub.put("a", "a1", "2");
    assert_eq!(hub.sent(), [""; 0], "two states of one object are never under way at once");
    let done = hub.queue.acknowledge(&id("1")).unwrap();
    assert_eq!(done.version, Some(Version::new("1")));
    assert_eq!(hub.sent(), ["4 +a a1 2"]);
}

#[test]
fn an_acknowledgement_counts_whatever_route_it_bears() {
    // Source and group of EdgeCore's differ with the operation; the parent alone says what it is for.
    let mut hub = Hub::linked(Window::EDGECORE);
    for (name, ack) in [("pump", "u12"), ("pump", "u13")] {
        let ack = vector(ack);
        let parent = ack.header.parent.unwrap();
        hub.put(name, "u-pump", parent.as_str());
        assert!(hub.queue.next(Duration::ZERO, parent.clone()).is_some());
        assert!(hub.queue.acknowledge(&parent).is_some());
    }
}

#[test]
fn a_link_that_breaks_loses_nothing_and_keeps_the_order() {
    let mut hub = Hub::linked(Window::of(2));
    for name in ["c", "a", "b"] {
        hub.put(name, name, "1");
    }
    assert_eq!(hub.sent(), ["1 +c c 1", "2 +a a 1"]);
    assert!(hub.ack("2"));
    hub.queue.disconnect();
    hub.put("a", "a", "2");
    assert_eq!(hub.sent(), [""; 0]);
    assert_eq!(hub.queue.differing(), 3);
    hub.queue.connect(Window::of(3), None);
    assert!(!hub.ack("1"), "of the former link");
    let sent: Vec<_> =
        hub.sent().iter().map(|what| what[what.find('+').unwrap()..].to_owned()).collect();
    assert_eq!(sent, ["+c c 1", "+b b 1", "+a a 2"]);
}

#[test]
fn a_returning_edge_is_told_what_differs_and_nothing_else() {
    // CloudCore tells it of none that came or went meanwhile.
    let mut hub = Hub::new();
    hub.put("same", "s1", "7");
    hub.put("changed", "c1", "8");
    hub.put("came", "n1", "1");
    hub.put("again", "g2", "1");
    let held = vec![
        holding("same", "s1", "7"),
        holding("changed", "c1", "4"),
        holding("gone", "x1", "3"),
        holding("again", "g1", "5"),
    ];
    hub.queue.connect(Window::AGENT, Some(held));
    let mut sent = hub.sent();
    sent.sort_by_key(|what| what.split_once(' ').unwrap().1.to_owned());
    let what: Vec<_> = sent.iter().map(|what| what.split_once(' ').unwrap().1).collect();
    assert_eq!(what, ["+came n1 1", "+changed c1 8", "-again g1", "-gone x1"]);
    for message in sent {
        assert!(hub.ack(message.split(' ').next().unwrap()));
    }
    assert_eq!(hub.sent().len(), 1, "the new life follows the end of the old one");
}

#[test]
fn an_edge_that_lost_its_store_is_told_everything() {
    let mut hub = Hub::linked(Window::AGENT);
    hub.put("a", "a1", "1");
    assert_eq!(hub.sent(), ["1 +a a1 1"]);
    assert!(hub.ack("1"));
    hub.queue.connect(Window::AGENT, None);
    assert_eq!(hub.sent(), [""; 0]);
    hub.queue.connect(Window::AGENT, Some(Vec::new()));
    assert_eq!(hub.sent().len(), 1);
}

#[test]
fn the_end_of_a_former_life_is_told_before_the_next_one_begins() {
    let mut hub = Hub::linked(Window::EDGECORE);
    hub.put("a", "a1", "1");
    assert_eq!(hub.sent(), ["1 +a a1 1"]);
    assert!(hub.ack("1"));
    hub.queue.delete(&key("a"), &uid("a1"));
    hub.put("a", "a2", "2");
    assert_eq!(hub.sent(), ["3 -a a1"]);
    // Not even if it is late: it would be taken for the end of the new one.
    hub.now = 1000;
    assert_eq!(hub.next().unwrap().id, id("3"));
    assert!(hub.ack("3"));
    assert_eq!(hub.sent(), ["6 +a a2 2"]);
}

#[test]
fn the_end_of_another_life_says_nothing_of_this_one() {
    let mut hub = Hub::linked(Window::AGENT);
    hub.put("a", "a2", "2");
    hub.queue.delete(&key("a"), &uid("a1"));
    hub.queue.delete(&key("never seen"), &uid("x"));
    assert_eq!(hub.sent(), ["1 +a a2 2"]);
}

#[test]
fn what_came_and_went_while_there_was_no_link_costs_nothing() {
    let mut hub = Hub::new();
    for life in ["a1", "a2", "a3"] {
        hub.put("a", life, "1");
        hub.queue.delete(&key("a"), &uid(life));
    }
    assert_eq!(hub.queue.differing(), 0);
    hub.queue.connect(Window::AGENT, None);
    assert_eq!(hub.sent(), [""; 0]);
}

#[test]
fn a_state_that_was_sent_and_came_and_went_is_deleted_though_nobody_acknowledged_it() {
    let mut hub = Hub::linked(Window::AGENT);
    hub.put("a", "a1", "1");
    assert_eq!(hub.sent(), ["1 +a a1 1"]);
    hub.queue.disconnect();
    hub.queue.delete(&key("a"), &uid("a1"));
    hub.queue.connect(Window::AGENT, None);
    assert_eq!(hub.sent(), ["3 -a a1"]);
}

#[test]
fn a_message_is_made_as_the_real_cloud_makes_it() {
    let object = |version: &str| {
        let mut object = vector("d4").content;
        object["metadata"]["resourceVersion"] = version.into();
        object
    };
    let mut queue: Queue<Value> = Queue::new(QueueSettings::default());
    queue.connect(Window::EDGECORE, Some(Vec::new()));
    let pump = key("pump");
    let sent = |queue: &mut Queue<Value>, text: &str, millis| {
        let outgoing = queue.next(Duration::ZERO, id(text)).unwrap();
        let mut message = outgoing.message(Timestamp::from_millis(millis), Value::clone);
        assert!(message.header.order.take().is_some());
        queue.acknowledge(&outgoing.id).unwrap();
        message
    };
    queue.put(&pump, uid("u-pump"), Version::new("1172"), object("1172"));
    assert_eq!(sent(&mut queue, "d4", 1_785_000_000_332), vector("d4"));
    queue.put(&pump, uid("u-pump"), Version::new("1234"), object("1234"));
    let update = sent(&mut queue, "d5", 1_785_000_005_000);
    assert!(update.is(operation::UPDATE));
    assert_eq!(
        update.route.source.as_deref(),
        Some("devicecontroller"),
        "EdgeCore tells no mapper of others"
    );
    queue.delete(&pump, &uid("u-pump"));
    let gone = sent(&mut queue, "d6", 1_785_000_006_000);
    assert_eq!(gone.content, vector("d6").content);
    let node = ObjectKey::new(None, Kind::NODE, "edge-7").unwrap();
    queue.put(&node, uid("u-node"), Version::new("1"), json!({}));
    let node = sent(&mut queue, "d2", 0);
    assert_eq!(node.route.source.as_deref(), Some("edgecontroller"));
    assert_eq!(node.route.resource.as_deref(), Some("null/node/edge-7"));
}
