//! The tasks of a running agent.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::error::{Error, panicked};

/// How long the parts may take to stop; the rest of the agent's end is the store's.
const GRACE: Duration = Duration::from_millis(1500);

/// The tasks of the agent. One that ends before it is told to is a fault.
pub(super) struct Parts {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, &'static str>,
    pub(super) stop: CancellationToken,
}

impl Parts {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), stop }
    }

    pub(super) fn spawn(
        &mut self,
        part: &'static str,
        running: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let task = self.tasks.spawn(running);
        self.names.insert(task.id(), part);
    }

    /// The next part that ends, and how; `None` when there is none.
    async fn next(&mut self) -> Option<(&'static str, Result<(), String>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let id = error.id();
                let cancelled = |error: JoinError| error.to_string();
                (id, Err(error.try_into_panic().map_or_else(cancelled, |why| panicked(&*why))))
            }
        };
        Some((self.names.remove(&id).unwrap_or("a part"), result))
    }

    /// Waits for a part to end by itself.
    pub(super) async fn fault(&mut self) -> Error {
        match self.next().await {
            Some((part, Ok(()))) => Error::Part { part, reason: "ended".into() },
            Some((part, Err(reason))) => Error::Part { part, reason },
            None => std::future::pending().await,
        }
    }

    /// Tells every part to stop and waits for them, but not for ever.
    pub(super) async fn stop(mut self) -> Result<(), Error> {
        self.stop.cancel();
        let all = async {
            let mut first = Ok(());
            while let Some((part, result)) = self.next().await {
                if let Err(reason) = result {
                    error!(part, reason, "did not stop as it should");
                    first = first.and(Err(Error::Part { part, reason }));
                }
            }
            first
        };
        match tokio::time::timeout(GRACE, all).await {
            Ok(result) => result,
            // Whoever still talks is left; nothing that was answered depends on it.
            Err(_) => {
                warn!(parts = ?self.names.values(), "left behind: they did not stop in time");
                Ok(())
            }
        }
    }
}
