//! The bridge before a real API server, towards nodes that say what a test wants them to.
#![cfg(feature = "peers")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cloud::{Cloud, desiring, device, model};
use e2e::cluster::Cluster;
use e2e::edge_node::{EdgeNode, Kind, now};
use e2e::wait::eventually;
use edge_link::content::{self, Confirmation, Hello, Member, Membership};
use edge_link::words::{group, operation, source};
use edge_link::{Look, Message, MessageId, Resource, Route};
use serde_json::{Value, json};

/// A real API server and a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What our agent says of a device.
fn report(device: &str, uid: &str, place: (u64, u64, u64), speed: &str) -> Message {
    let (epoch, rev, base) = place;
    let at = now().as_millis();
    let content = json!({
        "event_id": "", "timestamp": at,
        "twin": {"speed": {
            "actual": {"value": speed, "metadata": {"timestamp": at, "quality": "good", "version": rev}},
            "metadata": {"type": "float"},
        }},
        "edgetwin": {"uid": uid, "epoch": epoch, "rev": rev, "baseRev": base,
            "state": {"name": device, "state": "online", "lastOnlineTime": "2026-01-01T00:00:00Z"}},
    });
    let mut route = Route::new(source::TWIN, group::RESOURCE, operation::UPDATE, &Resource::Twin);
    route.resource = Some(format!("device/default/{device}/twin/edge_updated"));
    Message::new(MessageId::random(), now(), route, content)
}

/// Sends `report` and waits for what is said of it.
async fn confirmed(node: &mut EdgeNode, report: &Message) -> Result<Confirmation> {
    node.send(report).await?;
    let id = report.header.id.clone();
    let answer = node.wait_for(|answer| answer.header.parent == id).await?;
    Ok(Confirmation::read(&answer.content)?)
}

/// A node of ours that has nothing, welcomed.
async fn newcomer(cloud: &Cloud, name: &str) -> Result<EdgeNode> {
    let hub = cloud.addresses("first")?.hub;
    let mut node = EdgeNode::connect(hub, &cloud.papers(name)?, name, Kind::Ours).await?;
    ensure!(node.cloud_is_ours, "the bridge does not say that it is ours");
    node.hello(&Hello { epoch: 1, ..Hello::default() }).await?;
    Ok(node)
}

fn is_about(resource: &str) -> impl Fn(&Message) -> bool {
    move |message| message.route.resource.as_deref() == Some(resource)
}

/// Devices that an EdgeCore is told it has from now on, and no more.
fn members(told: &Message) -> Result<(Vec<String>, Vec<String>)> {
    let told: Membership = content::read(&told.content)?;
    let ids = |of: Option<Vec<Member>>| {
        of.unwrap_or_default().iter().map(|member| member.id.to_string()).collect()
    };
    Ok((ids(told.added_devices), ids(told.removed_devices)))
}

