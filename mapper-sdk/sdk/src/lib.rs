//! The mapper SDK: a protocol author writes a driver; the SDK owns the loop.

mod driver;

pub use driver::{Cause, Driver, PropertyFault, ReadResult, Sample, Session, SessionFault, Tag};
