//! Calls of a driver, bounded in time and sheltered from its panics.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use crate::driver::{ReadResult, Session, SessionFault, Tag};
use crate::frames::FrameTap;
use crate::metrics::{ErrorClass, Metrics, WireMetrics};

/// Runs one call of a driver. One that takes too long, or panics, has lost the session: nobody knows what is on
/// the wire.
pub(crate) async fn bounded<T>(
    limit: Duration,
    metrics: &Metrics,
    call: impl Future<Output = Result<T, SessionFault>>,
) -> Result<T, SessionFault> {
    let sheltered = AssertUnwindSafe(call).catch_unwind();
    match tokio::time::timeout(limit, sheltered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(panicked(metrics)),
        Err(_) => Err(SessionFault::Lost(format!("nothing heard within {limit:?}").into())),
    }
}

/// A request over an open session, bounded likewise; counted and timed as one of `wire`.
pub(crate) async fn request<T>(
    limit: Duration,
    (metrics, wire): (&Metrics, &WireMetrics),
    call: impl Future<Output = Result<T, SessionFault>>,
) -> Result<T, SessionFault> {
    let begun = Instant::now();
    let result = bounded(limit, metrics, call).await;
    match &result {
        Ok(_) => wire.requests.observe(begun.elapsed()),
        Err(SessionFault::Silent(_)) => wire.error(ErrorClass::Silent, 1),
        // Counted where the session ends of it, as it ends of other things.
        Err(SessionFault::Lost(_)) => {}
    }
    result
}

/// The next change that a device pushes; there may be none for ever. Cancel safe, as the driver's is.
pub(crate) async fn changed(
    session: &mut impl Session,
    metrics: &Metrics,
) -> Result<(Tag, ReadResult), SessionFault> {
    let change = AssertUnwindSafe(session.changed()).catch_unwind().await;
    change.unwrap_or_else(|_| Err(panicked(metrics)))
}

/// Answers that the session threw away.
pub(crate) fn discarded(session: &impl Session, metrics: &Metrics) -> Result<u64, SessionFault> {
    catch_unwind(AssertUnwindSafe(|| session.discarded())).map_err(|_| panicked(metrics))
}

fn panicked(metrics: &Metrics) -> SessionFault {
    metrics.panics.increment();
    SessionFault::lost("the driver panicked")
}

/// Has a session show its frames.
pub(crate) fn show(session: &mut impl Session, frames: FrameTap, metrics: &Metrics) {
    if catch_unwind(AssertUnwindSafe(|| session.show(frames))).is_err() {
        metrics.panics.increment();
    }
}

/// Ends a session, whatever its driver does about it.
pub(crate) fn close(session: impl Session, metrics: &Metrics) {
    if catch_unwind(AssertUnwindSafe(|| session.close())).is_err() {
        metrics.panics.increment();
    }
}
