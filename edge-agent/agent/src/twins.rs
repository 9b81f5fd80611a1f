//! The one owner of all twins and of the store: a thread behind a bounded queue.
//!
//! It takes what is queued, commits it as one transaction, and only then tells the feed and answers, in order.
//! Everybody else holds a handle. Reads go through the same queue, copy what they need and are put into words by
//! whoever asked, so that they hold up no writer for longer than the copy.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use device_model::{DeviceId, DeviceState, Timestamp};
use device_twin::store::{Object, ObjectKey};
use device_twin::{
    Answer, Change, Command, Counters, Outcome, Rejected, SqliteStore, Store, StoreError, Twin,
};
use tokio::sync::{mpsc, oneshot};

use crate::error::panicked;
use crate::feed::{Entry, Feed, Member, Origin};

/// Commands that go into one transaction at most: enough to share a commit, few enough to answer soon.
const BATCH: usize = 512;

pub(crate) type Core = device_twin::Twins<SqliteStore>;
type Reply = oneshot::Sender<Vec<Result<Answer, Rejected>>>;

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// A handle to the twins. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Twins {
    queue: mpsc::Sender<Request>,
    feed: Arc<Feed>,
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
    /// What the rules did, dropped and refused since the start.
    pub(crate) rules: Counters,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// Come again in a moment.
    #[error(
        "too many reports are waiting for the store; send again in a moment, many properties in one call"
    )]
    Full,
    /// The agent stops.
    #[error("the agent is stopping; connect again when it is back")]
    Stopped,
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
    Keep(Object, oneshot::Sender<()>),
    Forget(ObjectKey, oneshot::Sender<()>),
    Tell(Entry),
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
    /// Starts the thread over `core`; at most `capacity` requests may wait.
    pub(crate) fn start(core: Core, capacity: usize) -> std::io::Result<(Self, Owner)> {
        let (queue, requests) = mpsc::channel(capacity);
        let feed = Arc::new(Feed::new(now()));
        let (tell, ended) = oneshot::channel();
        let thread = {
            let feed = feed.clone();
            let body = move || {
                // What it owned is not looked at again.
                let owning = AssertUnwindSafe(|| own(core, requests, &feed));
                let result = match catch_unwind(owning) {
                    Ok(result) => result.map_err(|error| error.to_string()),
                    Err(payload) => Err(panicked(&*payload)),
                };
                // Nobody waits any longer when the agent gave up before.
                let _ = tell.send(result);
            };
            thread::Builder::new().name("twins".into()).spawn(body)?
        };
        Ok((Self { queue: queue.clone(), feed }, Owner { thread, ended, queue }))
    }

    /// What happened, in order.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
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
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.extend(reply.await.map_err(|_| Unavailable::Stopped)?);
        }
        Ok(answers)
    }

    /// Commits `commands` as one, waiting for room in the queue; one answer for each.
    pub(crate) async fn apply(
        &self,
        commands: Vec<Command>,
        origin: Origin,
    ) -> Result<Vec<Result<Answer, Rejected>>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Apply(Asked { commands, origin, reply: Some(reply) })).await?;
        answer.await.map_err(|_| Unavailable::Stopped)
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

    /// Stores `object`, on the disk when this returns.
    pub(crate) async fn keep(&self, object: Object) -> Result<(), Unavailable> {
        let (reply, done) = oneshot::channel();
        self.send(Request::Keep(object, reply)).await?;
        done.await.map_err(|_| Unavailable::Stopped)
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn forget(&self, key: ObjectKey) -> Result<(), Unavailable> {
        let (reply, done) = oneshot::channel();
        self.send(Request::Forget(key, reply)).await?;
        done.await.map_err(|_| Unavailable::Stopped)
    }

    /// A copy of one twin.
    pub(crate) async fn twin(&self, id: &DeviceId) -> Result<Option<Twin>, Unavailable> {
        let id = id.clone();
        self.read(move |core| core.get(&id).cloned()).await
    }

    /// Copies of all twins, by name.
    pub(crate) async fn twins(&self) -> Result<Vec<Twin>, Unavailable> {
        let mut twins = self.read(|core| core.iter().cloned().collect::<Vec<_>>()).await?;
        twins.sort_by(|a, b| a.device().id.cmp(&b.device().id));
        Ok(twins)
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
            let refused = |twin: &&Twin| twin.condition().problem.is_some();
            Counts {
                devices: core.iter().len(),
                online,
                refused: core.iter().filter(refused).count(),
                unsettled: core.iter().map(open).sum(),
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

    /// Lets the thread finish what is queued, and sync it to disk.
    pub(crate) async fn stop(self) -> Result<(), String> {
        // A closed queue means that the thread is gone already; its result says why.
        let _ = self.queue.send(Request::Stop).await;
        drop(self.queue);
        let result = self.ended.await;
        // It ends right after its result, so this does not block.
        let joined = self.thread.join();
        match (result, joined) {
            (Ok(Ok(())), Ok(())) => Ok(()),
            (Ok(Err(reason)), _) => Err(reason),
            _ => Err("ended without a word".into()),
        }
    }
}

/// A request whose commands are part of the present transaction.
struct Pending {
    device: Option<DeviceId>,
    origin: Origin,
    count: usize,
    reply: Option<Reply>,
}

impl Asked {
    /// Makes it part of the next transaction.
    fn join(self, commands: &mut Vec<Command>, pending: &mut Vec<Pending>) {
        let Self { commands: more, origin, reply } = self;
        let device = more.first().and_then(device_of);
        pending.push(Pending { device, origin, count: more.len(), reply });
        commands.extend(more);
    }
}

fn own(
    mut core: Core,
    mut requests: mpsc::Receiver<Request>,
    feed: &Feed,
) -> Result<(), StoreError> {
    let mut commands = Vec::with_capacity(BATCH);
    let mut pending = Vec::with_capacity(BATCH);
    let mut next = requests.blocking_recv();
    while let Some(request) = next {
        match request {
            Request::Apply(asked) => asked.join(&mut commands, &mut pending),
            Request::ApplyEach(several) => {
                several.into_iter().for_each(|asked| asked.join(&mut commands, &mut pending));
            }
            other => {
                commit(&mut core, &mut commands, &mut pending, feed)?;
                match other {
                    Request::Read(read) => read(&core),
                    Request::Tell(entry) => feed.push([with_twins(entry, &core)]),
                    Request::Keep(object, reply) => {
                        core.store().put_object(&object)?;
                        // Whoever asked may have left.
                        let _ = reply.send(());
                    }
                    Request::Forget(key, reply) => {
                        core.store().delete_object(&key)?;
                        let _ = reply.send(());
                    }
                    Request::Stop => break,
                    Request::Apply(_) | Request::ApplyEach(_) => {}
                }
            }
        }
        next = match requests.try_recv() {
            Ok(request) if commands.len() < BATCH => Some(request),
            taken => {
                commit(&mut core, &mut commands, &mut pending, feed)?;
                taken.ok().or_else(|| requests.blocking_recv())
            }
        };
    }
    commit(&mut core, &mut commands, &mut pending, feed)?;
    core.store().sync()
}

/// One transaction; then the feed; then the answers.
fn commit(
    core: &mut Core,
    commands: &mut Vec<Command>,
    pending: &mut Vec<Pending>,
    feed: &Feed,
) -> Result<(), StoreError> {
    if commands.is_empty() {
        return Ok(());
    }
    let at = now();
    let mut outcomes = core.apply(std::mem::take(commands), at)?.into_iter();
    let mut answers = Vec::with_capacity(pending.len());
    let mut entries = Vec::with_capacity(pending.len());
    for Pending { device, origin, count, reply } in pending.drain(..) {
        let asked = !matches!(origin, Origin::Unasked);
        let mut entry = Entry::new(device, origin, at);
        let mut results = Vec::with_capacity(count);
        for Outcome { result, changes } in outcomes.by_ref().take(count) {
            match &result {
                Ok(answer) => entry.leave_out(&answer.refused),
                Err(rejected) => entry.refusal = Some(rejected.into()),
            }
            entry.states.extend(changes.iter().map(|change| state_after(change, core)));
            entry.changes.extend(changes);
            results.push(result);
        }
        if asked || !entry.changes.is_empty() {
            entries.push(with_delta(entry, core));
        }
        if let Some(reply) = reply {
            answers.push((reply, results));
        }
    }
    if !entries.is_empty() {
        feed.push(entries);
    }
    for (reply, results) in answers {
        // Whoever asked may have left; what it asked for is done all the same.
        let _ = reply.send(results);
    }
    Ok(())
}

/// A change that leaves the state alone does not name it.
fn state_after(change: &Change, core: &Core) -> DeviceState {
    let present = || core.get(&change.device.id).map(Twin::state).unwrap_or_default();
    change.condition.as_ref().map_or_else(present, |(_, after)| after.state)
}

fn device_of(command: &Command) -> Option<DeviceId> {
    match command {
        Command::Load(device) => Some(device.id.clone()),
        Command::Remove(id) => Some(id.clone()),
        Command::Report(report) => Some(report.device.clone()),
        Command::Desire(desire) => Some(desire.device.clone()),
        Command::Update(update) => Some(update.device.clone()),
        Command::Judge { device, .. } => Some(device.clone()),
        Command::Lose { .. } | Command::Tick => None,
    }
}

/// Adds the twin where it still wants something of the device: the bus tells the whole delta each time.
fn with_delta(mut entry: Entry, core: &Core) -> Entry {
    let mut devices: Vec<&DeviceId> =
        entry.changes.iter().map(|change| &change.device.id).collect();
    devices.extend(&entry.device);
    devices.sort();
    devices.dedup();
    let twins = devices.into_iter().filter_map(|id| core.get(id));
    let twins: Vec<_> = twins.filter(|twin| twin.delta().next().is_some()).cloned().collect();
    entry.twins = twins;
    entry
}

/// Adds what was asked for.
fn with_twins(mut entry: Entry, core: &Core) -> Entry {
    entry.at = now();
    match &entry.origin {
        Origin::Membership { .. } => {
            let member = |twin: &Twin| Member {
                device: twin.device().clone(),
                state: twin.state(),
                last_online: twin.last_online(),
            };
            entry.members = core.iter().map(member).collect();
        }
        Origin::Get { .. } if entry.refusal.is_none() => {
            match entry.device.as_ref().and_then(|id| core.get(id)) {
                Some(twin) => entry.twins = vec![twin.clone()],
                None => {
                    let name = entry.device.as_ref().map(ToString::to_string).unwrap_or_default();
                    return entry.refused(404, format!("device {name} is not known here"));
                }
            }
        }
        _ => {}
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use device_twin::Settings;

    #[tokio::test]
    async fn a_panic_of_the_owner_is_told_and_nobody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("twins.db")).unwrap();
        let core = Core::open(store, Settings::default(), now()).unwrap();
        let (twins, mut owner) = Twins::start(core, 4).unwrap();
        let asked = twins.read(|_| -> () { panic!("out of {}", "luck") }).await;
        assert_eq!(asked, Err(Unavailable::Stopped));
        assert_eq!(owner.fault().await, "panicked: out of luck");
        assert_eq!(twins.read(Core::epoch).await, Err(Unavailable::Stopped));
    }
}
