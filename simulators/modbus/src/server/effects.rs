//! What faults do to a frame that is ready to go.

use std::time::Duration;

use tokio::time::Instant;

use crate::fault::Effects;

/// Damages `frame` as `effects` say. `weak_spot` is the byte that receivers check.
pub(super) fn damage(frame: &mut Vec<u8>, effects: &Effects, weak_spot: usize) {
    if effects.damaged
        && let Some(byte) = frame.get_mut(weak_spot)
    {
        *byte ^= 0xFF;
    }
    if effects.truncated {
        frame.truncate(frame.len() / 2);
    }
}

/// Answers that go out after others that were asked for later.
#[derive(Debug, Default)]
pub(super) struct LateAnswers {
    /// In no order: there are few.
    waiting: Vec<(Instant, Vec<u8>)>,
}

impl LateAnswers {
    pub(super) fn push(&mut self, after: Duration, frame: Vec<u8>) {
        self.waiting.push((Instant::now() + after, frame));
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(|(due, _)| *due).min()
    }

    /// Takes one that is due.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let now = Instant::now();
        let index = self.waiting.iter().position(|(due, _)| *due <= now)?;
        Some(self.waiting.swap_remove(index).1)
    }
}

/// Sleeps until `due`, for ever if there is nothing due.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
