//! The mapper SDK: a protocol author writes a driver; the SDK owns the loop.

mod agent;
mod backoff;
mod budget;
mod config;
mod driver;
mod endpoint;
#[cfg(test)]
mod fake;
mod fleet;
mod mapper;
mod member;
mod metrics;
mod once;
mod outbox;
mod register;
mod report;
mod reporter;
mod schedule;
mod server;
mod steadiness;
mod strategy;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod wire;
mod write;

pub use backoff::Pace;
pub use config::MapperConfig;
pub use driver::{Cause, Driver, PropertyFault, ReadResult, Sample, Session, SessionFault, Tag};
pub use mapper::Mapper;
pub use metrics::{Counter, Metrics};
pub use once::{OnceReading, once};
