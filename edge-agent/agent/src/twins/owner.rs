//! The thread itself: takes what is queued, commits it together, tells the feed, answers.
//!
//! What the store does not take is answered with its words and leaves nothing, in memory or on disk. The thread goes on:
//! reads are served, and each new request tries the store again.

use std::time::Instant;

use device_model::DeviceId;
use device_model::DeviceState;
use device_twin::store::{Object, Run};
use device_twin::{Change, Command, Outcome, Store, StoreError, Twin};
use tokio::sync::mpsc;
use tracing::debug;

use super::{Answers, Asked, Core, Reply, Request, StoreHealth, Unavailable};
use crate::clock::{clocks, now};
use crate::feed::{Entry, Feed, Member, Origin};
use crate::refuse::unknown_device;

/// Commands that go into one transaction at most: enough to share a commit, few enough to answer soon.
const BATCH: usize = 512;
/// Requests of a failed transaction that fail alone, one after the other, before the rest is not tried any more.
const ENOUGH: usize = 3;

/// A request whose commands are part of the present transaction.
struct Pending {
    device: Option<DeviceId>,
    origin: Origin,
    count: usize,
    reply: Option<Reply>,
}

impl Asked {
    /// Makes it part of the next transaction.
    fn join(self, work: &mut Work) {
        let Self { commands, origin, reply } = self;
        let device = commands.first().and_then(device_of);
        work.pending.push(Pending { device, origin, count: commands.len(), reply });
        work.commands.extend(commands);
    }
}

/// What is committed next.
struct Work {
    commands: Vec<Command>,
    pending: Vec<Pending>,
    /// What the store is to hold as soon as it takes it.
    owed: Option<Object>,
}

impl Work {
    /// Tries to keep what is owed. Never taken, it is missed only by a next run whose clock did not go on.
    fn pay(&mut self, core: &mut Core, health: &StoreHealth) {
        self.owed.take_if(|object| health.note(core.store().put_object(object)).is_ok());
    }
}

/// Works until it is told to stop; then everything is on the disk.
///
/// # Errors
/// It is not: the store does not take it.
pub(super) fn own(
    mut core: Core,
    run: Run,
    mut requests: mpsc::Receiver<Request>,
    feed: &Feed,
    health: &StoreHealth,
) -> Result<(), StoreError> {
    let mut work = Work {
        commands: Vec::with_capacity(BATCH),
        pending: Vec::with_capacity(BATCH),
        owed: Some(run.object()),
    };
    // Before anything has a number.
    work.pay(&mut core, health);
    let mut next = requests.blocking_recv();
    while let Some(request) = next {
        match request {
            Request::Apply(asked) => asked.join(&mut work),
            Request::ApplyEach(several) => {
                several.into_iter().for_each(|asked| asked.join(&mut work));
            }
            other => {
                commit(&mut core, &mut work, feed, health);
                match other {
                    Request::Read(read) => read(&core),
                    Request::SetSpans { sync, refresh } => {
                        core.set_sync(sync);
                        core.set_refresh(refresh);
                    }
                    Request::Tell(entry) => feed.push([with_twins(entry, &core)]),
                    Request::Keep(objects, reply) => {
                        let kept = health.note(core.store().put_objects(&objects));
                        // Whoever asked may have left.
                        let _ = reply.send(kept.map_err(Unavailable::Store));
                    }
                    Request::Forget(key, reply) => {
                        let forgotten = health.note(core.store().delete_object(&key).map(drop));
                        let _ = reply.send(forgotten.map_err(Unavailable::Store));
                    }
                    Request::Confirm(confirmed, reply) => {
                        let noted = health.note(core.confirm(&confirmed));
                        let _ = reply.send(noted.map_err(Unavailable::Store));
                    }
                    Request::BeginEpoch(epoch, reply) => {
                        let begun = health.note(core.begin_epoch(epoch));
                        let _ = reply.send(begun.map_err(Unavailable::Store));
                    }
                    Request::Stop => break,
                    Request::Apply(_) | Request::ApplyEach(_) => {}
                }
            }
        }
        next = match requests.try_recv() {
            Ok(request) if work.commands.len() < BATCH => Some(request),
            taken => {
                commit(&mut core, &mut work, feed, health);
                taken.ok().or_else(|| requests.blocking_recv())
            }
        };
    }
    commit(&mut core, &mut work, feed, health);
    core.store().sync()
}

