//! Many edge nodes in one process, each with its devices: what a cloud costs is measured with them.
//!
//! Each keeps what it is sent, as an agent does, reports of its devices when it is told to, and comes again when its link
//! ends. What they all saw is in [`Tally`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use device_model::DeviceId;
use edge_link::content::{self, Confirmation, Hello};
use edge_link::down::{Change, Delivery, Receiver, Verdict};
use edge_link::up::{Outbox, OutboxSettings};
use edge_link::words::{group, operation, source};
use edge_link::{Kind as ObjectKind, Look, Message, MessageId, Resource, Route, Uid};
use rand::RngExt;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::edge_node::{EdgeNode, Kind, Papers, now};

/// The life of each node's store.
const EPOCH: u64 = 1;
/// The longest that a node waits before it comes again.
const REST: Duration = Duration::from_secs(3);

/// What all nodes of a fleet saw.
#[derive(Debug, Default)]
pub struct Tally {
    /// Nodes that are connected and were welcomed.
    pub connected: AtomicU64,
    /// Devices that nodes have.
    pub devices: AtomicU64,
    /// Reports sent.
    pub sent: AtomicU64,
    /// Reports confirmed.
    pub confirmed: AtomicU64,
    /// Links that ended.
    pub ended: AtomicU64,
}

impl Tally {
    /// One of its numbers.
    pub fn of(number: &AtomicU64) -> u64 {
        number.load(Ordering::Relaxed)
    }
}

/// Nodes that run until this is dropped.
#[derive(Debug)]
pub struct EdgeFleet {
    /// What they saw.
    pub tally: Arc<Tally>,
    report: watch::Sender<u64>,
    stop: CancellationToken,
    nodes: JoinSet<()>,
}

impl EdgeFleet {
    /// Starts nodes with these names and papers, which come to `address` within `spread`.
    pub fn start(
        address: SocketAddr,
        papers: Vec<(String, Papers)>,
        kind: Kind,
        spread: Duration,
    ) -> Self {
        let tally = Arc::new(Tally::default());
        let stop = CancellationToken::new();
        let report = watch::Sender::new(0);
        let mut nodes = JoinSet::new();
        for (name, papers) in papers {
            let node = Node {
                address,
                papers,
                kind,
                tally: tally.clone(),
                receiver: Receiver::default(),
                devices: BTreeMap::new(),
                outbox: Outbox::new(OutboxSettings::default(), EPOCH),
                name,
            };
            let wait = spread.mul_f64(rand::rng().random_range(0.0..1.0));
            let (stop, report) = (stop.clone(), report.subscribe());
            nodes.spawn(async move {
                let running = async {
                    sleep(wait).await;
                    node.run(report).await;
                };
                stop.run_until_cancelled(running).await;
            });
        }
        Self { tally, report, stop, nodes }
    }

    /// Each node reports a new value of each of its devices.
    pub fn report(&self) {
        self.report.send_modify(|round| *round += 1);
    }

    /// Ends all of them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.nodes.join_next().await.is_some() {}
    }
}

struct Node {
    address: SocketAddr,
    papers: Papers,
    kind: Kind,
    tally: Arc<Tally>,
    receiver: Receiver,
    devices: BTreeMap<DeviceId, Device>,
    outbox: Outbox<DeviceId>,
    name: String,
}

struct Device {
    uid: Uid,
    rev: u64,
    properties: Vec<String>,
}

impl Node {
    async fn run(mut self, mut report: watch::Receiver<u64>) {
        loop {
            let mut welcomed = false;
            // Why it ended is the cloud's to tell.
            let _ = self.link(&mut report, &mut welcomed).await;
            self.outbox.disconnect();
            if welcomed {
                self.tally.connected.fetch_sub(1, Ordering::Relaxed);
            }
            self.tally.ended.fetch_add(1, Ordering::Relaxed);
            let rest = REST.mul_f64(rand::rng().random_range(0.0..1.0));
            sleep(rest).await;
        }
    }

