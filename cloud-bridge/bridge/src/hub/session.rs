//! One link to one node: one task that owns everything about it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use device_model::{DeviceId, Timestamp};
use edge_link::content::{self, Hello, Welcome};
use edge_link::down::{Acknowledged, Task};
use edge_link::frame::{self, FrameError};
use edge_link::words::{group, operation, source};
use edge_link::{Kind, Look, Message, MessageId, ObjectKey, Resource, ResourceError};
use futures::StreamExt;
use kube::api::DynamicObject;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Shared;
use super::begin;
use super::deliveries::Deliveries;
use super::reports::{Read, Reports};
use super::socket;
use crate::nodes::GONE;
use crate::objects::DeviceEntry;
use crate::status::NotWritten;
use crate::syncs::Held;

/// How often a node is pinged: both ends know a dead link from a quiet one.
const PING: Duration = Duration::from_secs(10);
/// Without any octet for so long, pongs included, a link is dead.
const DEAD: Duration = Duration::from_secs(25);
/// Answers that wait for the node to read them. One that asks without reading is not worth more memory.
const REPLIES: usize = 2048;
/// Requests of a node that are under way at the API server.
const REQUESTS: usize = 32;
/// Turns that wait to be taken.
const TURNS: usize = 256;
/// Why a link ended, for the log.
type End = String;

/// What a session does beside reading and writing.
pub(super) enum Job {
    /// The node is this replica's, and everything that there is is known.
    Claimed,
    /// What the node has, each checked against the API server where the caches do not know it.
    Prepared(Vec<Held>),
    /// An answer for the node.
    Reply(Option<Box<Message>>),
    /// What became of a write.
    Written(Arc<DeviceEntry>, Result<(), NotWritten>),
    /// A device may ask for another turn.
    Rested(DeviceId),
    /// The node's own Node.
    Node(Option<Box<DynamicObject>>),
    /// A record of what the node has is written, or not.
    Noted(Result<(), String>),
}

/// A link.
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) node: Arc<str>,
    pub(super) ours: bool,
    deliveries: Deliveries,
    pub(super) reports: Reports,
    pub(super) replies: VecDeque<Message>,
    pub(super) jobs: JoinSet<Job>,
    pub(super) turn: mpsc::Sender<DeviceId>,
    claimed: bool,
    /// What an agent of ours said that it has, and the id of that message.
    hello: Option<(MessageId, Hello)>,
    /// That preparations are under way, or over.
    prepared: bool,
    /// Records to be written one after the other, for an EdgeCore.
    notes: VecDeque<Acknowledged>,
    noting: bool,
    /// Whether a message of another node's was logged already.
    pub(super) complained: bool,
    heard_at: Instant,
    alive_at: Instant,
}

impl Session {
    /// A link of `node`, to an agent of ours or to an EdgeCore.
    pub(super) fn new(shared: Arc<Shared>, node: Arc<str>, ours: bool) -> Self {
        let now = Instant::now();
        Self {
            deliveries: Deliveries::new(node.clone(), ours),
            shared,
            node,
            ours,
            reports: Reports::default(),
            replies: VecDeque::new(),
            jobs: JoinSet::new(),
            turn: mpsc::channel(1).0,
            claimed: false,
            hello: None,
            prepared: false,
            notes: VecDeque::new(),
            noting: false,
            complained: false,
            heard_at: now,
            alive_at: now,
        }
    }

