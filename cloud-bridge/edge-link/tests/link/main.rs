//! Tests of the channel at the crate's border.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "a fixture is public to its tests")]
#![allow(clippy::print_stdout, reason = "searches say how far they went")]

mod both;
mod contents;
mod down;
mod frames;
mod resources;
mod search;
mod up;
mod vectors;
