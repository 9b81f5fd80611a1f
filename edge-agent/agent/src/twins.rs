//! The one owner of all twins and of the store: a thread behind a bounded queue.
//!
//! [`owner`] takes what is queued, commits it as one transaction, and only then tells the feed and answers, in order.
//! Everybody else holds a handle. Reads go through the same queue, copy what they need and are put into words by
//! whoever asked, so that they hold up no writer for longer than the copy.

#[cfg(test)]
pub(crate) mod faulty;
mod owner;
mod store_health;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use device_model::{DeviceId, DeviceState, Timestamp};
use device_twin::store::{Confirmed, Object, ObjectKey, Run};
use device_twin::{Answer, Command, Counters, Rejected, Store, StoreError, Twin, Uid};
use tokio::sync::{mpsc, oneshot};

use crate::error::panicked;
use crate::feed::{Entry, Feed, Origin};
use crate::health::Health;
pub(crate) use store_health::StoreHealth;

pub(crate) type Core = device_twin::Twins<Box<dyn Store + Send>>;
/// One answer for each command, unless all of them came to nothing.
type Answers = Result<Vec<Result<Answer, Rejected>>, Unavailable>;
type Reply = oneshot::Sender<Answers>;

/// A handle to the twins. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Twins {
    queue: mpsc::Sender<Request>,
    feed: Arc<Feed>,
    health: Arc<StoreHealth>,
    /// Which life of the store this is.
    epoch: Arc<AtomicU64>,
}

/// How many of what there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) devices: usize,
    pub(crate) online: usize,
    /// Devices whose description their mapper refuses.
    pub(crate) refused: usize,
    /// Desired values without a final acknowledgement.
    pub(crate) unsettled: usize,
    /// When the reported value was refreshed that waits the longest for another, by the steady clock.
    pub(crate) oldest_reading: Option<Timestamp>,
    /// What the rules did, dropped and refused since the start.
    pub(crate) rules: Counters,
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// Come again in a moment.
    #[error(
        "too many reports are waiting for the store; send again in a moment, many properties in one call"
    )]
    Full,
    /// The agent stops.
    #[error("the agent is stopping; connect again when it is back")]
    Stopped,
    /// The store did not take it, and nothing of it was done. Come again: what is wrong there is tried for ever.
    #[error("{0}; send again when there is nothing wrong there")]
    Store(Arc<StoreError>),
}

impl From<StoreError> for Unavailable {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl Unavailable {
    /// The number that HTTP and the event bus have for it.
    pub(crate) fn http_status(&self) -> u16 {
        match self {
            Self::Store(error) if matches!(**error, StoreError::Full { .. }) => 507,
            Self::Store(_) | Self::Full | Self::Stopped => 503,
        }
    }
}

/// Commands that have one origin and one answer.
struct Asked {
    commands: Vec<Command>,
    origin: Origin,
    reply: Option<Reply>,
}

enum Request {
    Apply(Asked),
    /// Together, or not at all.
    ApplyEach(Vec<Asked>),
    Read(Box<dyn FnOnce(&Core) + Send>),
    Keep(Vec<Object>, oneshot::Sender<Result<(), Unavailable>>),
    Forget(ObjectKey, oneshot::Sender<Result<(), Unavailable>>),
    Confirm(Vec<(DeviceId, Confirmed)>, oneshot::Sender<Result<(), Unavailable>>),
    BeginEpoch(u64, oneshot::Sender<Result<(), Unavailable>>),
    Tell(Entry),
    SetSpans {
        sync: Duration,
        refresh: Duration,
    },
    Stop,
}

/// The thread that owns the twins.
#[derive(Debug)]
pub(crate) struct Owner {
    thread: thread::JoinHandle<()>,
    ended: oneshot::Receiver<Result<(), String>>,
    queue: mpsc::Sender<Request>,
}

impl Twins {
    /// Starts the thread over `core`, whose store is to hold `run`; at most `capacity` requests may wait. `parts` is told
    /// how the store is.
    pub(crate) fn start(
        core: Core,
        run: Run,
        capacity: usize,
        parts: Arc<Health>,
    ) -> std::io::Result<(Self, Owner)> {
        let (queue, requests) = mpsc::channel(capacity);
        let feed = Arc::new(Feed::new(run.start()));
        let health = Arc::new(StoreHealth::new(parts));
        let epoch = Arc::new(AtomicU64::new(core.epoch()));
        let (tell, ended) = oneshot::channel();
        let thread = {
            let (feed, health) = (feed.clone(), health.clone());
            let body = move || {
                // What it owned is not looked at again.
                let owning = AssertUnwindSafe(|| owner::own(core, run, requests, &feed, &health));
                let result = match catch_unwind(owning) {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(payload) => Err(panicked(&*payload)),
                };
                // Nobody waits any longer when the agent gave up before.
                let _ = tell.send(result);
            };
            thread::Builder::new().name("twins".into()).spawn(body)?
        };
        Ok((Self { queue: queue.clone(), feed, health, epoch }, Owner { thread, ended, queue }))
    }

