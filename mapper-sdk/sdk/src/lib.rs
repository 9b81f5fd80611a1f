//! The mapper SDK: a protocol author writes a [`Driver`]; the SDK owns the loop.
//!
//! A driver says where a device is, how a property is reached, and moves values over an open session. Everything
//! else is here: one task per wire, writes before reads, rests for units that do not answer, reconnects for ever,
//! the write contract with its acknowledgements, reports to the agent (ours, or a real EdgeCore), devices that come,
//! change and go while the others run on, and a stop that leaves safe values.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use device_model::{Device, Problem, Property, Value};
//! use mapper_sdk::{Driver, Mapper, MapperConfig, PropertyFault, ReadResult, Session, SessionFault};
//! use tokio_util::sync::CancellationToken;
//!
//! /// Racks of named knobs, in memory.
//! struct Racks;
//!
//! impl Driver for Racks {
//!     const PROTOCOL: &'static str = "racks";
//!     type Endpoint = String; // which rack
//!     type Unit = ();
//!     type Visitor = String; // which knob
//!     type Session = Rack;
//!
//!     fn address(&self, device: &Device) -> Result<(String, ()), Vec<Problem>> {
//!         let config = device.driver_config();
//!         let missing = || vec![config.problem("rack", "missing", "name the rack, such as r1")];
//!         Ok((config.text("rack").ok_or_else(missing)?, ()))
//!     }
//!
//!     fn visitor(&self, _: &Device, property: &Property) -> Result<String, Problem> {
//!         let config = property.driver_config();
//!         config.text("knob").ok_or_else(|| config.problem("knob", "missing", "name the knob"))
//!     }
//!
//!     async fn connect(&self, _: &String) -> Result<Rack, SessionFault> {
//!         Ok(Rack::default())
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Rack(BTreeMap<String, Value>);
//!
//! impl Session for Rack {
//!     type Unit = ();
//!     type Visitor = String;
//!
//!     async fn read(&mut self, _: &(), knobs: &[&String]) -> Result<Vec<ReadResult>, SessionFault> {
//!         let value = |knob| self.0.get(knob).cloned().unwrap_or(Value::Int(0));
//!         Ok(knobs.iter().map(|knob| Ok(value(*knob).into())).collect())
//!     }
//!
//!     async fn write(
//!         &mut self,
//!         _: &(),
//!         knob: &String,
//!         value: &Value,
//!     ) -> Result<Result<(), PropertyFault>, SessionFault> {
//!         self.0.insert(knob.clone(), value.clone());
//!         Ok(Ok(()))
//!     }
//! }
//!
//! async fn serve(config: MapperConfig, stop: CancellationToken) -> anyhow::Result<()> {
//!     Mapper::bind(config, Racks).await?.run(stop).await
//! }
//! ```
//!
//! The way of a value up, as files in order: `schedule` (whose turn), `endpoint` and `endpoint/work` (the
//! transaction), `member` and `strategy` (what is passed on), `outbox` and `reporter` (what is told when),
//! `reporter/parcel` (how). Down: `server` and `register`, `fleet`, `endpoint`, `write` (the contract), the session.

#[cfg(panic = "abort")]
compile_error!(
    "a driver's panic is to cost its wire a session, not the mapper its life: build with panic = unwind"
);

mod agent;
mod backoff;
mod budget;
mod clock;
mod config;
mod driver;
mod endpoint;
mod exporter;
#[cfg(test)]
mod fake;
mod fleet;
mod frames;
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
pub mod signal;
mod steadiness;
mod strategy;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod wire;
mod write;

pub use backoff::Pace;
pub use config::MapperConfig;
pub use driver::{Cause, Driver, PropertyFault, ReadResult, Sample, Session, SessionFault, Tag};
pub use exporter::{MetricsPlace, WrongPlace};
pub use exposition::{Counter, Gauge};
pub use frames::FrameTap;
pub use mapper::Mapper;
pub use metrics::Metrics;
pub use once::{OnceReading, once};
