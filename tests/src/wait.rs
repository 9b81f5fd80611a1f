//! Waiting for what comes about by itself, in another task or in another process.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout};

/// How long a condition may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What is there is found at most this share of the time that it took too late, within the bounds of [`PAUSE`].
const LATE: u32 = 8;
/// Shortest and longest time between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// Looks again and again, until `look` does not fail any more; gives what it found.
///
/// # Errors
/// It failed for as long as `patience`. The error says what was awaited and for how long; its cause is that of the last
/// look.
pub async fn eventually<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let mut why = anyhow!("the first look is not over");
    let start = Instant::now();
    let looking = async {
        loop {
            match look().await {
                Ok(found) => return found,
                Err(error) => why = error,
            }
            sleep((start.elapsed() / LATE).clamp(PAUSE.0, PAUSE.1)).await;
        }
    };
    let found = timeout(patience, looking).await;
    found.map_err(|_| why.context(format!("{what}: not within {patience:?}")))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use anyhow::ensure;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_about_is_found_soon() -> Result<()> {
        for comes in [Duration::ZERO, Duration::from_millis(9), Duration::from_secs(5)] {
            let start = Instant::now();
            let number = eventually(PATIENCE, "a number", async || {
                ensure!(start.elapsed() >= comes, "it is early");
                Ok(7)
            });
            assert_eq!(number.await?, 7);
            let late = start.elapsed() - comes;
            assert!(late <= (comes / LATE).clamp(PAUSE.0, PAUSE.1) * 2, "{late:?} of {comes:?}");
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_comes_about_is_told_with_its_cause() {
        let start = Instant::now();
        let mut looks = 0;
        let never = eventually(PATIENCE, "a full bucket", async || -> Result<()> {
            looks += 1;
            Err(anyhow!("{looks} drops"))
        });
        let error = never.await.unwrap_err();
        assert_eq!(format!("{error:#}"), format!("a full bucket: not within 20s: {looks} drops"));
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_given_up() {
        let hung = eventually(PATIENCE, "an answer", async || pending::<Result<()>>().await);
        let error = hung.await.unwrap_err();
        assert_eq!(format!("{error:#}"), "an answer: not within 20s: the first look is not over");
    }
}
