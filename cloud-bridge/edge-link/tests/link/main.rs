//! Tests of the channel at the crate's border.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "a fixture is public to its tests")]

mod contents;
mod frames;
mod resources;
mod vectors;
