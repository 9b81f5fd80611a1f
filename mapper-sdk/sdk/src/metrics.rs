//! What a mapper counts. Cheap to count, read by whoever asks.

mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use exposition::{Counter, Gauge, Page};
use tokio::time::Instant;

pub(crate) use wire::{ErrorClass, WireMetrics};

/// The counters of one mapper, since its start, and those of each of its wires.
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
    /// Readings and acknowledgements that the agent has not taken yet.
    pub unreported: Gauge,
    /// Since when the device has something to tell that waits longest.
    unreported_since: Mutex<Option<Instant>>,
    wires: Mutex<BTreeMap<String, Arc<WireMetrics>>>,
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
        let mut page = Page::default();
        for (name, help, counter) in counters {
            page.counter(&format!("mapper_{name}"), help).sample(&[], counter.count());
        }
        page.gauge(
            "mapper_unreported",
            "Readings and acknowledgements that the agent has not taken yet",
        )
        .sample(&[], self.unreported.value());
        let help = "For how long the device has had something to tell that waits longest for the agent to take it";
        page.gauge("mapper_oldest_unreported_seconds", help)
            .sample(&[], format_args!("{:.3}", self.oldest_unreported().as_secs_f64()));
        wire::render(&self.wires(), &mut page);
        page.into_text()
    }

    /// The counters of the wire of this name, the same ones each time until it is forgotten.
    pub(crate) fn wire(&self, name: &str) -> Arc<WireMetrics> {
        self.wires().entry(name.to_owned()).or_default().clone()
    }

    /// The mapper has that wire no more.
    pub(crate) fn forget_wire(&self, name: &str) {
        self.wires().remove(name);
    }

    /// Notes what waits for the agent, and since when.
    pub(crate) fn note_unreported(&self, count: usize, since: Option<std::time::Instant>) {
        self.unreported.set(u64::try_from(count).unwrap_or(u64::MAX));
        *self.unreported_since.lock().unwrap_or_else(PoisonError::into_inner) =
            since.map(Into::into);
    }

    fn oldest_unreported(&self) -> std::time::Duration {
        let since = *self.unreported_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn wires(&self) -> MutexGuard<'_, BTreeMap<String, Arc<WireMetrics>>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn counters_are_rendered_for_prometheus() {
        let metrics = Metrics::default();
        metrics.reads.add(3);
        let text = metrics.render();
        assert!(text.contains("\nedgetwin_mapper_reads_total 3\n"), "{text}");
        assert!(text.contains("\nedgetwin_mapper_oldest_unreported_seconds 0.000\n"), "{text}");
    }

    #[test]
    fn each_wire_has_its_own_series_until_it_is_forgotten() {
        let metrics = Metrics::default();
        metrics.wire("tcp://a:502").error(ErrorClass::Silent, 2);
        metrics.wire("tcp://a:502").requests.observe(Duration::from_millis(2));
        metrics.wire("tcp://b:502").up.set(1);
        let text = metrics.render();
        for line in [
            "edgetwin_mapper_wire_errors_total{wire=\"tcp://a:502\",class=\"silent\"} 2",
            "edgetwin_mapper_wire_errors_total{wire=\"tcp://b:502\",class=\"silent\"} 0",
            "edgetwin_mapper_wire_request_seconds_count{wire=\"tcp://a:502\"} 1",
            "edgetwin_mapper_wire_up{wire=\"tcp://b:502\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        metrics.forget_wire("tcp://a:502");
        assert!(!metrics.render().contains("a:502"));
    }
}