    /// What happened, in order.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// How the store is.
    pub(crate) fn store_health(&self) -> &StoreHealth {
        &self.health
    }

    /// Commits `command` unless the queue is full.
    pub(crate) async fn try_apply(
        &self,
        command: Command,
        origin: Origin,
    ) -> Result<Result<Answer, Rejected>, Unavailable> {
        let mut answers = self.try_apply_each([(command, origin)]).await?;
        answers.pop().ok_or(Unavailable::Stopped)
    }

    /// Commits all commands, in order, or none if the queue is full; one answer for each.
    pub(crate) async fn try_apply_each(
        &self,
        commands: impl IntoIterator<Item = (Command, Origin)>,
    ) -> Result<Vec<Result<Answer, Rejected>>, Unavailable> {
        let mut answers = Vec::new();
        for reply in self.ask_each(commands)? {
            answers.extend(reply.await.map_err(|_| Unavailable::Stopped)??);
        }
        Ok(answers)
    }

    /// Queues each command as a request of its own, or none; where each is answered.
    fn ask_each(
        &self,
        commands: impl IntoIterator<Item = (Command, Origin)>,
    ) -> Result<Vec<oneshot::Receiver<Answers>>, Unavailable> {
        let (mut asked, mut replies) = (Vec::new(), Vec::new());
        for (command, origin) in commands {
            let (reply, answer) = oneshot::channel();
            asked.push(Asked { commands: vec![command], origin, reply: Some(reply) });
            replies.push(answer);
        }
        self.queue.try_send(Request::ApplyEach(asked)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::Full,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopped,
        })?;
        Ok(replies)
    }

