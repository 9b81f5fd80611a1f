//! The task behind [`Mappers`]: follows the feed and the leases, and owns the tasks of the mappers.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::resume::Former;
use super::{End, Mappers, Start, worker};
use crate::api::view::Part;
use crate::feed::Missed;
use crate::health::Health;
use crate::leases::MapperName;
use crate::twins::Unavailable;

/// How often ended leases are looked for.
const LEASE_CHECK: Duration = Duration::from_secs(1);
/// Feed entries taken at a time.
const CHUNK: usize = 256;
/// How long the tasks may take to keep what they told when the agent stops.
const KEEPING: Duration = Duration::from_millis(500);

/// The task behind [`Mappers`].
#[derive(Debug)]
pub(crate) struct Reconciler {
    mappers: Arc<Mappers>,
    starts: mpsc::Receiver<Start>,
    ends: mpsc::Receiver<End>,
    former: Former,
    resumed: Vec<Start>,
}

impl Reconciler {
    pub(super) fn new(
        mappers: Arc<Mappers>,
        starts: mpsc::Receiver<Start>,
        ends: mpsc::Receiver<End>,
        former: Former,
    ) -> Self {
        Self { mappers, starts, ends, former, resumed: Vec::new() }
    }

    /// Takes those mappers of an earlier run as registered whose sockets answer.
    pub(crate) async fn resume(&mut self) -> Result<(), Unavailable> {
        self.resumed = self.former.resume(&self.mappers).await?;
        Ok(())
    }

    /// Keeps mappers up to date until `stop`. `from` is the number of the last event that needs no hearing.
    ///
    /// # Errors
    /// A task panicked.
    pub(crate) async fn run(
        mut self,
        from: u64,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let mappers = self.mappers.clone();
        let feed = mappers.twins.feed().clone();
        let mut newest = feed.subscribe();
        let mut cursor = from;
        let mut tasks: JoinSet<Option<(MapperName, u64)>> = JoinSet::new();
        let mut check = tokio::time::interval(LEASE_CHECK);
        let mut release = pin!(tokio::time::sleep(mappers.ttl()));
        let mut released = false;
        health.ok(Part::Mappers);
        // Gone, and the store was not told of it so far.
        let mut silent = Vec::new();
        loop {
            for start in self.resumed.drain(..) {
                tasks.spawn(worker::run(mappers.clone(), start, stop.clone()));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(start) = self.starts.recv() => {
                    tasks.spawn(worker::run(mappers.clone(), start, stop.clone()));
                }
                Some(End { name, number, done }) = self.ends.recv() => {
                    let ended = mappers.end(&name, number, "it serves another protocol now").await;
                    let stopped = ended == Err(Unavailable::Stopped);
                    if ended.is_err() {
                        mappers.stays(&name, number);
                    }
                    // Whoever asked may have hung up.
                    let _ = done.send(ended);
                    if stopped {
                        break;
                    }
                }
                Some(ended) = tasks.join_next() => {
                    let ended = ended.map_err(|error| error.to_string())?;
                    silent.extend(ended);
                    if end_silent(&mappers, &mut silent).await.is_err() {
                        break;
                    }
                }
                _ = check.tick() => {
                    for (name, number) in mappers.ended() {
                        match mappers.end(&name, number, "its lease ended").await {
                            // What the store does not take now is tried with the next look.
                            Ok(()) | Err(Unavailable::Store(_)) => {}
                            Err(_) => break,
                        }
                    }
                    if end_silent(&mappers, &mut silent).await.is_err() {
                        break;
                    }
                    if self.resume().await.is_err() {
                        break;
                    }
                    // Until one came, all of them have their time to come back.
                    if released || mappers.count() > 0 {
                        mappers.tell_health(&health);
                    }
                }
                () = &mut release, if !released => {
                    // Whoever knows leases and lives has been heard of by now.
                    released = true;
                    self.former.release();
                    mappers.resync();
                }
                changed = newest.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    cursor = follow(&mappers, cursor);
                }
            }
        }
        // Stopped in the middle of what they tell, they keep what they told.
        let ended = async { while tasks.join_next().await.is_some() {} };
        // Without an answer of the store there is nothing to wait for.
        let _ = tokio::time::timeout(KEEPING, ended).await;
        tasks.shutdown().await;
        Ok(())
    }
}

/// Ends those whose tasks found them gone; whom the store does not let go stays in the list.
async fn end_silent(
    mappers: &Mappers,
    silent: &mut Vec<(MapperName, u64)>,
) -> Result<(), Unavailable> {
    for (name, number) in std::mem::take(silent) {
        match mappers.end(&name, number, "its socket does not answer").await {
            Err(Unavailable::Store(_)) => silent.push((name, number)),
            other => other?,
        }
    }
    Ok(())
}

