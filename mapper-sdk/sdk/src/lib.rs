//! The mapper SDK: a protocol author writes a driver; the SDK owns the loop.

mod backoff;
mod driver;
mod endpoint;
mod member;
mod metrics;
mod report;
mod schedule;
mod strategy;
mod wire;
mod write;

pub use backoff::Pace;
pub use driver::{Cause, Driver, PropertyFault, ReadResult, Sample, Session, SessionFault, Tag};
pub use metrics::{Counter, Metrics};
