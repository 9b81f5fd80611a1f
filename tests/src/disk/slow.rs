//! A disk that does little and rests long: a mounted file system that is frozen and thawed in turns. Each sync waits for the
//! next turn.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::hostile::{Mount, freeze, thaw};

/// How long the disk rests, and then works.
const TURNS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(10));

/// Keeps a disk slow. It stays frozen or not, as it happens to be, when this is dropped without [`Slow::end`].
#[derive(Debug)]
pub struct Slow {
    stop: CancellationToken,
    tasks: JoinSet<Result<u64>>,
}

impl Slow {
    /// Begins.
    pub fn down(mount: &Mount) -> Self {
        let (path, stop) = (mount.path(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(turns(path, stop.clone()));
        Self { stop, tasks }
    }

    /// The disk is quick again; tells how often it rested.
    ///
    /// # Errors
    /// It could not be frozen, or not thawed.
    pub async fn end(mut self) -> Result<u64> {
        self.stop.cancel();
        self.tasks.join_next().await.context("no task")??
    }
}

/// The time that passes here is the fault itself: nothing is waited for.
async fn turns(path: PathBuf, stop: CancellationToken) -> Result<u64> {
    let mut rests = 0;
    while !stop.is_cancelled() {
        let at = path.clone();
        spawn_blocking(move || freeze(&at)).await??;
        rests += 1;
        sleep(TURNS.0).await;
        let at = path.clone();
        spawn_blocking(move || thaw(&at)).await??;
        stop.run_until_cancelled(sleep(TURNS.1)).await;
    }
    Ok(rests)
}