    /// Commits `commands` as one, waiting for room in the queue; one answer for each.
    pub(crate) async fn apply(
        &self,
        commands: Vec<Command>,
        origin: Origin,
    ) -> Result<Vec<Result<Answer, Rejected>>, Unavailable> {
        if commands.is_empty() {
            // Nothing is committed, so nothing is answered.
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Request::Apply(Asked { commands, origin, reply: Some(reply) })).await?;
        answer.await.map_err(|_| Unavailable::Stopped)?
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Asks for time to pass; does nothing while the queue is full, since it will be asked again.
    pub(crate) fn tick(&self) {
        let commands = vec![Command::Tick];
        // Full or stopped: the next tick, or nobody, will do.
        let asked = Asked { commands, origin: Origin::Unasked, reply: None };
        let _ = self.queue.try_send(Request::Apply(asked));
    }

    /// Puts an answer into the feed, behind all that was asked before.
    pub(crate) async fn tell(&self, entry: Entry) -> Result<(), Unavailable> {
        self.send(Request::Tell(entry)).await
    }

    /// Sets the longest span of reported values that a power cut may lose, and how often one that only repeats itself
    /// is written.
    pub(crate) async fn set_spans(
        &self,
        sync: Duration,
        refresh: Duration,
    ) -> Result<(), Unavailable> {
        self.send(Request::SetSpans { sync, refresh }).await
    }

    /// Stores `object`, on the disk when this returns.
    pub(crate) async fn keep(&self, object: Object) -> Result<(), Unavailable> {
        self.keep_all(vec![object]).await
    }

    /// Stores all of `objects`, on the disk when this returns.
    pub(crate) async fn keep_all(&self, objects: Vec<Object>) -> Result<(), Unavailable> {
        self.ask(|reply| Request::Keep(objects, reply)).await
    }

    /// Notes up to where the cloud has each of these devices.
    pub(crate) async fn confirm(
        &self,
        confirmed: Vec<(DeviceId, Confirmed)>,
    ) -> Result<(), Unavailable> {
        self.ask(|reply| Request::Confirm(confirmed, reply)).await
    }

    /// Begins another life of the store, above what the cloud knows.
    pub(crate) async fn begin_epoch(&self, epoch: u64) -> Result<(), Unavailable> {
        self.ask(|reply| Request::BeginEpoch(epoch, reply)).await?;
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    /// Which life of the store this is.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Which lives of these devices there are twins of.
    pub(crate) async fn lives(
        &self,
        devices: Vec<DeviceId>,
    ) -> Result<Vec<Option<Uid>>, Unavailable> {
        self.read(move |core| devices.iter().map(|id| core.life(id).cloned()).collect()).await
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn forget(&self, key: ObjectKey) -> Result<(), Unavailable> {
        self.ask(|reply| Request::Forget(key, reply)).await
    }

    /// A copy of one twin.
    pub(crate) async fn twin(&self, id: &DeviceId) -> Result<Option<Twin>, Unavailable> {
        let id = id.clone();
        self.read(move |core| core.get(&id).cloned()).await
    }

    /// Copies of all twins, by name.
    pub(crate) async fn twins(&self) -> Result<Vec<Twin>, Unavailable> {
        Ok(self.as_they_stand().await?.1)
    }

    /// The same, behind the number of the newest event: all up to it is in them, and nothing of what comes after it.
    pub(crate) async fn as_they_stand(&self) -> Result<(u64, Vec<Twin>), Unavailable> {
        let feed = self.feed.clone();
        // The thread that reads here is the one that tells the feed, right after each commit.
        let read = move |core: &Core| (feed.newest(), core.iter().cloned().collect::<Vec<_>>());
        let (newest, mut twins) = self.read(read).await?;
        twins.sort_by(|a, b| a.device().id.cmp(&b.device().id));
        Ok((newest, twins))
    }

    /// Devices of the store that nobody described since the start.
    pub(crate) async fn parked(&self) -> Result<Vec<DeviceId>, Unavailable> {
        self.read(|core| core.parked().cloned().collect()).await
    }

    /// Devices whose description their mapper refuses, by name, and why.
    pub(crate) async fn problems(&self) -> Result<Vec<(DeviceId, Arc<str>)>, Unavailable> {
        let problem =
            |twin: &Twin| Some((twin.device().id.clone(), twin.condition().problem.clone()?));
        let mut problems =
            self.read(move |core| core.iter().filter_map(problem).collect::<Vec<_>>()).await?;
        problems.sort();
        Ok(problems)
    }

    /// How many of what there are.
    pub(crate) async fn counts(&self) -> Result<Counts, Unavailable> {
        self.read(|core| {
            let online = core.iter().filter(|twin| twin.state() == DeviceState::Online).count();
            let open =
                |twin: &Twin| twin.properties().filter(|(_, state)| !state.settled()).count();
            let oldest =
                |twin: &Twin| twin.properties().filter_map(|(_, state)| state.seen_at()).min();
            let refused = |twin: &&Twin| twin.condition().problem.is_some();
            Counts {
                devices: core.iter().len(),
                online,
                refused: core.iter().filter(refused).count(),
                unsettled: core.iter().map(open).sum(),
                oldest_reading: core.iter().filter_map(oldest).min(),
                rules: core.counters(),
            }
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let read = move |core: &Core| {
            // Whoever asked may have left.
            let _ = reply.send(read(core));
        };
        self.send(Request::Read(Box::new(read))).await?;
        answer.await.map_err(|_| Unavailable::Stopped)
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), Unavailable>>) -> Request,
    ) -> Result<(), Unavailable> {
        let (reply, done) = oneshot::channel();
        self.send(request(reply)).await?;
        done.await.map_err(|_| Unavailable::Stopped)?
    }

    async fn send(&self, request: Request) -> Result<(), Unavailable> {
        self.queue.send(request).await.map_err(|_| Unavailable::Stopped)
    }
}

impl Owner {
    /// Waits for the thread to end by itself, which it does only on a fault.
    pub(crate) async fn fault(&mut self) -> String {
        match (&mut self.ended).await {
            Ok(Ok(())) => "ended".into(),
            Ok(Err(reason)) => reason,
            Err(_) => "ended without a word".into(),
        }
    }

    /// Lets the thread finish what is queued, and sync it to disk, within `patience`.
    pub(crate) async fn stop(self, patience: Duration) -> Result<(), String> {
        let Self { thread, ended, queue } = self;
        let asked = async move {
            // A closed queue means that the thread is gone already; its result says why.
            let _ = queue.send(Request::Stop).await;
            drop(queue);
            ended.await
        };
        let Ok(result) = tokio::time::timeout(patience, asked).await else {
            // It hangs in a call to the disk, which nothing can end.
            return Err(format!("the disk did not answer within {patience:?}"));
        };
        // It ends right after its result, so this does not block.
        let joined = thread.join();
        match (result, joined) {
            (Ok(Ok(())), Ok(())) => Ok(()),
            (Ok(Err(reason)), _) => Err(reason),
            _ => Err("ended without a word".into()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
