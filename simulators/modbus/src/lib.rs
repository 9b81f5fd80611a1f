//! Simulated Modbus devices with faults, for demonstrations and tests.
//!
//! A [`Simulation`] has units with registers and serves them on Modbus TCP, RTU over TCP, serial devices and
//! pseudo-terminals. The units come from the very KubeEdge manifests that a mapper uses
//! ([`Blueprint::from_manifests`]), from a register file ([`Blueprint::from_register_file`]) or from code
//! ([`Layout`]). A [`Handle`] reads and writes registers, sets faults and tells what was asked.
//!
//! ```
//! use sim_modbus::{Blueprint, Fault, FaultKind, Simulation, Table};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let blueprint = Blueprint::parse(
//!     "
//!     units:
//!       1:
//!         holding:
//!           0: 42
//!           10-19: 0
//!           20: [1, 2, 3]
//!         input:
//!           0: {rawType: f32, order: CDAB, simValue: 21.5}
//!           2: {rawType: i16, scale: 0.1, simWave: sine, simMin: -5, simMax: 5, simPeriod: 20s}
//!         coils: {0: true, 8-15: false}
//!     ",
//! )?;
//! let mut simulation = Simulation::new(blueprint);
//! let address = simulation.serve_tcp(TcpListener::bind("127.0.0.1:0").await?)?;
//! println!("a Modbus client can connect to {address}");
//!
//! let handle = simulation.handle();
//! handle.write(1, Table::Holding, 0, &[43])?;
//! let fault = handle.inject(Fault::new(FaultKind::Silence).unit(1));
//! handle.clear(fault);
//! assert_eq!(handle.holding(1, 0)?, 43);
//!
//! let counters = simulation.stop().await;
//! assert_eq!(counters.requests, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Simulation keys
//!
//! Flat keys in `visitors.configData` of a manifest, which a mapper passes over; a register file takes the same keys.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `simValue` | value at the start, in the property's unit; where a counter starts | 0, or the model's minimum if that is more |
//! | `simWave` | `constant`, `sine`, `ramp`, `square`, `random` or `counter` | stands still |
//! | `simMin`, `simMax` | between which values it moves | the model's minimum and maximum, else 0 and 100 (bits: 0 and 1) |
//! | `simPeriod` | length of a wave, a counter's step, a random value; time constant of a follower: `500ms`, `10s`, `5m`, `1h` | 10 s; counter 1 s; follower 2 s |
//! | `simStep` | what a counter adds each period | one count of the register |
//! | `simFollow` | name of another property of the device, which this one follows with a first-order lag | |
//!
//! Moving values are functions of time and seed, computed when they are read. What a client or a [`Handle`] writes to
//! such a value stands from then on.
//!
//! This crate imports no other crate of the project. In particular its codec is not the mapper's: a mistake that
//! both sides made would go unseen.

mod bank;
mod blueprint;
pub mod codec;
pub mod command;
mod counters;
mod encoding;
mod fault;
mod handle;
mod layout;
mod live;
mod manifest;
mod power;
mod problem;
mod pty;
mod register_file;
mod server;
mod settings;
mod signal;
mod simulation;
mod table;
mod units;

pub use bank::NoSuchRegister;
pub use blueprint::{Blueprint, Station};
pub use counters::{ConnectionCounters, Counters, UnitCounters, Write};
pub use encoding::{Encoding, Order, RawType, UnknownOrder};
pub use fault::{Fault, FaultError, FaultKind};
pub use handle::{FaultId, Handle, Missing};
pub use layout::{Initial, Layout, Place};
pub use manifest::Wire;
pub use problem::{Problem, SpecError};
pub use pty::Pty;
pub use server::line::LineOptions;
pub use signal::{Signal, UnknownWave, Wave};
pub use simulation::Simulation;
pub use table::{Table, UnknownTable};
