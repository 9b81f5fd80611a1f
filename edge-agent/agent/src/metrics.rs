//! What the agent counts, and Prometheus' text form of it.

use std::sync::atomic::{AtomicU64, Ordering};

use device_twin::Counters;
use exposition::{Histogram, Page};

use crate::eventbus::{Owed, Refused};
use crate::twins::StoreHealth;

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
    /// Changes that the event bus told as part of a newer state, and not one by one.
    pub(crate) bus_coalesced: AtomicU64,
    /// Messages that the event bus refused, by reason.
    pub(crate) bus_refused: Refused,
    /// Times the external broker was connected again.
    pub(crate) bus_reconnects: AtomicU64,
    /// Messages that the external broker did not get.
    pub(crate) bus_lost: AtomicU64,
    /// Messages that the external broker has not taken yet.
    pub(crate) bus_waiting: AtomicU64,
    /// Messages of applications that came over stored subscriptions.
    pub(crate) bus_messages: AtomicU64,
    /// Those among them that were too large to be kept whole.
    pub(crate) bus_messages_large: AtomicU64,
    /// Stored subscriptions that the external broker refused, at each connection anew.
    pub(crate) bus_subscriptions_refused: AtomicU64,
    /// What the external broker has not taken yet, by age.
    pub(crate) bus_owed: Owed,
    /// From the acceptance of a desired value to its final acknowledgement.
    pub(crate) settled: Histogram,
}

/// A number that goes up and down.
pub(crate) struct Gauge {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) value: u64,
}

impl Metrics {
    /// Everything in Prometheus' text form: what is counted here, what the rules of the twins counted, what the
    /// store did not take, and `gauges`.
    pub(crate) fn render(&self, rules: &Counters, store: &StoreHealth, gauges: &[Gauge]) -> String {
        let own = [
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
            (
                "bus_coalesced",
                "changes that the event bus told as part of a newer state, and not one by one",
                &self.bus_coalesced,
            ),
            ("bus_reconnects", "times the external broker was back", &self.bus_reconnects),
            (
                "bus_lost",
                "messages that the external broker did not get; it gets the newest state instead",
                &self.bus_lost,
            ),
            (
                "bus_messages",
                "messages of applications that came over stored subscriptions",
                &self.bus_messages,
            ),
            (
                "bus_messages_large",
                "messages of applications of which the payload was too large to be kept",
                &self.bus_messages_large,
            ),
            (
                "bus_subscriptions_refused",
                "stored subscriptions that the external broker refused, at each connection anew",
                &self.bus_subscriptions_refused,
            ),
        ];
        let Counters { changes, unchanged, repeats, refused, conflicts, former_lives, .. } = *rules;
        let twins = [
            ("twin_changes", "committed changes of twins", changes),
            ("twin_unchanged", "requests, and looks at the clock, that changed nothing", unchanged),
            ("twin_repeats", "repeated requests answered from memory", repeats),
            ("twin_refused", "requests and parts of reports that the rules refused", refused),
            ("twin_conflicts", "requests with a version that was no longer true", conflicts),
            ("twin_former_lives", "requests for a device that was made again since", former_lives),
        ];
        let dropped = [
            ("stale_reading", rules.stale_readings),
            ("stale_ack", rules.stale_acks),
            ("stale_echo", rules.stale_echoes),
        ];
        let mut page = Page::default();
        for (name, help, counter) in own {
            page.counter(name, help).sample(&[], counter.load(Ordering::Relaxed));
        }
        for (name, help, count) in twins {
            page.counter(name, help).sample(&[], count);
        }
        let help = "parts of reports that were dropped: older than what is known, or of another generation";
        let mut family = page.counter("twin_dropped", help);
        for (reason, count) in dropped {
            family.sample(&[("reason", reason)], count);
        }
        page.counter("store_failures", "requests that the store did not take")
            .sample(&[], store.failures());
        let mut family = page.counter("bus_refused", "messages of apps that the event bus refused");
        for (reason, count) in self.bus_refused.counts() {
            family.sample(&[("reason", reason)], count);
        }
        page.gauge("bus_waiting", "messages that the external broker has not taken yet")
            .sample(&[], self.bus_waiting.load(Ordering::Relaxed));
        let oldest = self.bus_owed.oldest().map(|oldest| oldest.elapsed()).unwrap_or_default();
        let help = "for how long a value is committed that waits longest for whom it must be told";
        page.gauge("oldest_unreported_seconds", help)
            .sample(&[("to", "external_broker")], format_args!("{:.3}", oldest.as_secs_f64()));
        let help = "from the acceptance of a desired value to its final acknowledgement";
        page.histogram("desired_settle_seconds", help).times(&[], &self.settled);
        let help = "transactions of the store";
        page.histogram("store_commit_seconds", help).times(&[], &store.commits);
        for gauge in gauges {
            page.gauge(gauge.name, gauge.help).sample(&[], gauge.value);
        }
        page.into_text()
    }
}
