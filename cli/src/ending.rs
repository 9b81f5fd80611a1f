//! When a command that goes on by itself comes to its end.

use std::io;
use std::time::Duration;

use mapper_sdk::signal;

/// Waits until somebody stops this program, or `duration` is over.
///
/// # Errors
/// Signals cannot be listened to.
pub(crate) fn stopped_or_after(duration: Option<Duration>) -> io::Result<impl Future<Output = ()>> {
    let stopped = signal::stop_requested()?;
    Ok(async move {
        match duration {
            Some(duration) => drop(tokio::time::timeout(duration, stopped).await),
            None => stopped.await,
        }
    })
}
