//! For tests of mappers: an agent to register with, and the suite that every driver has to pass.

mod agent;
pub mod contract;

pub use agent::{FakeAgent, Heard};
