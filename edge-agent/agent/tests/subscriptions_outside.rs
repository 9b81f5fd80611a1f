//! Subscriptions to topics of applications at a broker outside: asked for at each connection, refused, and over.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::net::SocketAddr;

use edge_agent::AgentConfig;
use edge_agent::api::view::{BrokerName, SubscriptionState};
use edge_agent::config::{MqttMode, Span, StoreKind};
use hyper::Method;
use world::bus::Bus;
use world::outside::{Gate, Outside};
use world::program::{Program, folder, signal};
use world::{World, eventually};

const UPDATE: &str = "$hw/events/device/demo/pump/twin/update";

fn outside(address: SocketAddr) -> impl FnOnce(&mut AgentConfig) {
    move |config| {
        config.mqtt.mode = MqttMode::External;
        config.mqtt.external.url = format!("tcp://{address}");
        config.mqtt.external.keep_alive = Span::secs(1);
    }
}

/// Waits until the broker outside has this subscription so.
async fn until(world: &World, filter: &str, state: SubscriptionState) {
    let as_wanted = async || {
        let listed = world.subscriptions().await;
        let one = listed.iter().find(|one| one.filter == filter)?;
        (one.external == Some(state)).then_some(())
    };
    eventually(&format!("{filter} to be {state}"), as_wanted).await;
}

async fn until_away(world: &World) {
    let away = async || {
        let (_, body) = world.request(Method::GET, "/readyz", "").await;
        String::from_utf8(body.to_vec()).unwrap().contains("no connection to").then_some(())
    };
    eventually("the broker to be away", away).await;
}

#[tokio::test]
async fn h31_a_refused_subscription_is_kept_and_leaves_the_others_and_is_asked_for_again() {
    let broker = Outside::start().await;
    broker.refuse(&["secret/#"]);
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[("pump", "")], outside(gate.address)).await;
    for filter in ["a/1", "secret/#", "z/#"] {
        assert_eq!(world.subscription(Method::PUT, filter).await.0, 201);
    }
    until(&world, "a/1", SubscriptionState::Subscribed).await;
    until(&world, "secret/#", SubscriptionState::Refused).await;
    until(&world, "z/#", SubscriptionState::Subscribed).await;
    let mut messages = world.messages(&[], "").await;
    let mut app = Bus::join(broker.address, "app").await;
    for topic in ["a/1", "secret/1", "z/1"] {
        app.publish(topic, topic).await;
    }
    assert_eq!(messages.text().await.0, "a/1");
    assert_eq!(messages.text().await.0, "z/1");
    // What the agent serves itself is not touched by it.
    app.publish(UPDATE, r#"{"event_id":"e","twin":{}}"#).await;
    assert_eq!(app.next("update/result").await["event_id"], "e");

    gate.cut();
    until(&world, "a/1", SubscriptionState::Waiting).await;
    until(&world, "secret/#", SubscriptionState::Waiting).await;
    broker.refuse(&[]);
    gate.open();
    until(&world, "secret/#", SubscriptionState::Subscribed).await;
    app.publish("secret/2", "heard").await;
    assert_eq!(messages.text().await, ("secret/2".into(), "heard".into()));
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("edgetwin_bus_subscriptions_refused_total 1\n"), "{text}");
}

#[tokio::test]
async fn a_filter_for_which_a_broker_ends_the_connection_is_found_and_left_out() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[("pump", "")], outside(gate.address)).await;
    gate.cut();
    until_away(&world).await;
    for filter in ["a", "offence/#", "z/#"] {
        world.subscription(Method::PUT, filter).await;
    }
    gate.take_offence(b"offence/#");
    gate.open();
    until(&world, "offence/#", SubscriptionState::Refused).await;
    for filter in ["a", "z/#"] {
        until(&world, filter, SubscriptionState::Subscribed).await;
    }
    let mut messages = world.messages(&[], "").await;
    let mut app = Bus::join(broker.address, "app").await;
    app.publish("z/1", "heard").await;
    assert_eq!(messages.text().await.1, "heard");
    app.publish(UPDATE, r#"{"event_id":"e","twin":{}}"#).await;
    assert_eq!(app.next("update/result").await["event_id"], "e");
}

#[tokio::test]
async fn what_is_said_while_the_agent_is_away_is_heard_when_it_is_back() {
    let broker = Outside::start().await;
    let mut world = World::start(&[], outside(broker.address)).await;
    world.subscription(Method::PUT, "n/+").await;
    until(&world, "n/+", SubscriptionState::Subscribed).await;
    world.stop().await;
    let mut app = Bus::listen(broker.address, "app", "n/#").await;
    for number in 0..5 {
        app.publish(&format!("n/{number}"), "\"x\"").await;
        app.next(&format!("n/{number}")).await;
    }
    world.restart_stopped().await;
    until(&world, "n/+", SubscriptionState::Subscribed).await;
    app.publish("n/end", "\"x\"").await;
    let mut messages = world.messages(&[], "?since=0").await;
    for topic in ["n/0", "n/1", "n/2", "n/3", "n/4", "n/end"] {
        assert_eq!(messages.text().await.0, topic);
    }
}

