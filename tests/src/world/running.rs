//! A part of the gateway that runs: in this process, or as a program of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;
use crate::process::Process;

/// Dropping it takes it away in the middle of whatever it does.
pub(super) enum Running {
    Task { stop: CancellationToken, tasks: JoinSet<Result<()>> },
    Program(Process),
}

impl Running {
    pub(super) fn task<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(stop.clone()));
        Self::Task { stop, tasks }
    }

    pub(super) fn program(command: &mut Command, log: &Path) -> Result<Self> {
        Process::start(command.stdout(std::process::Stdio::null()), log).map(Self::Program)
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match self {
            Self::Task { .. } => None,
            Self::Program(process) => Some(process),
        }
    }

    /// Asks it to stop and waits; tells how long that took.
    pub(super) async fn stop(self) -> Result<Duration> {
        match self {
            Self::Task { stop, mut tasks } => {
                let start = Instant::now();
                stop.cancel();
                while let Some(ended) = tasks.join_next().await {
                    ended??;
                }
                Ok(start.elapsed())
            }
            Self::Program(process) => {
                let (status, time) = process.stop(PATIENCE).await?;
                ensure!(status.success(), "it ended with {status}");
                Ok(time)
            }
        }
    }
}