    /// Runs until `end`, or until the link is over; why it is.
    pub(super) async fn run<S>(mut self, socket: WebSocketStream<S>, end: &CancellationToken) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sink, mut stream) = socket.split();
        let (out, frames) = mpsc::channel(socket::QUEUE);
        let mut writer = JoinSet::new();
        writer.spawn(socket::write(sink, frames, self.shared.settings.write_timeout));
        let (turn, mut turns) = mpsc::channel(TURNS);
        self.turn = turn;
        let mut changed = self.shared.objects.follow(&self.node);
        let mut own = self.shared.nodes.follow(&self.node);
        let mut has_node = *own.borrow_and_update() != GONE;
        self.jobs.spawn(begin::claim(self.shared.clone(), self.node.clone(), end.clone()));
        let mut ping = pin!(tokio::time::interval_at(Instant::now() + PING, PING));
        let mut outgoing: Option<Frame> = None;
        let reason = loop {
            if outgoing.is_none() {
                outgoing = self.next_frame();
            }
            let due = self.due();
            tokio::select! {
                () = end.cancelled() => break "it was ended: the node is connected elsewhere, or the bridge stops".into(),
                ended = writer.join_next() => break match ended {
                    Some(Ok(Some(reason))) => reason,
                    _ => "the writer ended".into(),
                },
                permit = out.reserve(), if outgoing.is_some() => {
                    if let (Ok(permit), Some(frame)) = (permit, outgoing.take()) {
                        permit.send(frame);
                    }
                }
                read = stream.next(), if self.has_room() => match self.read(read).await {
                    Ok(()) => {}
                    Err(reason) => break reason,
                },
                Some(job) = self.jobs.join_next() => if let Ok(job) = job {
                    self.finish(job).await;
                },
                Some(device) = turns.recv() => self.write(&device),
                Ok(()) = changed.changed() => {
                    self.deliveries.refresh(&self.shared.objects);
                    self.tell_members();
                }
                Ok(()) = own.changed() => {
                    let is_there = *own.borrow_and_update() != GONE;
                    // As with CloudCore: it comes again, and is registered again.
                    if std::mem::replace(&mut has_node, is_there) && !is_there {
                        break "its Node was deleted".into();
                    }
                    if !self.ours {
                        self.look_at_node();
                    }
                }
                _ = ping.tick() => {
                    if outgoing.is_none() {
                        outgoing = Some(Frame::Ping(Vec::new().into()));
                    }
                }
                () = sleep_until(due) => if let Some(reason) = self.is_dead() {
                    break reason;
                },
            }
        };
        self.jobs.shutdown().await;
        drop(out);
        // What waits to be written may say goodbye.
        let _ = tokio::time::timeout(Duration::from_secs(2), writer.join_next()).await;
        reason
    }

    /// Whether more may be read: answers are neither lost nor piled up.
    fn has_room(&self) -> bool {
        self.replies.len() < REPLIES && self.jobs.len() < REQUESTS + TURNS
    }

    fn due(&self) -> Instant {
        let silent = self.heard_at + DEAD;
        let dead = silent.min(self.alive_at + self.shared.settings.keepalive);
        self.deliveries.due().map_or(dead, |due| due.min(dead))
    }

    fn is_dead(&self) -> Option<End> {
        let keepalive = self.shared.settings.keepalive;
        if self.heard_at.elapsed() >= DEAD {
            return Some(format!("nothing came for {DEAD:?}, no pong either"));
        }
        (self.alive_at.elapsed() >= keepalive).then(|| format!("no keepalive for {keepalive:?}"))
    }

    /// What to send next: answers first, then objects.
    fn next_frame(&mut self) -> Option<Frame> {
        let message = match self.replies.pop_front() {
            Some(reply) => reply,
            None => self.next_delivery()?,
        };
        self.shared.metrics.messages_out.increment();
        Some(to_frame(&message))
    }

    fn next_delivery(&mut self) -> Option<Message> {
        let outgoing = self.deliveries.next()?;
        let message = self.deliveries.message(&outgoing, now());
        match &outgoing.task {
            // A later bridge must know that the node may have it, before it does.
            Task::Put { uid, known: false, body, .. } if !self.ours => {
                let (shared, node) = (self.shared.clone(), self.node.clone());
                let (key, uid, body) = (outgoing.key.clone(), uid.clone(), body.clone());
                self.jobs.spawn(async move {
                    match shared.syncs.begin(&node, &key, &uid, body.protocol()).await {
                        Ok(()) => Job::Reply(Some(Box::new(message))),
                        // It is sent again after a while, with a record then.
                        Err(error) => Job::Noted(Err(error.to_string())),
                    }
                });
                None
            }
            _ => Some(message),
        }
    }

    async fn read(
        &mut self,
        read: Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<(), End> {
        self.heard_at = Instant::now();
        let octets = match read {
            None => return Err("the node closed it".into()),
            Some(Err(error)) => return Err(format!("cannot read: {error}")),
            Some(Ok(Frame::Text(text))) => bytes::Bytes::from(text),
            Some(Ok(Frame::Binary(octets))) => octets,
            Some(Ok(Frame::Close(_))) => return Err("the node closed it".into()),
            Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => return Ok(()),
        };
        self.shared.metrics.messages_in.increment();
        match frame::read(&octets, self.shared.settings.most) {
            Ok(message) => {
                self.take(message).await;
                Ok(())
            }
            Err(error @ FrameError::Shape { .. }) => {
                self.refuse(&error.to_string());
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn take(&mut self, message: Message) {
        if message.is(operation::KEEPALIVE) {
            self.alive_at = Instant::now();
            return;
        }
        if message.is(operation::RESPONSE) {
            let told =
                message.header.parent.as_ref().and_then(|id| self.deliveries.acknowledge(id));
            if let Some(told) = told {
                self.shared.metrics.objects_acknowledged.increment();
                self.note(told);
            }
            return;
        }
        if message.is(operation::ERROR) {
            let said = String::from_utf8_lossy(&message.octets()).into_owned();
            return warn!(node = %self.node, said, "the node could not keep an object; it is sent again");
        }
        // EdgeCore's last word at SIGTERM.
        if message.header.id.is_none() && message.route.resource.is_none() {
            return;
        }
        let resource = message.route.resource.as_deref().unwrap_or_default();
        match Resource::from_node(resource, &self.node) {
            Ok(Resource::Hello) if self.ours => self.greet(&message),
            Ok(Resource::TwinReport(device)) => self.report(&device, &message, Read::twin).await,
            Ok(Resource::StateReport(device)) => self.report(&device, &message, Read::state).await,
            Ok(Resource::MembershipDetail) => self.told_of_devices(&message),
            Ok(Resource::Object(key)) => self.ask(key, message),
            // Only pods need it. CloudCore says the same where it knows none.
            Ok(Resource::ClusterCa) => {
                let nothing = serde_json::Value::String(String::new());
                self.replies.extend(message.response(MessageId::random(), now(), nothing));
            }
            Ok(other) => self.refuse(&format!("nothing is done about {other}")),
            Err(error @ ResourceError::Foreign { .. }) => {
                if !std::mem::replace(&mut self.complained, true) {
                    warn!(node = %self.node, %error, "a message was refused; further ones of this link are only counted");
                }
                self.shared.metrics.messages_refused.increment();
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    pub(super) fn refuse(&self, reason: &str) {
        self.shared.metrics.messages_refused.increment();
        debug!(node = %self.node, reason, "a message was refused");
    }

    /// An agent of ours says what it has.
    fn greet(&mut self, message: &Message) {
        let Some(id) = message.header.id.clone() else {
            return self.refuse("a hello without an id");
        };
        match content::read::<Hello>(&message.content) {
            Ok(hello) => {
                self.hello = Some((id, hello));
                self.prepared = false;
                self.prepare();
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    /// Finds out what the node has, as soon as it is known whose it is.
    fn prepare(&mut self) {
        if self.prepared || !self.claimed || (self.ours && self.hello.is_none()) {
            return;
        }
        self.prepared = true;
        let held = self.hello.as_ref().map(|(_, hello)| hello.objects.clone());
        self.jobs.spawn(begin::prepare(self.shared.clone(), self.node.clone(), held));
    }

    fn begin(&mut self, held: Vec<Held>) {
        self.deliveries.start(&self.shared.objects, held);
        if let Some((id, hello)) = self.hello.take() {
            let welcome = content::json(&self.welcome(&hello));
            let mut asked = Message::default();
            asked.header.id = Some(id);
            asked.route = edge_link::Route::new(
                source::EDGETWIN,
                group::RESOURCE,
                operation::QUERY,
                &Resource::Hello,
            );
            self.replies.extend(asked.response(MessageId::random(), now(), welcome));
        }
        self.tell_members();
        if !self.ours {
            self.look_at_node();
        }
    }

    /// An EdgeCore is told its own Node; an agent of ours knows it from answers.
    fn look_at_node(&mut self) {
        let (shared, node) = (self.shared.clone(), self.node.clone());
        self.jobs.spawn(async move { Job::Node(begin::own_node(&shared, &node).await) });
    }

    fn welcome(&self, hello: &Hello) -> Welcome {
        let devices = self.shared.objects.devices_of(&self.node);
        let point = |device: &Arc<DeviceEntry>| self.shared.records.point(&device.id, &device.uid);
        let is_over = |uid: &&edge_link::Uid| !devices.iter().any(|device| device.uid == **uid);
        Welcome {
            has: devices.iter().filter_map(point).collect(),
            gone: hello.twins.iter().map(|twin| &twin.uid).filter(is_over).cloned().collect(),
        }
    }

    /// Which devices it has, for an EdgeCore, where that is news.
    fn tell_members(&mut self) {
        self.replies.extend(self.deliveries.membership(&self.shared.objects, now()));
    }

    /// An EdgeCore asks for its devices: it is confirmed, and told them apart.
    fn told_of_devices(&mut self, message: &Message) {
        self.replies.extend(message.confirmation(MessageId::random(), now()));
        self.deliveries.introduce();
        self.tell_members();
    }

    /// The node asks for something at the API server.
    fn ask(&mut self, key: ObjectKey, message: Message) {
        if *key.kind() == Kind::EVENT {
            return;
        }
        let shared = self.shared.clone();
        self.jobs.spawn(async move {
            let content = shared.requests.answer(&key, &message).await;
            Job::Reply(content.and_then(|content| {
                let mut answer = message.response(MessageId::random(), now(), content)?;
                answer.route.source = Some(source::EDGECONTROLLER.into());
                answer.route.group = Some(group::RESOURCE.into());
                if *key.kind() == Kind::NODE_PATCH {
                    let look = Look::at(&answer.content["Object"]);
                    answer.header.resource_version =
                        look.version.map(|version| version.resource_version.to_string());
                }
                Some(Box::new(answer))
            }))
        });
    }

    async fn finish(&mut self, job: Job) {
        match job {
            Job::Claimed => {
                self.claimed = true;
                self.prepare();
            }
            Job::Prepared(held) => self.begin(held),
            Job::Reply(reply) => self.replies.extend(reply.map(|reply| *reply)),
            Job::Written(device, result) => self.written(&device, result).await,
            Job::Rested(device) => self.shared.turns.ask(device, self.turn.clone()).await,
            Job::Node(node) => self.push_node(node),
            Job::Noted(result) => {
                if let Err(error) = result {
                    warn!(node = %self.node, error, "cannot record what the node has; it is tried again with the next word");
                }
                self.noting = false;
                self.note_next();
            }
        }
    }

    fn push_node(&mut self, node: Option<Box<DynamicObject>>) {
        let Some(node) = node else { return };
        let Ok(object) = crate::objects::slim(*node) else { return };
        let look = Look::at(&object);
        let key = ObjectKey::new(None, Kind::NODE, &self.node);
        if let (Ok(key), Some(uid), Some(version)) = (key, look.uid, look.version) {
            self.deliveries.put_node(&key, uid, version, object.to_string().into());
        }
    }

    /// Records what an EdgeCore has, one after the other.
    fn note(&mut self, told: Acknowledged) {
        if !self.ours {
            self.notes.push_back(told);
            self.note_next();
        }
    }

    fn note_next(&mut self) {
        if self.noting {
            return;
        }
        let Some(told) = self.notes.pop_front() else { return };
        self.noting = true;
        let (shared, node) = (self.shared.clone(), self.node.clone());
        self.jobs.spawn(async move {
            let noted = shared.syncs.note(&node, &told).await;
            Job::Noted(noted.map_err(|error| error.to_string()))
        });
    }
}

fn to_frame(message: &Message) -> Frame {
    let octets = frame::write(message);
    match String::from_utf8(octets) {
        Ok(text) => Frame::Text(text.into()),
        Err(error) => Frame::Binary(error.into_bytes().into()),
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