#[tokio::test]
async fn a_packet_that_is_too_large_costs_its_session_and_not_the_next_one() {
    let broker = Outside::start().await;
    let mut world = World::start(&[], outside(broker.address)).await;
    world.subscription(Method::PUT, "n/+").await;
    until(&world, "n/+", SubscriptionState::Subscribed).await;
    let mut app = Bus::listen(broker.address, "app", "m/#").await;
    app.publish("n/large", &"x".repeat(17 << 20)).await;
    let reconnected = async || {
        let (_, text) = world.request(Method::GET, "/metrics", "").await;
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.contains("edgetwin_bus_reconnects_total 1\n").then_some(())
    };
    eventually("another connection", reconnected).await;
    until(&world, "n/+", SubscriptionState::Subscribed).await;
    world.stop().await;
    app.publish("n/1", "\"kept\"").await;
    app.publish("m/1", "\"taken\"").await;
    app.next("m/1").await;
    world.restart_stopped().await;
    let mut messages = world.messages(&[], "?since=0").await;
    assert_eq!(messages.text().await, ("n/1".into(), "\"kept\"".into()));
}

#[tokio::test]
async fn a_subscription_that_ended_while_the_broker_was_away_is_ended_there_too() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let mut world = World::start(&[], outside(gate.address)).await;
    for filter in ["old/#", "kept"] {
        world.subscription(Method::PUT, filter).await;
        until(&world, filter, SubscriptionState::Subscribed).await;
    }
    gate.cut();
    until_away(&world).await;
    assert_eq!(world.subscription(Method::DELETE, "old/#").await.0, 204);
    let filters = async |world: &World| {
        world.subscriptions().await.into_iter().map(|one| one.filter).collect::<Vec<_>>()
    };
    assert_eq!(filters(&world).await, ["kept"]);
    // It is not forgotten with the agent.
    world.restart().await;
    assert_eq!(filters(&world).await, ["kept"]);
    let mut app = Bus::listen(broker.address, "app", "#").await;
    app.publish("old/1", "\"while away\"").await;
    app.next("old/1").await;
    // The agent's own three, the two that its session holds, and the app's.
    assert_eq!(broker.filters().await, 6);
    gate.open();
    until(&world, "kept", SubscriptionState::Subscribed).await;
    let ended = async || (broker.filters().await == 5).then_some(());
    eventually("the end of the subscription at the broker", ended).await;
    // What it had kept for the old one was not wanted any more; what it kept for all comes to a new one.
    app.publish_retained("old/2", "\"kept there\"").await;
    app.next("old/2").await;
    assert_eq!(world.subscription(Method::PUT, "old/#").await.0, 201);
    let mut messages = world.messages(&[], "?since=0").await;
    let message = messages.next().await;
    assert_eq!((&*message.topic, message.retained), ("old/2", true), "{message:?}");
}

#[tokio::test]
async fn a_broker_that_ends_the_connection_at_what_is_over_takes_what_is_wanted_all_the_same() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[], outside(gate.address)).await;
    world.subscription(Method::PUT, "old/#").await;
    until(&world, "old/#", SubscriptionState::Subscribed).await;
    gate.cut();
    until_away(&world).await;
    assert_eq!(world.subscription(Method::DELETE, "old/#").await.0, 204);
    assert_eq!(world.subscription(Method::PUT, "young/#").await.0, 201);
    gate.take_offence(b"old/#");
    gate.open();
    until(&world, "young/#", SubscriptionState::Subscribed).await;
    let mut messages = world.messages(&[], "").await;
    let app = Bus::join(broker.address, "app").await;
    app.publish("young/1", "heard").await;
    assert_eq!(messages.text().await.1, "heard");
    // What is over rests, and holds up no other end.
    assert_eq!(world.subscription(Method::DELETE, "young/#").await.0, 204);
    // The agent's own three, the app's, and the one that the broker does not let go.
    let ended = async || (broker.filters().await == 5).then_some(());
    eventually("the end of the other subscription", ended).await;
}

#[tokio::test]
async fn what_is_over_is_told_in_packets_of_eight() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[], outside(gate.address)).await;
    let filters: Vec<_> = (0..9).map(|number| format!("f/{number}")).collect();
    for filter in &filters {
        world.subscription(Method::PUT, filter).await;
    }
    for filter in &filters {
        until(&world, filter, SubscriptionState::Subscribed).await;
    }
    gate.cut();
    until_away(&world).await;
    for filter in &filters {
        assert_eq!(world.subscription(Method::DELETE, filter).await.0, 204);
    }
    // The eighth and the ninth in one UNSUBSCRIBE.
    gate.take_offence(b"f/7\0\x03f/8");
    gate.open();
    let ended = async || (broker.filters().await == 3).then_some(());
    eventually("the end of all but the agent's own", ended).await;
}

