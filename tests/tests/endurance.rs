//! A small size of each endurance line; `./test long` runs them in full through the same code.

use std::time::Duration;

use anyhow::Result;
use e2e::long;

#[tokio::test]
async fn kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let seen = e2e::crash::kills(5).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

/// Not a test of its own: without the variable, which only the test below sets, there is nothing to do.
#[test]
fn store_writer_that_is_killed() -> Result<()> {
    long::store_kills::write_until_killed().map(drop)
}

#[test]
fn kills_of_the_store_lose_nothing_that_was_committed() -> Result<()> {
    let seen = long::store_kills::run(40, || {
        let mut writer = std::process::Command::new(std::env::current_exe()?);
        writer.args(["--exact", "store_writer_that_is_killed", "--nocapture"]);
        Ok(writer)
    })?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn sequential_updates_arrive_in_order() -> Result<()> {
    let seen = e2e::bench::order::run(500).await?;
    assert_eq!(seen.inversions, 0, "{seen:?}");
    assert!(seen.newest_seen, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_device_comes_back_from_every_kind_of_outage() -> Result<()> {
    let seen = long::reconnects::run(12).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn a_serial_line_has_silence_between_frames() -> Result<()> {
    let seen = long::rtu::run(270).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn one_connection_is_enough_for_a_gateway() -> Result<()> {
    let seen = long::one_connection::run(50).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn silent_units_cost_their_neighbours_nothing() -> Result<()> {
    let time_out = Duration::from_millis(200);
    let size = long::silent_units::Size { rounds: 1, cycles: 10, time_out, baud: None };
    let seen = long::silent_units::run(size).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn late_answers_are_nobodys() -> Result<()> {
    let seen = long::late::run(1000).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn restarts_write_what_is_desired_once() -> Result<()> {
    let seen = long::restarts::run(8).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn a_flapping_device_is_told_twice_a_minute_at_most() -> Result<()> {
    let seen = long::flapping::run(12).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn writes_go_first_on_a_full_line() -> Result<()> {
    // A machine that is busy otherwise adds its own waits.
    let seen = long::full_bus::run(20, Duration::from_millis(450)).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[tokio::test]
async fn memory_stays_flat_while_everything_moves() -> Result<()> {
    let seen = long::memory::run(12).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}

#[test]
fn hours_by_the_clock_leave_the_store_as_large_as_it_was() -> Result<()> {
    let seen = long::days::run(3, false)?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}
