//! How long things took, in buckets.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds: from a commit to a memory card that is asleep, and to a device that is
/// asked again. The last bucket has no end.
const ENDS: [u64; 13] = [
    100,
    300,
    1_000,
    3_000,
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
];

/// Counts of times. Whoever counts and whoever reads never wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; ENDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = ENDS.partition_point(|end| *end < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// In Prometheus' text form, as the family `name` in seconds.
    pub(super) fn render(&self, name: &str, help: &str, page: &mut String) {
        // Writing into a String cannot fail.
        let _ = write!(page, "# HELP edgetwin_{name} {help}\n# TYPE edgetwin_{name} histogram\n");
        let mut sum = 0;
        for (count, end) in self.counts.iter().zip(ENDS.iter().map(Some).chain([None])) {
            sum += count.load(Ordering::Relaxed);
            let end = end.map_or_else(|| "+Inf".into(), |end| seconds(*end));
            let _ = writeln!(page, "edgetwin_{name}_bucket{{le=\"{end}\"}} {sum}");
        }
        let total = seconds(self.micros.load(Ordering::Relaxed));
        let _ = write!(page, "edgetwin_{name}_sum {total}\nedgetwin_{name}_count {sum}\n");
    }
}

/// Without the noise of binary fractions.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_its_bucket_and_in_all_above() {
        let histogram = Histogram::default();
        for millis in [1, 2, 40, 1_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut page = String::new();
        histogram.render("commit_seconds", "how long", &mut page);
        for line in [
            "# TYPE edgetwin_commit_seconds histogram",
            "edgetwin_commit_seconds_bucket{le=\"0.0003\"} 0",
            "edgetwin_commit_seconds_bucket{le=\"0.001\"} 1",
            "edgetwin_commit_seconds_bucket{le=\"0.003\"} 2",
            "edgetwin_commit_seconds_bucket{le=\"0.1\"} 3",
            "edgetwin_commit_seconds_bucket{le=\"100\"} 3",
            "edgetwin_commit_seconds_bucket{le=\"+Inf\"} 4",
            "edgetwin_commit_seconds_sum 1000.043",
            "edgetwin_commit_seconds_count 4",
        ] {
            assert!(page.lines().any(|known| known == line), "{line}\n{page}");
        }
    }
}