    async fn link(&mut self, report: &mut watch::Receiver<u64>, welcomed: &mut bool) -> Result<()> {
        let mut link = EdgeNode::connect(self.address, &self.papers, &self.name, self.kind).await?;
        self.receiver.connect();
        if self.kind == Kind::Ours {
            let twins = self.devices.values().map(|device| content::Point {
                uid: device.uid.clone(),
                epoch: EPOCH,
                rev: device.rev,
            });
            let hello = Hello {
                epoch: EPOCH,
                objects: self.receiver.held().collect(),
                twins: twins.collect(),
            };
            let welcome = link.hello(&hello).await?;
            self.outbox.connect(Some(&welcome));
        } else {
            self.outbox.connect(None);
        }
        *welcomed = true;
        self.tally.connected.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        loop {
            while let Some(upload) = self.outbox.next(begin.elapsed(), MessageId::random()) {
                let message = self.message(upload);
                link.send(&message).await?;
                self.tally.sent.fetch_add(1, Ordering::Relaxed);
            }
            tokio::select! {
                message = link.next_whenever() => self.take(&mut link, message?).await?,
                Ok(()) = report.changed() => self.change(),
            }
        }
    }

    async fn take(&mut self, link: &mut EdgeNode, message: Message) -> Result<()> {
        if message.is(operation::RESPONSE) {
            let parent = message.header.parent.as_ref();
            if let Some(parent) = parent
                && message.route.group.as_deref() == Some(group::TWIN)
            {
                let said = Confirmation::read(&message.content)?;
                self.outbox.confirm(parent, &said);
                self.tally.confirmed.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(());
        }
        if let Ok(delivery) = Delivery::read(&message) {
            if let Verdict::Commit(change) = self.receiver.judge(&delivery) {
                self.keep(&delivery, &change, &message);
            }
            self.receiver.settle(delivery);
        }
        link.acknowledge(&message).await
    }

    fn keep(&mut self, delivery: &Delivery, change: &Change, message: &Message) {
        if *delivery.key.kind() != ObjectKind::DEVICE {
            return;
        }
        let Some(namespace) = delivery.key.namespace() else { return };
        let Ok(id) = DeviceId::new(namespace, delivery.key.name()) else { return };
        if *change == Change::Ends {
            self.devices.remove(&id);
            self.outbox.forget(&id);
            self.tally.devices.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let object = &message.content;
        let Some(uid) = Look::at(object).uid else { return };
        let properties = object["spec"]["properties"].as_array().into_iter().flatten();
        let properties =
            properties.filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect();
        let rev = self.devices.get(&id).filter(|known| known.uid == uid).map_or(0, |one| one.rev);
        if self.devices.insert(id, Device { uid, rev, properties }).is_none() {
            self.tally.devices.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(&mut self) {
        for (id, device) in &mut self.devices {
            device.rev += 1;
            self.outbox.note(id, &device.uid, device.rev);
        }
    }

    fn message(&self, upload: edge_link::up::Upload<DeviceId>) -> Message {
        let device = self.devices.get(&upload.key);
        let rev = device.map_or(0, |device| device.rev);
        let at = now();
        let property = |name: &String| {
            let side = json!({
                "value": format!("{rev}.5"),
                "metadata": {"timestamp": at.as_millis(), "quality": "good", "version": rev},
            });
            (name.clone(), json!({"actual": side, "metadata": {"type": "float"}}))
        };
        let names = device.map(|device| device.properties.as_slice()).unwrap_or_default();
        let twin: Map<String, Value> = names.iter().map(property).collect();
        let content = json!({
            "event_id": "", "timestamp": at.as_millis(), "twin": twin,
            "edgetwin": upload.progress,
        });
        let resource = Resource::TwinReport(upload.key);
        let route = Route::new(source::TWIN, group::RESOURCE, operation::UPDATE, &resource);
        Message::new(upload.id, at, route, content)
    }
}
