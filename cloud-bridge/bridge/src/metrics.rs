//! What the bridge counts, and Prometheus' text form of it.

use exposition::{Counter, Gauge, Histogram, Page};

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Nodes that are connected.
    pub(crate) nodes: Gauge,
    /// Links that began.
    pub(crate) links: Counter,
    /// Connections that were refused, whatever for.
    pub(crate) connections_refused: Counter,
    /// Messages from nodes.
    pub(crate) messages_in: Counter,
    /// Messages to nodes.
    pub(crate) messages_out: Counter,
    /// Messages that may not be sent by that node, or that cannot be read.
    pub(crate) messages_refused: Counter,
    /// Objects that nodes acknowledged.
    pub(crate) objects_acknowledged: Counter,
    /// Reports from nodes.
    pub(crate) reports: Counter,
    /// DeviceStatuses written.
    pub(crate) statuses_written: Counter,
    /// DeviceStatuses that the API server did not take.
    pub(crate) statuses_failed: Counter,
    /// From a report to its DeviceStatus.
    pub(crate) lag: Histogram,
}

impl Metrics {
    /// Puts everything on `page`; `devices` and `models` are how many there are.
    pub(crate) fn render(&self, page: &mut Page, devices: usize, models: usize) {
        let gauges = [
            ("bridge_nodes", "nodes that are connected", self.nodes.value()),
            ("bridge_devices", "Devices at the API server", devices as u64),
            ("bridge_models", "DeviceModels at the API server", models as u64),
        ];
        for (name, help, value) in gauges {
            page.gauge(name, help).sample(&[], value);
        }
        let counters = [
            ("bridge_links", "links that began", &self.links),
            (
                "bridge_connections_refused",
                "connections that were refused",
                &self.connections_refused,
            ),
            ("bridge_messages_received", "messages from nodes", &self.messages_in),
            ("bridge_messages_sent", "messages to nodes", &self.messages_out),
            (
                "bridge_messages_refused",
                "messages that a node may not send or that cannot be read",
                &self.messages_refused,
            ),
            (
                "bridge_objects_acknowledged",
                "objects that nodes have committed",
                &self.objects_acknowledged,
            ),
            ("bridge_reports", "reports from nodes", &self.reports),
            ("bridge_statuses_written", "DeviceStatuses written", &self.statuses_written),
            (
                "bridge_statuses_failed",
                "DeviceStatuses that the API server did not take; each is tried again",
                &self.statuses_failed,
            ),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help).sample(&[], counter.count());
        }
        page.histogram("bridge_status_lag_seconds", "from a report to its DeviceStatus")
            .times(&[], &self.lag);
    }
}
