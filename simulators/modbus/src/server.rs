//! The wires: each server is a thin shell around [`Units`](crate::units::Units).

pub(crate) mod line;
pub(crate) mod tcp;

mod effects;
