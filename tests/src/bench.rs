//! The lines of the `bench` program, a file each.

pub mod cloud;
pub mod day;
pub mod disk;
pub mod dmi;
pub mod memory;
pub mod modbus;
pub mod mqtt;
pub mod nodes;
pub mod order;
pub mod recovery;
pub mod rtu;
pub mod set;
pub mod start;
pub mod telegraf;

use std::time::Duration;

use serde::Serialize;

/// Smallest, median and largest of some measurements.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The one in the middle: quote this.
    pub median: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of times, in milliseconds. Nothing measured is all zeros.
    pub fn of_millis(times: &[Duration]) -> Self {
        let mut millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        millis.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let last = millis.len().saturating_sub(1);
            millis.get((last * share).div_ceil(100)).copied().unwrap_or_default()
        };
        Self { min: at(0), median: at(50), p99: at(99), max: at(100) }
    }
}

/// A rate or a share, of counts that may be large.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// Bytes as MB (a million bytes), as people and the targets count.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
