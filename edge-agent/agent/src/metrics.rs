//! What the agent counts, and Prometheus' text form of it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start of the agent.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// DMI calls that were served.
    pub(crate) dmi_calls: AtomicU64,
    /// Property values that mappers reported and the store took.
    pub(crate) dmi_values: AtomicU64,
    /// DMI calls that were refused because the store was behind.
    pub(crate) dmi_exhausted: AtomicU64,
    /// DMI calls that were refused for what they said.
    pub(crate) dmi_refused: AtomicU64,
    /// Calls to mappers that did not get through.
    pub(crate) mapper_failures: AtomicU64,
    /// Messages published on the event bus.
    pub(crate) bus_published: AtomicU64,
    /// Times the event bus skipped to the newest values.
    pub(crate) bus_gaps: AtomicU64,
    /// Messages that claimed to come from the cloud.
    pub(crate) bus_spoofed: AtomicU64,
}

/// A number that goes up and down.
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) value: u64,
}

impl Metrics {
    /// Everything in Prometheus' text form, `gauges` beside the counters.
    pub(crate) fn render(&self, gauges: &[Gauge]) -> String {
        let counters = [
            ("dmi_calls", "DMI calls served", &self.dmi_calls),
            ("dmi_values", "property values reported and committed", &self.dmi_values),
            (
                "dmi_exhausted",
                "DMI calls refused because the store was behind",
                &self.dmi_exhausted,
            ),
            ("dmi_refused", "DMI calls refused for what they said", &self.dmi_refused),
            ("mapper_failures", "calls to mappers that did not get through", &self.mapper_failures),
            ("bus_published", "messages published on the event bus", &self.bus_published),
            ("bus_gaps", "times the event bus skipped to the newest values", &self.bus_gaps),
            ("bus_spoofed", "messages that claimed to come from the cloud", &self.bus_spoofed),
        ];
        let mut text = String::with_capacity(2048);
        let mut line = |name: &str, help: &str, kind: &str, value: u64| {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Writing into a String cannot fail.
            let _ = write!(
                text,
                "# HELP edgetwin_{name}{suffix} {help}\n# TYPE edgetwin_{name}{suffix} {kind}\nedgetwin_{name}{suffix} {value}\n"
            );
        };
        for (name, help, counter) in counters {
            line(name, help, "counter", counter.load(Ordering::Relaxed));
        }
        for gauge in gauges {
            line(gauge.name, gauge.help, "gauge", gauge.value);
        }
        text
    }
}
