//! Subscriptions to topics of applications: kept, matched and bounded.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::time::{Duration, Instant};

use edge_agent::api::view::{BrokerName, MessageEvent, MissedView, SubscriptionState};
use edge_agent::config::StoreKind;
use hyper::Method;
use rumqttc::QoS;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use world::bus::Bus;
use world::{World, eventually};

#[tokio::test]
async fn a_subscription_is_kept_over_a_restart_and_its_messages_come_once() {
    let mut world = World::with(&[("pump", "")]).await;
    for filter in ["default/alarms/#", "default/+/1", "#"] {
        assert_eq!(world.subscription(Method::PUT, filter).await.0, 201, "{filter}");
        assert_eq!(world.subscription(Method::PUT, filter).await.0, 200, "{filter}");
    }
    world.restart().await;
    let listed = world.subscriptions().await;
    let filters: Vec<_> = listed.iter().map(|one| one.filter.as_str()).collect();
    assert_eq!(filters, ["#", "default/+/1", "default/alarms/#"]);
    for one in &listed {
        assert_eq!((&*one.writer, one.messages), ("local:api", 0));
        assert_eq!((one.embedded, one.external), (Some(SubscriptionState::Subscribed), None));
    }

    let mut messages = world.messages(&[], "").await;
    let mut app = Bus::join(world.mqtt(), "app").await;
    // No filter is for topics that begin with $, whoever publishes there.
    app.publish("$hw/events/device/demo/pump/twin/get", r#"{"event_id":"e"}"#).await;
    app.next("twin/get/result").await;
    for quality in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        app.publish_at(quality, "default/alarms/1", &format!("{quality:?}")).await;
        let message = messages.next().await;
        assert_eq!((&*message.topic, message.broker), ("default/alarms/1", BrokerName::Embedded));
        assert_eq!((message.text, message.retained), (Some(format!("{quality:?}")), false));
    }
    let (status, one) = world.subscription(Method::GET, "default/alarms/#").await;
    assert_eq!((status, &one["messages"]), (200, &3.into()));

    assert_eq!(world.subscription(Method::DELETE, "#").await.0, 204);
    let (status, error) = world.subscription(Method::DELETE, "#").await;
    assert_eq!((status, &error["field"]), (404, &"path".into()), "{error}");
    app.publish("other/topic", "not heard").await;
    app.publish("default/b/1", "heard").await;
    assert_eq!(messages.text().await, ("default/b/1".into(), "heard".into()));
    world.restart().await;
    let listed = world.subscriptions().await;
    assert_eq!(listed.len(), 2, "{listed:?}");
}

#[tokio::test]
async fn what_is_for_the_cloud_has_a_way_where_somebody_subscribed_to_it() {
    let world = World::with(&[]).await;
    world.subscription(Method::PUT, "default/user/#").await;
    let mut messages = world.messages(&[], "").await;
    let app = Bus::join(world.mqtt(), "app").await;
    app.publish("other/user/a", "refused").await;
    app.publish("default/user/a", "taken").await;
    assert_eq!(messages.text().await.1, "taken");
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "edgetwin_bus_refused_total{reason=\"no_route\"} 1\n",
        "edgetwin_bus_messages_total 1\n",
        "edgetwin_bus_subscriptions 1\n",
    ] {
        assert!(text.contains(line), "{line} {text}");
    }
}

#[tokio::test]
async fn what_is_no_filter_is_refused_with_field_value_and_remedy() {
    let world = World::start(&[], |config| config.store.kind = StoreKind::Memory).await;
    for (filter, remedy) in [
        ("a#", "default/#"),
        ("a/#/b", "default/#"),
        ("a/b+", "default/+/alarms"),
        ("$hw/events/device/+/+/twin/+", "$hw/events"),
        ("$share/g/a", "leave it out"),
    ] {
        let (status, error) = world.subscription(Method::PUT, filter).await;
        assert_eq!((status, &error["field"]), (400, &"path".into()), "{filter}: {error}");
        let said = error["message"].as_str().unwrap();
        assert!(said.contains(filter), "{error}");
        assert!(error["remedy"].as_str().unwrap().contains(remedy), "{filter}: {error}");
    }
    for number in 0..256 {
        assert_eq!(world.subscription(Method::PUT, &number.to_string()).await.0, 201);
    }
    let (status, error) = world.subscription(Method::PUT, "one/more").await;
    assert_eq!(status, 409, "{error}");
    assert!(error["remedy"].as_str().unwrap().contains("wildcard"), "{error}");
    assert_eq!(world.subscription(Method::PUT, "7").await.0, 200, "it is there");
    assert_eq!(world.subscription(Method::DELETE, "7").await.0, 204);
    assert_eq!(world.subscription(Method::PUT, "one/more").await.0, 201);
}

