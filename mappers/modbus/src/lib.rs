//! The Modbus mapper: TCP, RTU and RTU over TCP.
//!
//! A device's configuration becomes an [`Endpoint`] and a [`Unit`], a property's a [`Visitor`], once and checked.
//! [`mod@plan`] merges visitors into requests, [`frame`] says what an answer means and [`codec`] turns registers into
//! values, all without I/O. [`ModbusDriver`] is what the mapper SDK runs.

pub mod codec;
mod describe;
mod driver;
mod endpoint;
mod exception;
#[cfg(test)]
mod fixture;
pub mod frame;
mod keys;
mod learned;
mod order;
mod place;
pub mod plan;
mod raw;
mod scale;
mod serial_line;
mod session;
mod table;
mod transport;
mod visitor;
mod wires;

pub use describe::{Description, PropertyLine, RequestLine, describe};
pub use driver::ModbusDriver;
pub use endpoint::{Endpoint, Unit, Wire, address};
pub use order::{Order, OrderError};
pub use place::Place;
pub use raw::{Number, Raw};
pub use scale::Scale;
pub use serial_line::{Parity, SerialLine};
pub use session::ModbusSession;
pub use table::Table;
pub use visitor::Visitor;
