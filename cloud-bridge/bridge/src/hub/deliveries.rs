//! Down to one node: what it should have against what it has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use device_model::{DeviceId, Timestamp};
use edge_link::content::{self, Member, Membership};
use edge_link::down::{Acknowledged, Outgoing, Queue, QueueSettings, Task, Window};
use edge_link::words::{group, operation, source};
use edge_link::{Kind, Message, MessageId, ObjectKey, Resource, Route, Uid, Version};
use tokio::time::Instant;

use crate::objects::{Body, DeviceEntry, Objects, Wanted};
use crate::syncs::Held;

/// The objects of one node, over one link.
#[derive(Debug)]
pub(super) struct Deliveries {
    node: Arc<str>,
    ours: bool,
    queue: Queue<Body>,
    /// Of each device and model that the node may have, for an EdgeCore.
    protocols: HashMap<Uid, Box<str>>,
    /// Devices that the node may count as its own, for an EdgeCore.
    members: BTreeSet<DeviceId>,
    /// Whether all of them were told over this link.
    introduced: bool,
    begin: Instant,
    /// Nothing is sent before.
    begun: bool,
}

impl Deliveries {
    /// For a node that was not heard of yet.
    pub(super) fn new(node: Arc<str>, ours: bool) -> Self {
        let queue = Queue::new(QueueSettings::default());
        let (protocols, members) = (HashMap::new(), BTreeSet::new());
        let (introduced, begin, begun) = (false, Instant::now(), false);
        Self { node, ours, queue, protocols, members, introduced, begin, begun }
    }

    /// The node has `held`; what differs from it is sent from now on.
    pub(super) fn start(&mut self, objects: &Objects, held: Vec<Held>) {
        self.begun = true;
        let known =
            |held: &Held| Some((held.holding.uid.clone(), held.protocol.as_deref()?.into()));
        self.protocols = held.iter().filter_map(known).collect();
        let held: Vec<_> = held.into_iter().map(|one| one.holding).collect();
        self.members = held.iter().filter_map(|one| one.key.device()).collect();
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
            if let (false, Some(protocol)) = (self.ours, body.protocol()) {
                self.protocols.insert(uid.clone(), protocol.into());
            }
            self.queue.put(&key, uid, version, body);
        }
    }

    /// The node's own Node, for an EdgeCore.
    pub(super) fn put_node(&mut self, key: &ObjectKey, uid: Uid, version: Version, json: Arc<str>) {
        self.queue.put(key, uid, version, Body::Node(json));
    }

    /// Which devices it has from now on and which no more, for an EdgeCore, where that is news. It knows the devices that
    /// it has by this alone.
    ///
    /// The whole list of them would say more, but no CloudCore sends it: EdgeCore locks all twins to go through it, and
    /// waits for ever where a device was removed while a report of it was being taken (`dealTwinUpdate`, `LockAll`).
    pub(super) fn membership(&mut self, objects: &Objects, now: Timestamp) -> Option<Message> {
        if self.ours || !self.begun {
            return None;
        }
        let devices = objects.devices_of(&self.node);
        let ids: BTreeSet<_> = devices.iter().map(|device| device.id.clone()).collect();
        let is_news =
            |device: &&Arc<DeviceEntry>| !self.introduced || !self.members.contains(&device.id);
        let member = |device: &Arc<DeviceEntry>| Member {
            description: device.description.as_deref().map(str::to_owned),
            ..Member::new(device.id.clone())
        };
        let added: Vec<_> = devices.iter().filter(is_news).map(member).collect();
        let removed: Vec<_> = self.members.difference(&ids).cloned().map(Member::new).collect();
        (self.members, self.introduced) = (ids, true);
        if added.is_empty() && removed.is_empty() {
            return None;
        }
        let some = |members: Vec<Member>| (!members.is_empty()).then_some(members);
        let membership = Membership {
            event_id: MessageId::random().to_string(),
            timestamp: now,
            added_devices: some(added),
            removed_devices: some(removed),
        };
        let resource = Resource::Membership;
        let route = Route::new(source::DEVICECONTROLLER, group::TWIN, operation::UPDATE, &resource);
        Some(Message::new(MessageId::random(), now, route, content::json(&membership)))
    }

    /// All devices are told again the next time, for an EdgeCore that asked for them.
    pub(super) fn introduce(&mut self) {
        self.introduced = false;
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
            // It finds the mapper that has to let go of it by this, and tells none without it.
            if let Task::Delete { uid } = &outgoing.task
                && let Some(protocol) = self.protocols.get(uid)
            {
                let place = &mut message.content["spec"]["protocol"];
                let is_device = *outgoing.key.kind() == Kind::DEVICE;
                let place = if is_device { &mut place["protocolName"] } else { place };
                *place = (**protocol).into();
            }
        }
        message
    }

    /// The node has committed a message.
    pub(super) fn acknowledge(&mut self, id: &MessageId) -> Option<Acknowledged> {
        let told = self.queue.acknowledge(id)?;
        if told.version.is_none() {
            self.protocols.remove(&told.uid);
        }
        Some(told)
    }

    /// When something is to be sent again.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.queue.due()?;
        // Just past it.
        Some(self.begin + due + Duration::from_millis(1))
    }
}