#[tokio::test]
async fn a_subscription_to_which_no_answer_comes_holds_up_the_others_for_a_while() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[], outside(gate.address)).await;
    world.subscription(Method::PUT, "old").await;
    until(&world, "old", SubscriptionState::Subscribed).await;
    gate.swallow(b"deaf/#");
    for filter in ["deaf/#", "late"] {
        assert_eq!(world.subscription(Method::PUT, filter).await.0, 201);
    }
    until(&world, "late", SubscriptionState::Subscribed).await;
    until(&world, "deaf/#", SubscriptionState::Refused).await;
    // The same for the end of one.
    gate.swallow(b"late");
    for filter in ["deaf/#", "late", "old"] {
        assert_eq!(world.subscription(Method::DELETE, filter).await.0, 204);
    }
    // The agent's own three, and the one whose end the broker does not hear of.
    let ended = async || (broker.filters().await == 4).then_some(());
    eventually("the end of the other subscription", ended).await;
}

#[tokio::test]
async fn a_subscription_that_was_never_asked_for_waits_whatever_its_filter_did_before() {
    let broker = Outside::start().await;
    let gate = Gate::to(broker.address).await;
    let world = World::start(&[], outside(gate.address)).await;
    gate.take_offence(b"offence/#");
    world.subscription(Method::PUT, "offence/#").await;
    until(&world, "offence/#", SubscriptionState::Refused).await;
    gate.cut();
    until_away(&world).await;
    assert_eq!(world.subscription(Method::DELETE, "offence/#").await.0, 204);
    let (status, added) = world.subscription(Method::PUT, "offence/#").await;
    assert_eq!((status, &added["external"]), (201, &"waiting".into()));
    let before = gate.tries();
    // The end of the first of them was seen when the second begins.
    eventually("the next tries", async || (gate.tries() >= before + 2).then_some(())).await;
    let (_, one) = world.subscription(Method::GET, "offence/#").await;
    assert_eq!(one["external"], "waiting");
}

#[tokio::test]
async fn what_was_ended_counts_apart_from_what_is_wanted_while_the_broker_is_away() {
    let nowhere = Outside::nowhere().await;
    let world = World::start(&[], |config| {
        outside(nowhere)(config);
        config.store.kind = StoreKind::Memory;
    })
    .await;
    for round in 0..4 {
        for number in 0..256 {
            let filter = format!("{round}/{number}");
            assert_eq!(world.subscription(Method::PUT, &filter).await.0, 201, "{filter}");
        }
        let (status, error) = world.subscription(Method::PUT, "one/more").await;
        assert_eq!(status, 409, "{error}");
        assert!(error["message"].as_str().unwrap().contains("256 subscriptions"), "{error}");
        for number in 0..256 {
            let filter = format!("{round}/{number}");
            assert_eq!(world.subscription(Method::DELETE, &filter).await.0, 204, "{filter}");
        }
    }
    let (status, error) = world.subscription(Method::PUT, "one/more").await;
    assert_eq!(status, 409, "{error}");
    assert!(error["message"].as_str().unwrap().contains("1024 ended subscriptions"), "{error}");
    assert!(error["remedy"].as_str().unwrap().contains("external broker"), "{error}");
    // One of them may come back; it makes room.
    assert_eq!(world.subscription(Method::PUT, "0/0").await.0, 201);
    assert_eq!(world.subscription(Method::PUT, "one/more").await.0, 201);
    assert_eq!(world.subscription(Method::DELETE, "one/more").await.0, 204);
}

#[tokio::test]
async fn in_mode_both_a_message_bears_the_broker_that_it_was_said_at() {
    let broker = Outside::start().await;
    let world = World::start(&[], |config| {
        outside(broker.address)(config);
        config.mqtt.mode = MqttMode::Both;
    })
    .await;
    world.subscription(Method::PUT, "a/#").await;
    until(&world, "a/#", SubscriptionState::Subscribed).await;
    let mut messages = world.messages(&[], "").await;
    let near = Bus::join(world.mqtt(), "near").await;
    let far = Bus::join(broker.address, "far").await;
    for (app, name) in [(&near, BrokerName::Embedded), (&far, BrokerName::External)] {
        app.publish("a/b", "x").await;
        let message = messages.next().await;
        assert_eq!((&*message.topic, message.broker), ("a/b", name));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h42_no_subscription_is_nothing_to_complain_of() {
    let broker = Outside::start().await;
    let dir = folder();
    let more = format!(
        "mqtt: {{mode: both, listen: '127.0.0.1:0', external: {{url: 'tcp://{}'}}}}\n",
        broker.address
    );
    let mut program = Program::start_with(dir, "", &more).await;
    let mut app = Bus::join(broker.address, "app").await;
    // The agent's three, and the app's.
    let connected = async || (broker.filters().await == 4).then_some(());
    eventually("the agent's subscriptions", connected).await;
    app.publish("$hw/events/node/any/membership/get", r#"{"event_id":"m"}"#).await;
    assert_eq!(app.next("membership/get/result").await["event_id"], "m");
    signal(&program.process, "TERM");
    program.says("agent stopped").await;
    let (status, said, _dir) = program.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    for word in ["WARN", "ERROR"] {
        assert!(!said.contains(word), "{said}");
    }
}
