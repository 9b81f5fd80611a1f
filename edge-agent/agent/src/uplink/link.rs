//! One link, from its first message to its end: what is said in which order, and what is done with what comes.

use std::collections::VecDeque;
use std::time::Duration;

use edge_link::content::{self, Confirmation, Hello, Welcome};
use edge_link::frame::{self, FRAME_LIMIT, FrameError};
use edge_link::words::{group, operation, source};
use edge_link::{Message, MessageId, Resource, Route};
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::dial::Dialled;
use super::node::Node;
use super::objects::Objects;
use super::status::Status;
use super::uploads::{Peer, Uploads};
use super::{Asking, answer};
use crate::clock::now;
use crate::twins::Unavailable;

/// How often the cloud is pinged: a dead link is told from a quiet one.
const PING: Duration = Duration::from_secs(10);
/// Without any octet for so long, pongs included, a link is dead.
const DEAD: Duration = Duration::from_secs(25);
/// How long one message may take to be written; KubeEdge's own.
const WRITING: Duration = Duration::from_secs(15);
/// Messages that wait for the socket. More wait where they come from.
const QUEUE: usize = 4;
/// Objects that are taken in one transaction.
const BATCH: usize = 32;
/// How often what the store did not take is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often confirmations are written down.
const KEEP: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// How a link ended.
#[derive(Debug)]
pub(super) enum End {
    /// The agent stops, or its twins did.
    Stopped,
    /// It broke, or one of both ended it; for people.
    Broken(String),
    /// The store has to begin another life, with that epoch.
    Behind(u64),
    /// The certificate was renewed: the next link shows the new one.
    Renewed,
}

impl From<Unavailable> for End {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Stopped => Self::Stopped,
            other => Self::Broken(other.to_string()),
        }
    }
}

/// What a link works with.
pub(super) struct Parts<'a> {
    pub(super) objects: &'a mut Objects,
    pub(super) uploads: &'a mut Uploads,
    pub(super) node: &'a mut Node,
    pub(super) status: &'a Status,
    pub(super) asked: &'a mut mpsc::Receiver<Asking>,
    pub(super) heartbeat: Duration,
}

struct Link<'a> {
    parts: Parts<'a>,
    peer: Peer,
    /// What was asked for at the beginning; reports wait for the answer.
    hello: Option<MessageId>,
    /// What is to be sent before anything else: acknowledgements, and what the link needs to live.
    urgent: VecDeque<Message>,
    heard_at: Instant,
}

/// Speaks over `dialled` until it ends, or `stop`, or `renewed`.
pub(super) async fn run(
    dialled: Dialled,
    parts: Parts<'_>,
    renewed: impl Future<Output = ()>,
    stop: &CancellationToken,
) -> End {
    let Dialled { socket, peer, own } = dialled;
    let (sink, stream) = socket.split();
    parts.objects.connect();
    parts.node.connect(own);
    parts.uploads.meet(peer);
    let mut link =
        Link { parts, peer, hello: None, urgent: VecDeque::new(), heard_at: Instant::now() };
    let end = link.speak(sink, stream, renewed, stop).await;
    link.parts.uploads.disconnect();
    end
}

