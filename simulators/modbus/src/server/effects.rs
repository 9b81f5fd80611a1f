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

/// What a bus picks up when nobody drives it. No beginning of a frame, on a line or in a TCP stream.
const GARBAGE: [u8; 5] = [0x00, 0xFF, 0x55, 0xAA, 0x0F];

/// What comes before the answer to `request`, a whole frame, and how long before.
pub(super) fn before(request: &[u8], effects: &Effects) -> (Vec<u8>, Duration) {
    let echo = if effects.echo { request } else { &[] };
    let garbage: &[u8] = if effects.garbage.is_some() { &GARBAGE } else { &[] };
    ([echo, garbage].concat(), effects.garbage.unwrap_or_default())
}

/// Answers that go out after others that were asked for later.
#[derive(Debug, Default)]
pub(super) struct LateAnswers {
    /// In no order: there are few.
    waiting: Vec<(Instant, Vec<u8>)>,
    /// Waits for the next answer, until then at most.
    held: Option<(Instant, Vec<u8>)>,
}

impl LateAnswers {
    pub(super) fn push(&mut self, after: Duration, frame: Vec<u8>) {
        self.waiting.push((Instant::now() + after, frame));
    }

    /// Holds `frame` back until something else is sent. One that is held already comes before it.
    pub(super) fn hold(&mut self, at_most: Duration, frame: &[u8]) {
        let (until, mut held) =
            self.held.take().unwrap_or_else(|| (Instant::now() + at_most, Vec::new()));
        held.extend_from_slice(frame);
        self.held = Some((until, held));
    }

    /// What was held back, for the front of what is sent now.
    pub(super) fn held(&mut self) -> Vec<u8> {
        self.held.take().map(|(_, frame)| frame).unwrap_or_default()
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().chain(&self.held).map(|(due, _)| *due).min()
    }

    /// Takes one that is due.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let now = Instant::now();
        if let Some((_, frame)) = self.held.take_if(|(until, _)| *until <= now) {
            return Some(frame);
        }
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
