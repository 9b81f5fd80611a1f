//! Demand 40, on the wire: what each bus does is counted, and what stays wrong is said once.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::wait::eventually;
use e2e::world::{Machine, PATIENCE, Page, World, good};
use sim_modbus::{Fault, FaultKind};

/// Waits until `reached` holds for what the mapper counts.
async fn until(world: &World, what: &str, reached: impl Fn(&Page) -> Result<bool>) -> Result<Page> {
    eventually(PATIENCE, what, async || {
        let page = world.mapper_page().await?;
        ensure!(reached(&page)?, "{page:?}");
        Ok(page)
    })
    .await
}

/// A series of the one wire of `world`, called `edgetwin_mapper_wire_…`.
fn series(world: &World, name: &str, more: &str) -> Result<String> {
    Ok(format!("edgetwin_mapper_wire_{name}{{wire=\"tcp://{}\"{more}}}", world.served()?))
}

fn errors(world: &World, class: &str) -> Result<String> {
    series(world, "errors_total", &format!(",class=\"{class}\""))
}

#[tokio::test]
async fn row_40_each_bus_tells_times_errors_by_class_overruns_queue_and_reconnects() -> Result<()> {
    let machines = [
        Machine::new("pump", 1).every(20).keys("timeout: 300ms"),
        Machine::new("odd", 2).keys("timeout: 300ms"),
    ];
    let mut world = World::tcp(&machines).await?;
    world.devices().inject(Fault::new(FaultKind::Exception(2)).unit(2));
    world.start().await?;
    world.until("pump", "level", |reading| good(reading).is_some()).await?;

    let count = series(&world, "request_seconds_count", "")?;
    let below = series(&world, "request_seconds_bucket", ",le=\"1\"")?;
    let (up, refused) = (series(&world, "up", "")?, errors(&world, "refused")?);
    let page = until(&world, "requests", |page| {
        Ok(page.value(&count)? > 0.0 && page.value(&refused)? > 0.0)
    });
    let page = page.await?;
    assert_eq!(page.value(&below)?, page.value(&count)?, "none took longer than its time-out");
    assert_eq!(page.value(&up)?, 1.0);
    world.devices().clear_faults();
    for class in ["connect", "undecodable"] {
        assert_eq!(page.value(&errors(&world, class)?)?, 0.0, "{class}");
    }

    // Slower than the cycle: cycles are missed.
    world.devices().inject(Fault::new(FaultKind::Delay(Duration::from_millis(60))));
    let overruns = series(&world, "overruns_total", "")?;
    until(&world, "overruns", |page| Ok(page.value(&overruns)? > 0.0)).await?;
    world.devices().clear_faults();

    world.devices().inject(Fault::new(FaultKind::Silence).unit(2));
    let silent = errors(&world, "silent")?;
    until(&world, "silence", |page| Ok(page.value(&silent)? > 0.0)).await?;
    world.devices().clear_faults();

    let reconnects = series(&world, "reconnects_total", "")?;
    assert_eq!(world.mapper_page().await?.value(&reconnects)?, 0.0);
    world.devices().inject(Fault::new(FaultKind::Reset));
    let lost = errors(&world, "lost")?;
    until(&world, "a wire that is lost", |page| Ok(page.value(&lost)? > 0.0)).await?;
    world.devices().clear_faults();
    until(&world, "the wire again", |page| {
        Ok(page.value(&reconnects)? > 0.0 && page.value(&up)? == 1.0)
    })
    .await?;

    world.kill_devices();
    let (connect, waiting) = (errors(&world, "connect")?, series(&world, "writes_waiting", "")?);
    until(&world, "a wire that is gone", |page| {
        Ok(page.value(&connect)? > 0.0 && page.value(&up)? == 0.0)
    })
    .await?;
    world.set("pump", "setpoint", "7", "0s").await?;
    until(&world, "a write that waits", |page| Ok(page.value(&waiting)? == 1.0)).await?;
    world.stop().await
}

#[tokio::test]
async fn row_40_more_properties_make_no_more_series_of_a_bus() -> Result<()> {
    let mut all = Vec::new();
    for count in [1, 8] {
        let machines: Vec<_> =
            (1..=count).map(|unit| Machine::new(format!("pump{unit}"), unit)).collect();
        let mut world = World::tcp(&machines).await?;
        world.start().await?;
        world.until("pump1", "level", |reading| good(reading).is_some()).await?;
        let page = world.mapper_page().await?;
        all.push(page.series().len());
        assert!(page.series().iter().all(|series| !series.contains("pump")), "{page:?}");
        world.stop().await?;
    }
    assert_eq!(all[0], all[1]);
    Ok(())
}

#[tokio::test]
async fn row_40_a_value_that_the_agent_does_not_take_gets_older() -> Result<()> {
    let mut world = World::tcp(&[Machine::new("pump", 1)]).await?;
    world.start().await?;
    world.until("pump", "level", |reading| good(reading).is_some()).await?;
    world.stop_agent().await?;
    let (age, count) = ("edgetwin_mapper_oldest_unreported_seconds", "edgetwin_mapper_unreported");
    until(&world, "a value that waits", |page| {
        Ok(page.value(age)? > 0.5 && page.value(count)? >= 1.0)
    })
    .await?;
    world.start_agent().await?;
    until(&world, "nothing that waits", |page| Ok(page.value(age)? < 0.5)).await?;
    world.stop().await
}

#[tokio::test]
async fn row_40_an_error_that_stays_is_logged_once_and_counted_each_time() -> Result<()> {
    let machines = [Machine::new("pump", 1), Machine::new("dead", 2).keys("timeout: 100ms")];
    let mut world = World::tcp(&machines).await?.as_programs();
    world.devices().inject(Fault::new(FaultKind::Silence).unit(2));
    world.start().await?;
    let silent = errors(&world, "silent")?;
    until(&world, "three silences", |page| Ok(page.value(&silent)? >= 3.0)).await?;
    let dead = |log: Vec<String>| {
        let of_it = log.into_iter().filter(|line| line.contains("test/dead"));
        of_it.filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).count()
    };
    assert_eq!(dead(world.mapper_log()?), 1, "{:#?}", world.mapper_log()?);
    world.stop().await
}