impl Link<'_> {
    async fn speak(
        &mut self,
        sink: SplitSink<Socket, Frame>,
        mut stream: SplitStream<Socket>,
        renewed: impl Future<Output = ()>,
        stop: &CancellationToken,
    ) -> End {
        let (out, frames) = mpsc::channel(QUEUE);
        let writing = write(sink, frames);
        tokio::pin!(writing, renewed);
        self.greet();
        let start = Instant::now();
        let mut ping = interval_at(start + PING, PING);
        let mut heartbeat = interval_at(start + self.parts.heartbeat, self.parts.heartbeat);
        let mut again = interval_at(start + AGAIN, AGAIN);
        let mut keep = interval_at(start + KEEP, KEEP);
        let mut outgoing: Option<Frame> = None;
        loop {
            if outgoing.is_none() {
                outgoing = match self.next().await {
                    Ok(message) => message.map(|message| to_frame(&message)),
                    Err(error) => return error.into(),
                };
                self.tell_status();
            }
            let (mut next, dead) = (self.parts.node.due(), self.heard_at + DEAD);
            next = self.parts.uploads.due().map_or(next, |due| due.min(next)).min(dead);
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                () = &mut renewed => return End::Renewed,
                reason = &mut writing => return End::Broken(reason),
                permit = out.reserve(), if outgoing.is_some() => {
                    if let (Ok(permit), Some(frame)) = (permit, outgoing.take()) {
                        permit.send(frame);
                    }
                }
                read = stream.next() => match self.read(read, &mut stream).await {
                    Ok(()) => {}
                    Err(end) => return end,
                },
                () = self.parts.uploads.changed() => {
                    if let Err(error) = self.parts.uploads.follow().await {
                        return error.into();
                    }
                }
                Some(asking) = self.parts.asked.recv() => {
                    answer(asking, self.parts.objects, self.parts.uploads);
                }
                _ = ping.tick(), if outgoing.is_none() => {
                    outgoing = Some(Frame::Ping(Vec::new().into()));
                }
                _ = heartbeat.tick() => {
                    self.urgent.push_back(Message::keepalive(MessageId::random(), now()));
                }
                _ = again.tick(), if self.parts.objects.is_owing() => {
                    if let Err(error) = self.parts.objects.pay(false).await {
                        return error.into();
                    }
                }
                _ = keep.tick() => if let Err(error) = self.parts.uploads.keep().await {
                    return error.into();
                },
                // Outgoing messages wait for room, not for time.
                () = sleep_until(next), if outgoing.is_none() || next == dead => {
                    if self.heard_at.elapsed() >= DEAD {
                        return End::Broken(format!("nothing came for {DEAD:?}, no pong either"));
                    }
                }
            }
        }
    }

    /// That it lives goes first, so that no cloud waits for it; then what it has.
    fn greet(&mut self) {
        self.urgent.push_back(Message::keepalive(MessageId::random(), now()));
        match self.peer {
            Peer::Ours => {
                let hello = Hello {
                    epoch: self.parts.uploads.epoch(),
                    objects: self.parts.objects.held().collect(),
                    twins: self.parts.uploads.points(),
                };
                let (id, operation) = (MessageId::random(), operation::QUERY);
                let route =
                    Route::new(source::EDGETWIN, group::RESOURCE, operation, &Resource::Hello);
                let content = content::json(&hello);
                self.urgent.push_back(Message::new(id.clone(), now(), route, content));
                self.hello = Some(id);
            }
            // It says nothing of what it has; what it confirmed is believed.
            Peer::KubeEdge => drop(self.parts.uploads.connect(None)),
        }
    }

    /// The next message to send.
    async fn next(&mut self) -> Result<Option<Message>, Unavailable> {
        if let Some(urgent) = self.urgent.pop_front() {
            return Ok(Some(urgent));
        }
        if let Some(request) = self.parts.node.next() {
            return Ok(Some(request));
        }
        self.parts.uploads.next().await
    }

    fn tell_status(&self) {
        let (behind, since) = self.parts.uploads.behind_with();
        let confirmed = self.parts.uploads.confirmed();
        self.parts.status.progress(behind, since, confirmed);
        if self.parts.node.is_registered() && self.hello.is_none() {
            self.parts.status.ready();
        }
    }

    /// Takes what came, and with it what is there already: objects that come together are committed together.
    async fn read(
        &mut self,
        first: Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>,
        stream: &mut SplitStream<Socket>,
    ) -> Result<(), End> {
        self.heard_at = Instant::now();
        let mut objects = Vec::new();
        let mut read = Some(first);
        while let Some(frame) = read {
            if let Some(message) = message(frame)? {
                if is_object(&message) {
                    objects.push(message);
                } else {
                    self.take(&message)?;
                }
            }
            read = if objects.len() < BATCH { stream.next().now_or_never() } else { None };
        }
        self.take_objects(objects).await
    }

    /// Two states of one object are not judged together.
    async fn take_objects(&mut self, objects: Vec<Message>) -> Result<(), End> {
        let mut rest = objects.as_slice();
        while !rest.is_empty() {
            let repeats = |at: &usize| {
                let resource = &rest[*at].route.resource;
                rest[..*at].iter().any(|before| before.route.resource == *resource)
            };
            let (batch, later) = rest.split_at((1..rest.len()).find(repeats).unwrap_or(rest.len()));
            rest = later;
            let acknowledged = self.parts.objects.take(batch).await?;
            for (message, due) in batch.iter().zip(acknowledged) {
                if due {
                    self.acknowledge(message);
                }
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, message: &Message) {
        if message.wants_acknowledgement() {
            self.urgent.extend(message.acknowledgement(MessageId::random(), now()));
        }
    }

    fn take(&mut self, message: &Message) -> Result<(), End> {
        let Some(parent) = message.header.parent.clone() else {
            debug!(resource = ?message.route.resource, "the cloud says something that nothing here needs");
            return Ok(());
        };
        if message.route.group.as_deref() == Some(group::TWIN) {
            let said = match Confirmation::read(&message.content) {
                Ok(said) => said,
                Err(error) => {
                    warn!(%error, "the cloud's word on a report cannot be read; it is sent again");
                    return Ok(());
                }
            };
            return match self.parts.uploads.confirm(&parent, &said) {
                Some(epoch) => Err(End::Behind(epoch)),
                None => Ok(()),
            };
        }
        if self.hello.as_ref() == Some(&parent) {
            self.hello = None;
            let welcome: Welcome = content::read(&message.content)
                .map_err(|error| End::Broken(format!("the cloud's welcome: {error}")))?;
            return match self.parts.uploads.connect(Some(&welcome)) {
                Some(epoch) => Err(End::Behind(epoch)),
                None => Ok(()),
            };
        }
        let (_, again) = self.parts.node.answer(message);
        self.urgent.extend(again);
        self.acknowledge(message);
        Ok(())
    }
}

/// The message in a frame, if it is one.
fn message(
    frame: Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<Message>, End> {
    let broken = |reason: &str| End::Broken(reason.to_owned());
    let octets = match frame {
        None => return Err(broken("the cloud closed it")),
        Some(Err(error)) => return Err(End::Broken(format!("cannot read: {error}"))),
        Some(Ok(Frame::Text(text))) => bytes::Bytes::from(text),
        Some(Ok(Frame::Binary(octets))) => octets,
        Some(Ok(Frame::Close(_))) => return Err(broken("the cloud closed it")),
        Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => return Ok(None),
    };
    match frame::read(&octets, FRAME_LIMIT) {
        Ok(message) => Ok(Some(message)),
        Err(error @ FrameError::Shape { .. }) => {
            warn!(%error, "the cloud sends what is no message");
            Ok(None)
        }
        Err(error) => Err(End::Broken(error.to_string())),
    }
}

/// Whether it puts or deletes an object, rather than answering something.
fn is_object(message: &Message) -> bool {
    message.header.parent.is_none() && message.route.group.as_deref() == Some(group::RESOURCE)
}

fn to_frame(message: &Message) -> Frame {
    let text = String::from_utf8(frame::write(message)).unwrap_or_default();
    Frame::Text(text.into())
}

/// Writes what comes; ends with why.
async fn write(mut sink: SplitSink<Socket, Frame>, mut frames: mpsc::Receiver<Frame>) -> String {
    while let Some(frame) = frames.recv().await {
        match timeout(WRITING, sink.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return format!("cannot write: {error}"),
            Err(_) => return format!("the cloud read nothing for {WRITING:?}"),
        }
    }
    "nothing is to be written any more".into()
}
