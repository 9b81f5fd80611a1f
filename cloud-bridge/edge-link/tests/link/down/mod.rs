//! Objects on their way to the edge.

mod histories;
pub mod names;
mod queue;
mod receiver;
mod space;
mod world;
