//! Calls of a driver, bounded in time and sheltered from its panics.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures::FutureExt;

use crate::driver::{Session, SessionFault};
use crate::metrics::Metrics;

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
        Ok(Err(_)) => {
            metrics.panics.increment();
            Err(SessionFault::lost("the driver panicked"))
        }
        Err(_) => Err(SessionFault::Lost(format!("nothing heard within {limit:?}").into())),
    }
}

/// Ends a session, whatever its driver does about it.
pub(crate) fn close(session: impl Session, metrics: &Metrics) {
    if catch_unwind(AssertUnwindSafe(|| session.close())).is_err() {
        metrics.panics.increment();
    }
}