/// One transaction; then the feed; then the answers. If it fails, each request is one of its own: what is wrong may be
/// with one of them alone.
fn commit(core: &mut Core, work: &mut Work, feed: &Feed, health: &StoreHealth) {
    let Work { commands, pending, .. } = work;
    if commands.is_empty() {
        return;
    }
    let clocks = clocks();
    let at = clocks.wall;
    let ticks = commands.iter().any(|command| matches!(command, Command::Tick));
    let begun = Instant::now();
    let (mut entries, mut answers) = (Vec::with_capacity(pending.len()), Vec::new());
    match core.apply(&*commands, clocks) {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for one in pending.drain(..) {
                let outcomes = outcomes.by_ref().take(one.count);
                settle(core, one, outcomes, at, &mut entries, &mut answers);
            }
        }
        Err(error) => {
            let alone = pending.len() == 1;
            let mut last = error;
            let (mut start, mut failures) = (0, if alone { ENOUGH } else { 0 });
            for one in pending.drain(..) {
                let commands = &commands[start..start + one.count];
                start += one.count;
                let outcomes = match failures {
                    ENOUGH => Err(last.clone()),
                    _ => core.apply(commands, clocks),
                };
                match outcomes {
                    Ok(outcomes) => {
                        failures = 0;
                        settle(core, one, outcomes.into_iter(), at, &mut entries, &mut answers);
                    }
                    Err(error) => {
                        failures = (failures + 1).min(ENOUGH);
                        last.clone_from(&error);
                        if let (Err(error), Some(reply)) =
                            (health.note::<()>(Err(error)), one.reply)
                        {
                            answers.push((reply, Err(Unavailable::Store(error))));
                        }
                    }
                }
            }
        }
    }
    commands.clear();
    health.commits.observe(begun.elapsed());
    if ticks {
        health.look(core);
        // Where it takes nothing, one failure more would only put off the next look.
        if health.fault().is_none() {
            work.pay(core, health);
        }
    }
    if !entries.is_empty() {
        feed.push(entries);
    }
    for (reply, answer) in answers {
        // Whoever asked may have left; what it asked for is done all the same.
        let _ = reply.send(answer);
    }
}

/// What came of a request that was committed: for the feed, and for whoever asked.
fn settle(
    core: &Core,
    Pending { device, origin, count, reply }: Pending,
    outcomes: impl Iterator<Item = Outcome>,
    at: device_model::Timestamp,
    entries: &mut Vec<Entry>,
    answers: &mut Vec<(Reply, Answers)>,
) {
    let asked = origin.is_asked();
    let report = origin.report();
    let mut entry = Entry::new(device, origin, at);
    let mut results = Vec::with_capacity(count);
    for Outcome { result, changes } in outcomes {
        match &result {
            Ok(answer) => entry.leave_out(&answer.refused),
            Err(rejected) => entry.refusal = Some(rejected.into()),
        }
        entry.states.extend(changes.iter().map(|change| state_after(change, core)));
        entry.changes.extend(changes);
        results.push(result);
    }
    if let (Some(trace), Some(device)) = (report, &entry.device) {
        debug!(%trace, %device, changes = entry.changes.len(), "committed");
    }
    if asked || !entry.changes.is_empty() {
        entries.push(with_delta(entry, core));
    }
    if let Some(reply) = reply {
        answers.push((reply, Ok(results)));
    }
}

/// A change that leaves the state alone does not name it.
fn state_after(change: &Change, core: &Core) -> DeviceState {
    let present = || core.get(&change.device.id).map(Twin::state).unwrap_or_default();
    change.condition.as_ref().map_or_else(present, |(_, after)| after.state)
}

fn device_of(command: &Command) -> Option<DeviceId> {
    match command {
        Command::Load(device) | Command::Adopt(device) => Some(device.id.clone()),
        Command::Remove(id) => Some(id.clone()),
        Command::Report(report) => Some(report.device.clone()),
        Command::Desire(desire) => Some(desire.device.clone()),
        Command::Update(update) => Some(update.device.clone()),
        Command::Judge { device, .. } => Some(device.clone()),
        Command::Lose { .. } | Command::Doubt | Command::Tick => None,
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
                    return entry.refused(404, unknown_device(name));
                }
            }
        }
        _ => {}
    }
    entry
}
