//! Being asked to stop.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens for Ctrl-C and SIGTERM from now on; the future ends with the first of them.
///
/// # Errors
/// The system does not let us listen.
pub(crate) fn stop_requested() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// Runs what `start` gives until it ends by itself; once `requested` ends, its token is cancelled, and it may end in
/// order.
pub(crate) async fn run_until<R: Future>(
    requested: impl Future<Output = ()>,
    start: impl FnOnce(CancellationToken) -> R,
) -> R::Output {
    let stop = CancellationToken::new();
    let running = start(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => ended,
        () = requested => {
            stop.cancel();
            running.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_to_stop_ends_in_order_and_what_ends_by_itself_is_not_asked() {
        let last_words = |stop: CancellationToken| async move {
            stop.cancelled().await;
            "in order"
        };
        assert_eq!(run_until(std::future::ready(()), last_words).await, "in order");
        let by_itself = |stop: CancellationToken| async move { stop.is_cancelled() };
        assert!(!run_until(std::future::pending(), by_itself).await);
    }
}