/// Reads the feed up to its end.
fn follow(mappers: &Mappers, mut cursor: u64) -> u64 {
    let feed = mappers.twins.feed();
    loop {
        match feed.after(cursor, CHUNK) {
            Ok(entries) if entries.is_empty() => return cursor,
            Ok(entries) => {
                for entry in entries {
                    cursor = entry.last();
                    entry.changes.iter().for_each(|change| mappers.follow(change));
                }
            }
            Err(Missed) => {
                cursor = feed.newest();
                mappers.resync();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use device_model::DeviceState;
    use device_twin::{Command, Report};

    use super::super::tests::{info, nobody, nobody_over};
    use super::super::{MapperInfo, NotRegistered};
    use super::*;
    use crate::feed::Origin;
    use crate::twins::faulty::Faulty;
    use crate::twins::tests::pump;

    #[tokio::test]
    async fn a_caller_that_hangs_up_leaves_a_mapper_with_a_task() {
        let dir = tempfile::tempdir().unwrap();
        let (mappers, mut reconciler, _owner) = nobody();
        let Ok(pending) = mappers.register(info("one", &dir.path().join("one.sock"))).await else {
            panic!("nobody has that name")
        };
        drop(pending);
        let start = reconciler.starts.try_recv().unwrap();
        assert_eq!(&*start.info.name, "one");
        assert!(start.dirty.take().all, "it is told everything");
        assert!(!start.kept && start.told.devices.is_empty());
    }

    #[tokio::test]
    async fn what_ended_an_older_registration_leaves_the_newer_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (mappers, mut reconciler, _owner) = nobody();
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let address = dir.path().join("one.sock");
            assert!(mappers.register(info("one", &address)).await.is_ok());
            numbers.push(reconciler.starts.try_recv().unwrap().number);
        }
        mappers.end(&"one".into(), numbers[0], "an old reason").await.unwrap();
        assert_eq!(mappers.count(), 1);
        mappers.end(&"one".into(), numbers[1], "a new reason").await.unwrap();
        assert_eq!(mappers.count(), 0);
    }

    #[tokio::test]
    async fn who_is_found_gone_is_told_no_more_from_before_its_devices_are_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let (store, switch) = Faulty::new();
        let (mappers, mut reconciler, _owner) = nobody_over(store);
        let name = "one".into();
        assert!(mappers.register(info("one", &dir.path().join("one.sock"))).await.is_ok());
        let number = reconciler.starts.try_recv().unwrap().number;
        let pump = pump(0);
        let device = pump.id.clone();
        let online = Report::of(device.clone()).with_state(DeviceState::Online);
        let said = vec![Command::Load(pump), Command::Report(online)];
        mappers.twins.apply(said, Origin::Unasked).await.unwrap();
        mappers.registry().leases.assign(&device, "test");
        assert_eq!(mappers.live_owner(&device).as_ref(), Some(&name));
        // The store does not take it: as things stand in the middle of it.
        switch.fill(true);
        mappers.end(&name, number, "a reason").await.unwrap_err();
        assert_eq!(mappers.owner(&device).as_ref(), Some(&name), "nobody else has it yet");
        assert_eq!(mappers.live_owner(&device), None);
    }

    #[tokio::test]
    async fn who_could_not_change_its_protocol_has_its_devices_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let (store, switch) = Faulty::new();
        let (mappers, reconciler, _owner) = nobody_over(store);
        let (name, pump) = ("one".into(), pump(0));
        let one = info("one", &dir.path().join("one.sock"));
        assert!(mappers.register(one.clone()).await.is_ok());
        let device = pump.id.clone();
        let online = Report::of(device.clone()).with_state(DeviceState::Online);
        let said = vec![Command::Load(pump), Command::Report(online)];
        mappers.twins.apply(said, Origin::Unasked).await.unwrap();
        mappers.registry().leases.assign(&device, "test");
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let from = mappers.twins.feed().newest();
        tasks.spawn(reconciler.run(from, Arc::default(), stop.clone()));

        switch.fill(true);
        let other = MapperInfo { protocol: "other".into(), ..one };
        let refused = mappers.register(other.clone()).await.err();
        assert!(matches!(refused, Some(NotRegistered::Unavailable(Unavailable::Store(_)))));
        assert_eq!(mappers.live_owner(&device), Some(name), "it is not gone, and has it still");

        switch.fill(false);
        assert!(mappers.register(other).await.is_ok());
        assert_eq!(mappers.live_owner(&device), None);
        let twin = mappers.twins.twin(&device).await.unwrap().unwrap();
        assert_eq!(twin.state(), DeviceState::Unknown);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}