#[tokio::test]
async fn a_read_only_agent_takes_no_subscription() {
    let world = World::start(&[], |config| config.api.read_only = true).await;
    for method in [Method::PUT, Method::DELETE] {
        let (status, error) = world.subscription(method, "a").await;
        assert_eq!((status, &error["field"]), (403, &"method".into()), "{error}");
    }
    assert_eq!(world.subscriptions().await, []);
}

#[tokio::test]
async fn who_was_away_goes_on_where_it_was_and_is_told_what_it_missed() {
    let world = World::with(&[]).await;
    world.subscription(Method::PUT, "n/#").await;
    let mut messages = world.messages(&[], "").await;
    let app = Bus::join(world.mqtt(), "app").await;
    for number in 0..3 {
        app.publish("n/1", &number.to_string()).await;
    }
    let first = messages.next().await;
    drop(messages);
    let place = first.id.to_string();
    let mut again = world.messages(&[("last-event-id", &place)], "?since=0").await;
    for number in ["1", "2"] {
        let message = again.next().await;
        assert_eq!(message.text.as_deref(), Some(number));
    }
    // Somebody reads along: the last one is published when it comes.
    for number in 3..1100 {
        app.publish("n/1", &number.to_string()).await;
    }
    while again.next().await.text.as_deref() != Some("1099") {}
    let mut late = world.messages(&[], &format!("?since={place}")).await;
    let MessageEvent::Missed(MissedView { id, missed }) = late.event().await else { panic!() };
    assert_eq!(missed, Some(1099 - 1024), "of those behind the first");
    let next = late.next().await;
    assert_eq!((next.id, next.text.as_deref()), (id + 1, Some("76")));
    let mut whole = world.messages(&[], "?since=0").await;
    assert_eq!(whole.next().await.text.as_deref(), Some("76"), "nothing that is kept is missed");
    let (status, body) = world.request(Method::GET, "/v1/messages?since=x", "").await;
    assert_eq!(status, 400, "{body:?}");
}

#[tokio::test]
async fn a_large_message_is_named_and_costs_no_more_than_its_name() {
    let world = World::start(&[("pump", "")], |config| config.mqtt.limits.packet = 1 << 20).await;
    world.subscription(Method::PUT, "big").await;
    let mut messages = world.messages(&[], "").await;
    let mut app = Bus::join(world.mqtt(), "app").await;
    app.publish("big", &"x".repeat(300_000)).await;
    let message = messages.next().await;
    assert_eq!((message.octets, message.text, message.base64), (300_000, None, None));
    app.publish_octets("big", vec![0xff, 0]).await;
    let message = messages.next().await;
    assert_eq!((message.text, message.base64.as_deref()), (None, Some("/wA=")));
    app.publish("$hw/events/device/demo/pump/twin/update", r#"{"event_id":"e","twin":{}}"#).await;
    assert_eq!(app.next("twin/update/result").await["event_id"], "e");
    let (_, text) = world.request(Method::GET, "/metrics", "").await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("edgetwin_bus_messages_large_total 1\n"), "{text}");
}

#[tokio::test]
async fn a_flood_and_a_reader_that_does_not_read_delay_no_twin() {
    let world = World::with(&[("pump", "")]).await;
    world.subscription(Method::PUT, "#").await;
    // It is open, and nobody takes anything from it.
    let idle = UnixStream::connect(&world.addresses.api).await.unwrap();
    idle.writable().await.unwrap();
    let asked = b"GET /v1/messages HTTP/1.1\r\nhost: agent\r\n\r\n";
    assert_eq!(idle.try_write(asked).unwrap(), asked.len());
    idle.readable().await.unwrap();
    let mut floods = JoinSet::new();
    for name in ["a", "b"] {
        let app = Bus::listen(world.mqtt(), name, "nothing/of/it").await;
        floods.spawn(async move {
            for number in 0..1000 {
                app.publish(&format!("flood/{number}"), &"x".repeat(20_000)).await;
            }
            app
        });
    }
    let mut app = Bus::join(world.mqtt(), "app").await;
    let mut slowest = Duration::ZERO;
    for number in 0..100 {
        let start = Instant::now();
        let id = number.to_string();
        let update =
            format!(r#"{{"event_id":"{id}","twin":{{"speed":{{"actual":{{"value":"{id}"}}}}}}}}"#);
        app.publish("$hw/events/device/demo/pump/twin/update", &update).await;
        while app.next("twin/update/result").await["event_id"] != id.as_str() {}
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    let mut apps = Vec::new();
    while let Some(app) = floods.join_next().await {
        apps.push(app.unwrap());
    }
    // A reader is told of what went by.
    let all = async || (world.subscriptions().await[0].messages == 2000).then_some(());
    eventually("all of the flood", all).await;
    let oldest = world.messages(&[], "?since=0").await.next().await;
    assert_eq!(oldest.octets, 20_000);
    let mut late = world.messages(&[], &format!("?since={}", oldest.id - 2)).await;
    let MessageEvent::Missed(MissedView { missed, .. }) = late.event().await else { panic!() };
    assert_eq!(missed, Some(1));
    assert_eq!(late.next().await.id, oldest.id);
}
