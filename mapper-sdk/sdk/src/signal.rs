//! Being asked to stop, for the programs of mappers and for whatever else runs in front of a person.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Listens for Ctrl-C, SIGTERM and the end of the terminal from now on; the future ends with the first of them.
///
/// A terminal that closes must not leave devices without their safe values; started with `nohup`, the program outlives
/// it.
///
/// # Errors
/// The system does not let us listen.
pub fn stop_requested() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // To listen would undo what `nohup` did.
    let mut hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
    })
}

/// Whether whoever started us wants us to outlive the terminal. The bit of signal n is the n-1st.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}

/// Runs what `start` gives until it ends by itself; once `requested` ends, its token is cancelled, and it may end in
/// order.
pub async fn run_until<R: Future>(
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