fn uid(object: &Value) -> String {
    Look::at(object).uid.map(|uid| uid.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_comes_to_its_node_and_its_report_to_its_status() -> Result<()> {
    let cloud = Cloud::start().await?;
    let mut node = newcomer(&cloud, "edge-1").await?;
    cloud.apply(&[model("pump"), desiring(device("a", "pump", "edge-1"), "5")]).await?;
    let first = node.next().await?;
    assert_eq!(first.route.resource.as_deref(), Some("default/devicemodel/pump"));
    node.acknowledge(&first).await?;
    let second = node.wait_for(is_about("default/device/a")).await?;
    assert!(second.is(operation::INSERT));
    let versions = &second.content["metadata"]["annotations"]["edgetwin.io/desired-versions"];
    assert_eq!(versions, "{\"speed\":1}");
    node.acknowledge(&second).await?;

    let uid = uid(&second.content);
    let said = confirmed(&mut node, &report("a", &uid, (1, 1, 0), "21.5")).await?;
    assert!(matches!(said, Confirmation::Has(point) if point.rev == 1));
    assert_eq!(cloud.reported("a", "speed").await?, "21.5");
    let status = cloud.get("devicestatus", "a").await?;
    assert_eq!(status["status"]["state"], "online");
    assert_eq!(status["metadata"]["ownerReferences"][0]["uid"].as_str(), Some(&*uid));

    // A change of what is desired is a change of the same life, with a number of its own.
    cloud.apply(&[desiring(device("a", "pump", "edge-1"), "6")]).await?;
    let third = node.wait_for(is_about("default/device/a")).await?;
    assert!(third.is(operation::UPDATE));
    let versions = &third.content["metadata"]["annotations"]["edgetwin.io/desired-versions"];
    assert_eq!(versions, "{\"speed\":2}");
    node.acknowledge(&third).await?;

    cloud.cluster.kubectl(&["delete", "device", "a"]).await?;
    let end = node.wait_for(is_about("default/device/a")).await?;
    assert!(end.is(operation::DELETE));
    assert_eq!(self::uid(&end.content), uid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn late_and_repeated_reports_change_nothing_and_a_former_life_is_over() -> Result<()> {
    let cloud = Cloud::start().await?;
    cloud.apply(&[model("pump"), device("a", "pump", "edge-1")]).await?;
    let uid = uid(&cloud.get("device", "a").await?);
    let mut node = newcomer(&cloud, "edge-1").await?;
    confirmed(&mut node, &report("a", &uid, (1, 5, 0), "5")).await?;
    let late = confirmed(&mut node, &report("a", &uid, (1, 4, 3), "4")).await?;
    assert!(matches!(late, Confirmation::Has(point) if point.rev == 5));
    let unfounded = confirmed(&mut node, &report("a", &uid, (1, 9, 8), "9")).await?;
    assert!(matches!(unfounded, Confirmation::Has(point) if point.rev == 5));
    assert_eq!(cloud.reported("a", "speed").await?, "5");

    cloud.cluster.kubectl(&["delete", "device", "a"]).await?;
    cloud.apply(&[device("a", "pump", "edge-1")]).await?;
    let next = node
        .wait_for(|message| message.is(operation::INSERT) && self::uid(&message.content) != uid)
        .await?;
    let former = confirmed(&mut node, &report("a", &uid, (1, 10, 5), "10")).await?;
    assert!(matches!(former, Confirmation::Gone(_)));

    // Nobody collects here what is left of the former life; the next one does not wait for that.
    let uid = self::uid(&next.content);
    confirmed(&mut node, &report("a", &uid, (1, 1, 0), "7")).await?;
    assert_eq!(cloud.reported("a", "speed").await?, "7");
    assert_eq!(self::uid(&cloud.get("device", "a").await?), uid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_speaks_for_itself_alone() -> Result<()> {
    let cloud = Cloud::start().await?;
    cloud
        .apply(&[model("pump"), device("a", "pump", "edge-1"), device("b", "pump", "edge-2")])
        .await?;
    let hub = cloud.addresses("first")?.hub;

    // Under another name than that of its certificate, without a certificate, or with one that is no node's.
    let papers = cloud.papers("edge-1")?;
    let refused = EdgeNode::connect(hub, &papers, "edge-2", Kind::Ours).await;
    let refused = refused.map(drop).unwrap_err().to_string();
    assert!(refused.starts_with("403") && refused.contains("edge-2"), "{refused}");
    let nobody = EdgeNode::dial(hub, None, &papers.authority, "edge-1", Kind::Ours).await;
    assert!(nobody.is_err());
    let user = cloud.papers_for("kubernetes-admin")?;
    assert!(EdgeNode::connect(hub, &user, "kubernetes-admin", Kind::Ours).await.is_err());
    let stranger = Cloud::stranger_papers("edge-1", &papers.authority)?;
    assert!(EdgeNode::connect(hub, &stranger, "edge-1", Kind::Ours).await.is_err());

    // What belongs to another node is refused and counted; the link goes on.
    let mut node = newcomer(&cloud, "edge-1").await?;
    let before = cloud.metric("first", "edgetwin_bridge_messages_refused_total").await?;
    let other = uid(&cloud.get("device", "b").await?);
    let said = confirmed(&mut node, &report("b", &other, (1, 1, 0), "666")).await?;
    assert!(matches!(said, Confirmation::Gone(_)));
    for (kind, operation) in [("nodepatch", "patch"), ("node", "insert"), ("node", "query")] {
        let mut route = Route::new("edged", "meta", operation, &Resource::Node);
        route.resource = Some(format!("null/{kind}/edge-2"));
        let patch = json!({"status": {"conditions": []}});
        node.send(&Message::new(MessageId::random(), now(), route, patch)).await?;
    }
    let mut route = Route::new("edged", "meta", "insert", &Resource::Node);
    route.resource = Some("kube-node-lease/lease/edge-2".into());
    node.send(&Message::new(MessageId::random(), now(), route, json!({"metadata": {}}))).await?;
    let answer =
        node.ask("edged", "meta", "query", "kube-system/secret/anything", Value::Null).await?;
    assert_eq!(content::answer(&answer).unwrap_err().reason, "Forbidden");
    let refused = cloud.metric("first", "edgetwin_bridge_messages_refused_total").await?;
    assert_eq!(refused - before, 5.0);
    assert!(cloud.get("node", "edge-2").await.is_err());
    assert!(cloud.reported("b", "speed").await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_the_link_goes_on() -> Result<()> {
    let settings = json!({"hub": {"maxMessage": 100_000}});
    let cloud = Cloud::with(Cluster::start().await?, settings).await?;
    cloud.apply(&[model("pump"), device("a", "pump", "edge-1")]).await?;
    let uid = uid(&cloud.get("device", "a").await?);
    let mut node = newcomer(&cloud, "edge-1").await?;
    let mut null = report("a", &uid, (1, 1, 0), "1");
    null.content["twin"]["speed"] = Value::Null;
    node.send(&null).await?;
    for text in [
        "{}",
        "[1]",
        "{\"header\":7}",
        "{\"route\":{\"resource\":\"a/b/c/d/e\"},\"header\":{\"msg_id\":\"x\"}}",
    ] {
        node.send_octets(text.into()).await?;
    }
    let said = confirmed(&mut node, &report("a", &uid, (1, 2, 0), "2")).await?;
    assert!(matches!(said, Confirmation::Has(_)), "{said:?}");
    assert_eq!(cloud.reported("a", "speed").await?, "2");

    // No JSON, or more than is kept in memory, ends the link, as KubeEdge's ends do; the bridge goes on.
    node.send_octets(b"{".to_vec()).await?;
    node.ended().await?;
    let mut node = newcomer(&cloud, "edge-1").await?;
    // The bridge may hang up before it was sent all of it.
    let _ = node.send_octets(vec![b' '; 200_000]).await;
    node.ended().await?;
    newcomer(&cloud, "edge-1").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_written_once_a_second_at_most_and_nothing_newest_is_lost() -> Result<()> {
    const DEVICES: u64 = 30;
    const ROUNDS: u64 = 30;
    let cloud = Cloud::start().await?;
    let names: Vec<_> = (0..DEVICES).map(|i| format!("d{i}")).collect();
    let devices = names.iter().map(|name| device(name, "pump", "edge-1"));
    cloud.apply(&devices.chain([model("pump")]).collect::<Vec<_>>()).await?;
    let mut uids = Vec::new();
    for name in &names {
        uids.push(uid(&cloud.get("device", name).await?));
    }
    let mut node = newcomer(&cloud, "edge-1").await?;
    let start = Instant::now();
    let before = cloud.cluster.requests("PUT", "devicestatuses").await?;
    let busy = cloud.cluster.usage()?.cpu;
    for round in 1..=ROUNDS {
        for (name, uid) in names.iter().zip(&uids) {
            node.send(&report(name, uid, (1, round, round - 1), &round.to_string())).await?;
        }
        // The clock gives the pace here: three changes a second.
        tokio::time::sleep_until((start + Duration::from_millis(333 * round)).into()).await;
    }
    let last = ROUNDS.to_string();
    for name in &names {
        eventually(PATIENCE, "the newest value", async || {
            let value = cloud.reported(name, "speed").await?;
            ensure!(value == last, "{name} is {value}");
            Ok(())
        })
        .await?;
    }
    let seconds = start.elapsed().as_secs() + 1;
    let writes = cloud.cluster.requests("PUT", "devicestatuses").await? - before;
    let busy = cloud.cluster.usage()?.cpu - busy;
    println!("{writes} writes of {} changes in {seconds} s; API server {busy:?}", DEVICES * ROUNDS);
    assert!(writes <= DEVICES * (seconds + 1), "{writes} writes in {seconds} s");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_over_and_the_api_server_may_come_and_go() -> Result<()> {
    let mut cloud = Cloud::start().await?;
    cloud.apply(&[model("pump"), device("a", "pump", "edge-1")]).await?;
    let second = cloud.start_bridge("second").await?;
    let uid = uid(&cloud.get("device", "a").await?);
    let mut node = newcomer(&cloud, "edge-1").await?;
    confirmed(&mut node, &report("a", &uid, (1, 1, 0), "1")).await?;

    // The node is connected to the other replica: the first one ends what it takes for a link.
    let papers = cloud.papers("edge-1")?;
    let mut moved = EdgeNode::connect(second.hub, &papers, "edge-1", Kind::Ours).await?;
    let hello = Hello { epoch: 1, ..Hello::default() };
    let welcome = moved.hello(&hello).await?;
    assert_eq!(welcome.has.iter().map(|point| point.rev).collect::<Vec<_>>(), [1]);
    node.ended().await?;
    confirmed(&mut moved, &report("a", &uid, (1, 2, 1), "2")).await?;

    // Killed: the node comes to the first one again, which knows what was written.
    cloud.crash_bridge("second")?;
    moved.ended().await?;
    let mut back =
        EdgeNode::connect(cloud.addresses("first")?.hub, &papers, "edge-1", Kind::Ours).await?;
    let welcome = back.hello(&hello).await?;
    assert_eq!(welcome.has.iter().map(|point| point.rev).collect::<Vec<_>>(), [2]);

    // Without an API server reports wait, unconfirmed, and are written when it is back.
    cloud.cluster.crash_api_server()?;
    let waiting = report("a", &uid, (1, 3, 2), "3");
    back.send(&waiting).await?;
    cloud.cluster.start_api_server().await?;
    let id = waiting.header.id.clone();
    let answer = loop {
        let answer = back.next_whenever().await?;
        if answer.header.parent == id {
            break answer;
        }
        back.acknowledge(&answer).await?;
    };
    assert!(
        matches!(Confirmation::read(&answer.content)?, Confirmation::Has(point) if point.rev == 3)
    );
    assert_eq!(cloud.reported("a", "speed").await?, "3");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edgecore_is_told_its_devices_and_nothing_twice() -> Result<()> {
    let cloud = Cloud::start().await?;
    cloud.apply(&[model("pump"), device("a", "pump", "edge-1")]).await?;
    let hub = cloud.addresses("first")?.hub;
    let papers = cloud.papers("edge-1")?;
    let mut node = EdgeNode::connect(hub, &papers, "edge-1", Kind::EdgeCore).await?;
    ensure!(!node.cloud_is_ours, "an EdgeCore is not told of us");
    let told = node.wait_for(is_about("membership")).await?;
    assert_eq!(members(&told)?, (vec!["default/a".into()], vec![]));
    let model = node.wait_for(is_about("default/devicemodel/pump")).await?;
    assert_eq!(model.header.order, None);
    node.acknowledge(&model).await?;
    let device = node.wait_for(is_about("default/device/a")).await?;
    assert_eq!(device.route.source.as_deref(), Some("devicecontroller"));
    node.acknowledge(&device).await?;
    let record = format!("edge-1.{}", uid(&device.content));
    let version = device.header.resource_version.clone().context("no version")?;
    eventually(PATIENCE, "the ObjectSync", async || {
        let sync = cloud.get("objectsync", &record).await?;
        ensure!(sync["status"]["objectResourceVersion"] == version.as_str(), "{sync}");
        Ok(())
    })
    .await?;

    // After a restart of both it has what it had, and is told what changed meanwhile.
    drop(node);
    cloud.cluster.kubectl(&["delete", "device", "a"]).await?;
    let mut node = EdgeNode::connect(hub, &papers, "edge-1", Kind::EdgeCore).await?;
    let told = node.wait_for(is_about("membership")).await?;
    assert_eq!(members(&told)?, (vec![], vec!["default/a".into()]));
    let first = node.wait_for(|message| message.route.group.as_deref() == Some("resource")).await?;
    assert!(first.is(operation::DELETE), "{first:?}");
    node.acknowledge(&first).await?;
    let first = first.route.resource.unwrap_or_default();
    assert!(["default/device/a", "default/devicemodel/pump"].contains(&&*first), "{first}");
    eventually(PATIENCE, "no record", async || {
        ensure!(
            cloud.get("objectsync", &record).await.is_err() || first.contains("model"),
            "it is there"
        );
        Ok(())
    })
    .await
}

/// It tells the mapper whose protocol the message names, and none without one.
#[tokio::test(flavor = "multi_thread")]
async fn an_edgecore_is_told_the_protocol_of_a_device_that_ends() -> Result<()> {
    let cloud = Cloud::start().await?;
    let both = [device("a", "pump", "edge-1"), device("b", "pump", "edge-1")];
    cloud.apply(&[&[model("pump")][..], &both].concat()).await?;
    let (hub, papers) = (cloud.addresses("first")?.hub, cloud.papers("edge-1")?);
    let mut node = EdgeNode::connect(hub, &papers, "edge-1", Kind::EdgeCore).await?;
    for object in ["devicemodel/pump", "device/a", "device/b"] {
        let told = node.wait_for(is_about(&format!("default/{object}"))).await?;
        node.acknowledge(&told).await?;
    }
    let is_end = |message: &Message| message.is(operation::DELETE);
    // While it is there, and while it is away.
    cloud.cluster.kubectl(&["delete", "device", "a"]).await?;
    let end = node.wait_for(is_end).await?;
    assert_eq!(end.content["spec"]["protocol"]["protocolName"], "modbus", "{end:?}");
    node.acknowledge(&end).await?;
    drop(node);
    cloud.cluster.kubectl(&["delete", "device", "b"]).await?;
    let mut node = EdgeNode::connect(hub, &papers, "edge-1", Kind::EdgeCore).await?;
    let is_its_end = |message: &Message| is_end(message) && is_about("default/device/b")(message);
    let end = node.wait_for(is_its_end).await?;
    assert_eq!(end.content["spec"]["protocol"]["protocolName"], "modbus", "{end:?}");
    Ok(())
}
