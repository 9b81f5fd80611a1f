//! What is counted of each wire. So many series a wire, however many devices and properties are on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use exposition::{Counter, Gauge, Histogram, Page};

use crate::driver::PropertyFault;

/// What went wrong on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The wire could not be opened.
    Connect,
    /// It was lost in use.
    Lost,
    /// A unit did not answer in time.
    Silent,
    /// A device refused a property, such as with an exception.
    Refused,
    /// An answer made no value of a property's type.
    Undecodable,
}

impl ErrorClass {
    const ALL: [Self; 5] =
        [Self::Connect, Self::Lost, Self::Silent, Self::Refused, Self::Undecodable];

    /// That of a property without a value, or of a write that was not done.
    pub(crate) const fn of(fault: &PropertyFault) -> Self {
        match fault {
            PropertyFault::Refused { .. } => Self::Refused,
            PropertyFault::Undecodable { .. } => Self::Undecodable,
        }
    }

    /// As a label.
    const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::Undecodable => "undecodable",
        }
    }
}

/// The counters of one wire.
#[derive(Debug, Default)]
pub(crate) struct WireMetrics {
    /// From a request of the SDK to its answer, where there was one.
    pub(crate) requests: Histogram,
    errors: [Counter; ErrorClass::ALL.len()],
    /// Cycles skipped because the wire was busy.
    pub(crate) overruns: Counter,
    /// Sessions opened again after a loss.
    pub(crate) reconnects: Counter,
    /// Values that wait to be written, or to be read back.
    pub(crate) writes_waiting: Gauge,
    /// 1 while somebody answers.
    pub(crate) up: Gauge,
}

impl WireMetrics {
    /// Counts what went wrong.
    pub(crate) fn error(&self, class: ErrorClass, count: u64) {
        self.errors[class as usize].add(count);
    }
}

/// Writes the families of all wires.
pub(super) fn render(wires: &BTreeMap<String, Arc<WireMetrics>>, page: &mut Page) {
    let mut times = page.histogram(
        "mapper_wire_request_seconds",
        "From a request to its answer, where there was one",
    );
    for (name, wire) in wires {
        times.times(&[("wire", name)], &wire.requests);
    }
    let mut errors = page.counter(
        "mapper_wire_errors",
        "Requests without an answer (connect, lost, silent), and properties without a value (refused, undecodable)",
    );
    for (name, wire) in wires {
        for class in ErrorClass::ALL {
            let labels = [("wire", name.as_str()), ("class", class.word())];
            errors.sample(&labels, wire.errors[class as usize].count());
        }
    }
    type Of = fn(&WireMetrics) -> u64;
    let counters: [(&str, &str, Of); 2] = [
        ("overruns", "Cycles skipped because the wire was busy", |wire| wire.overruns.count()),
        ("reconnects", "Sessions opened again after a loss", |wire| wire.reconnects.count()),
    ];
    for (name, help, count) in counters {
        let mut family = page.counter(&format!("mapper_wire_{name}"), help);
        wires.iter().for_each(|(name, wire)| family.sample(&[("wire", name)], count(wire)));
    }
    let gauges: [(&str, &str, Of); 2] = [
        ("writes_waiting", "Values that wait to be written or read back", |wire| {
            wire.writes_waiting.value()
        }),
        ("up", "Whether somebody answers", |wire| wire.up.value()),
    ];
    for (name, help, value) in gauges {
        let mut family = page.gauge(&format!("mapper_wire_{name}"), help);
        wires.iter().for_each(|(name, wire)| family.sample(&[("wire", name)], value(wire)));
    }
}
