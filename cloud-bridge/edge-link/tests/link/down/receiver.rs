//! The edge's end alone.

use edge_link::content::Holding;
use edge_link::down::{Change, Delivery, DeliveryError, Known, Receiver, Said, Verdict};
use edge_link::{Message, Uid, Version};
use serde_json::json;

use crate::vectors::vector;

fn uid(text: &str) -> Uid {
    Uid::new(text).unwrap()
}

fn delivery(message: &Message) -> Delivery {
    Delivery::read(message).unwrap()
}

/// Judges, and settles as if it were committed.
fn receive(receiver: &mut Receiver, message: &Message) -> Verdict {
    let verdict = receiver.judge(&delivery(message));
    receiver.settle(delivery(message));
    verdict
}

/// The pump in another state, life, or place on the link.
fn pump(operation: &str, life: &str, version: &str, generation: u64) -> Message {
    let mut message = vector("d4");
    message.route.operation = Some(operation.into());
    message.header.resource_version = Some(version.into());
    message.content["metadata"] = json!({
        "name": "pump", "namespace": "demo", "uid": life,
        "resourceVersion": version, "generation": generation,
    });
    message
}

fn in_order(mut message: Message, order: u64) -> Message {
    message.header.order = Some(order);
    message
}

fn held(receiver: &Receiver) -> Vec<(String, String)> {
    let text = |one: Holding| (one.uid.to_string(), one.version.resource_version.to_string());
    receiver.held().map(text).collect()
}

#[test]
fn the_kind_comes_from_the_resource_and_the_version_from_the_object() {
    let again = delivery(&vector("d5"));
    assert_eq!(again.key.to_string(), "demo/device/pump");
    assert_eq!(again.said, Said::Is(Version::new("1234").of_generation(1)));
    let mut text = vector("d5");
    text.content = text.content.to_string().into();
    assert_eq!(delivery(&text), again);
    let mut bare = vector("d12");
    assert_eq!(delivery(&bare).said, Said::Is(Version::new("9")), "that of the header");
    bare.header.resource_version = None;
    assert!(matches!(Delivery::read(&bare), Err(DeliveryError::NoVersion { .. })));
}

#[test]
fn what_cannot_be_kept_is_an_error_that_says_why() {
    let wrong = |change: &dyn Fn(&mut Message)| {
        let mut message = vector("d4");
        change(&mut message);
        Delivery::read(&message).unwrap_err().to_string()
    };
    let error = wrong(&|message| message.content = json!(null));
    assert_eq!(
        error,
        "demo/device/pump: metadata.uid is missing; send the object as the API server has it"
    );
    let error = wrong(&|message| message.content["metadata"]["uid"] = json!(""));
    assert!(error.contains("metadata.uid is missing"));
    let error = wrong(&|message| message.route.operation = Some("patch".into()));
    assert!(error.contains("operation \"patch\" does nothing"), "{error}");
    let error = wrong(&|message| message.route.resource = Some("membership".into()));
    assert!(error.contains("resource \"membership\" is no object"), "{error}");
    let error = wrong(&|message| message.route.resource = None);
    assert!(error.contains("resource \"\" has no form"), "{error}");
}

#[test]
fn an_update_of_what_is_unknown_is_a_beginning_and_an_insert_of_what_is_known_a_change() {
    let mut receiver = Receiver::default();
    let begins = Verdict::Commit(Change::Begins { former: None });
    assert_eq!(receive(&mut receiver, &pump("update", "p1", "1", 1)), begins);
    let changes = Verdict::Commit(Change::Changes { same_spec: false });
    assert_eq!(receive(&mut receiver, &pump("insert", "p1", "2", 2)), changes);
    assert_eq!(held(&receiver), [("p1".into(), "2".into())]);
}

#[test]
fn a_change_of_metadata_alone_is_kept_and_told_apart() {
    let mut receiver = Receiver::default();
    receive(&mut receiver, &vector("d4"));
    let same_spec = Verdict::Commit(Change::Changes { same_spec: true });
    assert_eq!(receive(&mut receiver, &vector("d5")), same_spec);
    assert_eq!(held(&receiver), [("u-pump".into(), "1234".into())]);
}

