//! Tests of the twins at the crate's border.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "a fixture is public to its tests")]

mod fixture;
mod model;
mod path;
mod published;
mod rules;
mod spy;
mod store;
