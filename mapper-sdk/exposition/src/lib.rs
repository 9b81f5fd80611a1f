//! Counters, times in buckets, and Prometheus' text form of them: what a mapper and the agent count alike.
//!
//! Whoever counts adds to an atomic number; whoever asks puts a [`Page`] together. Neither waits for the other.
//!
//! ```
//! use std::time::Duration;
//!
//! use exposition::{Counter, Histogram, Page};
//!
//! let (requests, times) = (Counter::default(), Histogram::default());
//! requests.increment();
//! times.observe(Duration::from_millis(2));
//!
//! let mut page = Page::default();
//! page.counter("requests", "Requests").sample(&[("wire", "tcp://plc:502")], requests.count());
//! page.histogram("request_seconds", "Their times").times(&[("wire", "tcp://plc:502")], &times);
//! let text = page.into_text();
//! assert!(text.contains("edgetwin_requests_total{wire=\"tcp://plc:502\"} 1\n"));
//! ```

mod counter;
mod histogram;
mod page;

pub use counter::{Counter, Gauge};
pub use histogram::Histogram;
pub use page::{Family, Page};
