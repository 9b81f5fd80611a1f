//! The endurance lines, a file each: `./test` runs a small size of each, `./test long NAME` the full one.
//!
//! A line counts, and then says in `broken` what of its claims did not hold.

pub mod days;
pub mod flapping;
pub mod full_bus;
pub mod histories;
pub mod joined;
pub mod late;
pub mod memory;
pub mod one_connection;
pub mod reconnects;
pub mod restarts;
pub mod rtu;
pub mod silent_units;
pub mod store_kills;
mod watch;

use std::fmt::Display;

use serde::Serialize;

/// The claims of a line that did not hold, each with its figures. None: the line holds.
#[derive(Debug, Default, Serialize)]
pub struct Broken(Vec<String>);

impl Broken {
    /// Notes `claim` as broken, unless it `holds`.
    pub fn unless(&mut self, holds: bool, claim: impl Display) {
        if !holds {
            self.0.push(claim.to_string());
        }
    }

    /// Whether every claim held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `part` of `whole`.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