#[test]
fn the_same_again_changes_nothing_and_is_acknowledged_again() {
    let mut receiver = Receiver::default();
    receive(&mut receiver, &vector("d4"));
    let before = receiver.clone();
    assert_eq!(receive(&mut receiver, &vector("d4")), Verdict::Known(Known::Repeated));
    assert_eq!(receiver, before);
}

#[test]
fn an_older_generation_never_takes_the_place_of_a_newer_one() {
    let mut receiver = Receiver::default();
    receive(&mut receiver, &pump("insert", "p1", "9", 4));
    // From a second CloudCore that lags behind. What looks like a higher number is none.
    let older = pump("update", "p1", "10", 3);
    assert_eq!(receive(&mut receiver, &older), Verdict::Known(Known::Older));
    assert_eq!(held(&receiver), [("p1".into(), "9".into())]);
}

#[test]
fn a_version_that_is_no_number_is_as_good_as_any() {
    let mut receiver = Receiver::default();
    receive(&mut receiver, &pump("insert", "p1", "abc", 1));
    let changes = Verdict::Commit(Change::Changes { same_spec: true });
    assert_eq!(receive(&mut receiver, &pump("update", "p1", "-1", 1)), changes);
    assert_eq!(receive(&mut receiver, &pump("update", "p1", "ü", 1)), changes);
}

#[test]
fn the_end_of_a_former_life_leaves_the_present_one_alone() {
    // CloudCore sends the new object, and 4 ms later what is left of the old one of that name.
    let mut receiver = Receiver::default();
    receive(&mut receiver, &pump("insert", "p1", "1", 1));
    let another = Verdict::Commit(Change::Begins { former: Some(uid("p1")) });
    assert_eq!(receive(&mut receiver, &pump("update", "p2", "2", 1)), another);
    let mut stub = vector("d6");
    stub.content["metadata"]["uid"] = json!("p1");
    assert_eq!(receive(&mut receiver, &stub), Verdict::Known(Known::NotHere));
    assert_eq!(held(&receiver), [("p2".into(), "2".into())]);
    stub.content["metadata"]["uid"] = json!("p2");
    assert_eq!(receive(&mut receiver, &stub), Verdict::Commit(Change::Ends));
    assert_eq!(
        receive(&mut receiver, &stub),
        Verdict::Known(Known::NotHere),
        "an end that is told twice"
    );
    assert_eq!(held(&receiver), []);
}

#[test]
fn what_is_not_committed_is_taken_when_it_comes_again() {
    let mut receiver = Receiver::default();
    let message = in_order(vector("d4"), 1);
    let verdict = receiver.judge(&delivery(&message));
    // The disk was full: neither settled nor acknowledged.
    assert_eq!(receive(&mut receiver, &message), verdict);
    assert_eq!(receive(&mut receiver, &message), Verdict::Known(Known::Repeated));
}

#[test]
fn what_a_hub_sent_earlier_changes_nothing_if_it_comes_later() {
    let mut receiver = Receiver::default();
    // Nothing but the order tells which of two states with one generation is older.
    receive(&mut receiver, &in_order(pump("update", "p1", "b", 1), 2));
    let late = in_order(pump("insert", "p1", "a", 1), 1);
    assert_eq!(receive(&mut receiver, &late), Verdict::Known(Known::Repeated));
    receive(&mut receiver, &in_order(pump("delete", "p1", "b", 1), 3));
    assert_eq!(receive(&mut receiver, &late), Verdict::Known(Known::Repeated));
    assert_eq!(held(&receiver), []);
    // Another link counts anew.
    receiver.connect();
    assert_eq!(receive(&mut receiver, &late), Verdict::Commit(Change::Begins { former: None }));
}

#[test]
fn a_restart_forgets_no_object() {
    let mut receiver = Receiver::default();
    receive(&mut receiver, &vector("d4"));
    receive(&mut receiver, &vector("d33"));
    let restarted = Receiver::new(receiver.held().collect::<Vec<_>>());
    assert_eq!(restarted.held().count(), 2);
    assert_eq!(restarted.judge(&delivery(&vector("d4"))), Verdict::Known(Known::Repeated));
    let newer = delivery(&vector("d5"));
    assert_eq!(restarted.judge(&newer), Verdict::Commit(Change::Changes { same_spec: true }));
}
