//! What a mapper counts. Cheap to count, read by whoever asks.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// The number now.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one mapper, since its start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Transactions that read.
    pub reads: Counter,
    /// Values that these gave.
    pub values: Counter,
    /// Reads without an answer, and properties that could not be read.
    pub read_errors: Counter,
    /// Transactions that wrote.
    pub writes: Counter,
    /// Sessions opened again after a loss.
    pub reconnects: Counter,
    /// Cycles skipped because the wire was busy.
    pub overruns: Counter,
    /// Answers that came too late and were thrown away, as the driver counts them.
    pub discarded: Counter,
    /// Calls of drivers that panicked.
    pub panics: Counter,
    /// Reports that the agent took.
    pub reports: Counter,
    /// Reports that the agent refused for good.
    pub refused: Counter,
    /// Reports that the agent put off.
    pub pushed_back: Counter,
    /// Registrations with the agent.
    pub registrations: Counter,
}

impl Metrics {
    /// Prometheus text format.
    pub fn render(&self) -> String {
        let counters = [
            ("reads", "Transactions that read", &self.reads),
            ("values", "Values read", &self.values),
            ("read_errors", "Reads and properties without a value", &self.read_errors),
            ("writes", "Transactions that wrote", &self.writes),
            ("reconnects", "Sessions opened again after a loss", &self.reconnects),
            ("overruns", "Cycles skipped because the wire was busy", &self.overruns),
            ("discarded_answers", "Late answers thrown away", &self.discarded),
            ("driver_panics", "Calls of the driver that panicked", &self.panics),
            ("reports", "Reports that the agent took", &self.reports),
            ("reports_refused", "Reports that the agent refused", &self.refused),
            ("reports_pushed_back", "Reports that the agent put off", &self.pushed_back),
            ("registrations", "Registrations with the agent", &self.registrations),
        ];
        let mut text = String::with_capacity(2048);
        for (name, help, counter) in counters {
            // Writing to a String cannot go wrong.
            let _ = write!(
                text,
                "# HELP edgetwin_mapper_{name}_total {help}.\n# TYPE edgetwin_mapper_{name}_total counter\n\
                 edgetwin_mapper_{name}_total {}\n",
                counter.count()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_rendered_for_prometheus() {
        let metrics = Metrics::default();
        metrics.reads.add(3);
        let text = metrics.render();
        assert!(text.contains("\nedgetwin_mapper_reads_total 3\n"), "{text}");
        assert_eq!(text.lines().count() % 3, 0);
    }
}
