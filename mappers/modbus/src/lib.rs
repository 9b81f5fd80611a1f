//! The Modbus mapper: TCP, RTU and RTU over TCP.
//!
//! A device's configuration becomes an [`Endpoint`] and a [`Unit`], a property's a [`Visitor`], once and checked.
//! [`plan`] merges visitors into requests and [`codec`] turns registers into values, both without I/O.

pub mod codec;
mod describe;
mod endpoint;
#[cfg(test)]
mod fixture;
mod frame;
mod keys;
mod order;
mod place;
pub mod plan;
mod raw;
mod scale;
mod serial_line;
mod table;
mod visitor;

pub use describe::{Description, PropertyLine, RequestLine, describe};
pub use endpoint::{Endpoint, Unit, Wire, address};
pub use order::{Order, OrderError};
pub use place::Place;
pub use raw::{Number, Raw};
pub use scale::Scale;
pub use serial_line::{Parity, SerialLine};
pub use table::Table;
pub use visitor::Visitor;
