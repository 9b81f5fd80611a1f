//! Demand 11: what a day of reports writes to the disk. In a process of its own, since the kernel counts by process.

use std::path::Path;

use anyhow::{Result, ensure};
use e2e::bench::day;

#[test]
fn row_11_a_day_of_reports_writes_at_most_fifty_megabytes() -> Result<()> {
    // Five minutes of the twins' clock. The folder of the build is on a disk; one for temporary files may be memory.
    let day = day::run(1, 300, Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    ensure!(day.megabytes_a_day > 0.0, "that was no disk: {day:?}");
    ensure!(day.megabytes_a_day <= day.wanted, "{day:?}");
    Ok(())
}
