//! Modbus on the wire, written from the Modbus Application Protocol Specification V1.1b3 and the
//! Modbus over Serial Line Specification V1.02.
//!
//! Pure: bytes in, requests out, and back. Nothing here panics on any input. It shares no code with the
//! mapper's codec on purpose: a mistake made on both sides would go unseen.

pub mod mbap;
mod pdu;
pub mod rtu;

pub use pdu::{Exception, MAX_PDU, Request, exception_pdu};

#[cfg(test)]
mod tests;
