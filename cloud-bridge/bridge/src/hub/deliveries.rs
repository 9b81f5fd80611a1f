//! Down to one node: what it should have against what it has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use device_model::Timestamp;
use edge_link::content::{self, Holding, Member, MembershipDetail};
use edge_link::down::{Acknowledged, Outgoing, Queue, QueueSettings, Window};
use edge_link::words::{group, operation, source};
use edge_link::{Kind, Message, MessageId, ObjectKey, Resource, Route, Uid, Version};
use tokio::time::Instant;

use crate::objects::{Body, Objects, Wanted};

/// The objects of one node, over one link.
#[derive(Debug)]
pub(super) struct Deliveries {
    node: Arc<str>,
    ours: bool,
    queue: Queue<Body>,
    /// Devices that the node was told of in a list, for an EdgeCore.
    listed: Option<BTreeSet<ObjectKey>>,
    begin: Instant,
    /// Nothing is sent before.
    begun: bool,
}

impl Deliveries {
    /// For a node that was not heard of yet.
    pub(super) fn new(node: Arc<str>, ours: bool) -> Self {
        let queue = Queue::new(QueueSettings::default());
        Self { node, ours, queue, listed: None, begin: Instant::now(), begun: false }
    }

    /// The node has `held`; what differs from it is sent from now on.
    pub(super) fn start(&mut self, objects: &Objects, held: Vec<Holding>) {
        self.begun = true;
        self.refresh(objects);
        let window = if self.ours { Window::AGENT } else { Window::EDGECORE };
        self.queue.connect(window, Some(held));
    }

    /// Takes what the node should have now.
    pub(super) fn refresh(&mut self, objects: &Objects) {
        if !self.begun {
            return;
        }
        let wanted = objects.of_node(&self.node);
        let keys: BTreeSet<_> = wanted.iter().map(|one| one.key.clone()).collect();
        let is_gone = |(key, uid): (&ObjectKey, &Uid)| {
            let kept = keys.contains(key) || *key.kind() == Kind::NODE;
            (!kept).then(|| (key.clone(), uid.clone()))
        };
        let gone: Vec<_> = self.queue.wanted().filter_map(is_gone).collect();
        for (key, uid) in gone {
            self.queue.delete(&key, &uid);
        }
        for Wanted { key, uid, version, body } in wanted {
            self.queue.put(&key, uid, version, body);
        }
    }

    /// The node's own Node, for an EdgeCore.
    pub(super) fn put_node(&mut self, key: &ObjectKey, uid: Uid, version: Version, json: Arc<str>) {
        self.queue.put(key, uid, version, Body::Node(json));
    }

    /// The list of all devices, for an EdgeCore, whenever it is another than it was told before. It knows the devices that
    /// it has by such lists alone.
    pub(super) fn list(&mut self, objects: &Objects, now: Timestamp) -> Option<Message> {
        if self.ours || !self.begun {
            return None;
        }
        let devices = objects.devices_of(&self.node);
        let keys: BTreeSet<_> = devices.iter().map(|device| device.key.clone()).collect();
        if self.listed.as_ref() == Some(&keys) {
            return None;
        }
        self.listed = Some(keys);
        let member = |device: &Arc<crate::objects::DeviceEntry>| Member {
            description: device.description.as_deref().map(str::to_owned),
            ..Member::new(device.id.clone())
        };
        let list = MembershipDetail {
            event_id: MessageId::random().to_string(),
            timestamp: now,
            devices: devices.iter().map(member).collect(),
        };
        let resource = Resource::MembershipDetail;
        let route = Route::new(source::DEVICECONTROLLER, group::TWIN, operation::UPDATE, &resource);
        Some(Message::new(MessageId::random(), now, route, content::json(&list)))
    }

    /// The list is told again the next time, for an EdgeCore that asked for it.
    pub(super) fn forget_list(&mut self) {
        self.listed = None;
    }

    /// What to send next, if anything may be sent now.
    pub(super) fn next(&mut self) -> Option<Outgoing<Body>> {
        if !self.begun {
            return None;
        }
        self.queue.next(self.begin.elapsed(), MessageId::random())
    }

    /// The message of `outgoing`.
    pub(super) fn message(&self, outgoing: &Outgoing<Body>, now: Timestamp) -> Message {
        let mut message = outgoing.message(now, |body| body.content(self.ours));
        if !self.ours {
            message.header.order = None;
        }
        message
    }

    /// The node has committed a message.
    pub(super) fn acknowledge(&mut self, id: &MessageId) -> Option<Acknowledged> {
        self.queue.acknowledge(id)
    }

    /// When something is to be sent again.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.queue.due()?;
        // Just past it.
        Some(self.begin + due + Duration::from_millis(1))
    }
}
