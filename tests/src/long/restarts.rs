//! Row 8: agent and mapper stopped and killed, again and again: no desired value lost, none written twice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use device_model::DeviceState;
use edge_agent::api::view::PropertyView;
use serde::Serialize;
use tokio::time::timeout;

use super::Broken;
use crate::world::{Machine, PATIENCE, World, good, word};

/// What the device stays at, or drifts away from.
const KEPT: u16 = 450;
/// A mapper that died must be noticed within this time (row 29).
const NOTICED: Duration = Duration::from_secs(10);

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct Restarts {
    /// Stops and kills of the mapper and of the agent, in turn.
    pub restarts: u16,
    /// Writes of a value that stayed desired all the time: none is right.
    pub unchanged_written: u64,
    /// Writes of an enforced value from which the device drifted at each restart: as many as restarts is right.
    pub drifted_written: u64,
    /// Writes of a value that was desired anew while the mapper was away, or a moment before the agent was: as many
    /// as restarts is right.
    pub new_written: u64,
    /// From the kill of a mapper until its devices were unknown, in milliseconds: the slowest.
    pub slowest_unknown_ms: u64,
    /// From a restart until everything was as desired and acknowledged, in milliseconds: the slowest.
    pub slowest_settled_ms: u64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Restarts one part after the other, `restarts` times.
///
/// # Errors
/// A part does not start, or something desired never reaches its device.
pub async fn run(restarts: u16) -> Result<Restarts> {
    let machines = [
        Machine::new("kept", 1),
        Machine::new("enforced", 2).setpoint("enforce: true"),
        Machine::new("changing", 3),
    ];
    let mut world = World::tcp(&machines).await?.as_programs();
    world.start().await?;
    for machine in ["kept", "enforced", "changing"] {
        world.until(machine, "setpoint", |setpoint| good(setpoint).is_some()).await?;
    }
    for machine in ["kept", "enforced"] {
        let answer = world.set(machine, "setpoint", &KEPT.to_string(), "10s").await?;
        ensure!(word(&answer, "setpoint").as_deref() == Some("verified"), "{answer:#?}");
    }
    let writes = |world: &World| {
        let counters = world.devices().counters();
        let of = |unit| {
            let functions = counters.unit(unit).functions;
            [5, 6, 15, 16].iter().filter_map(|function| functions.get(function)).sum::<u64>()
        };
        [of(1), of(2), of(3)]
    };
    let before = writes(&world);
    let mut result = Restarts { restarts, ..Restarts::default() };
    for restart in 0..restarts {
        let value = restart % 1000 + 1;
        let away = AWAY[usize::from(restart) % AWAY.len()];
        let moved = (value, f64::from(restart % 400));
        let start = take_away_and_back(&mut world, away, moved, &mut result).await?;
        let settled = |value: u16| {
            move |setpoint: &PropertyView| {
                good(setpoint) == Some(value.to_string().as_str())
                    && setpoint.ack.as_ref().is_some_and(|ack| ack.word == "verified")
                    && setpoint.in_sync
            }
        };
        world.until("changing", "setpoint", settled(value)).await?;
        world.until("enforced", "setpoint", settled(KEPT)).await?;
        let devices = world.devices().clone();
        let back = devices.until(|_| devices.holding(2, 0).is_ok_and(|word| word == KEPT));
        timeout(PATIENCE, back).await.context("the enforced value is not written")?;
        let time = u64::try_from(start.elapsed().as_millis())?;
        result.slowest_settled_ms = result.slowest_settled_ms.max(time);
        // Three more cycles of each, in which nothing may be written any more.
        let now = devices.counters();
        let polled = devices.until(|later| {
            (1..=3).all(|unit| later.unit(unit).requests >= now.unit(unit).requests + 9)
        });
        timeout(PATIENCE, polled).await.context("polling stopped")?;
        world.until("kept", "setpoint", settled(KEPT)).await?;
    }
    let after = writes(&world);
    [result.unchanged_written, result.drifted_written, result.new_written] =
        std::array::from_fn(|unit| after[unit] - before[unit]);
    let wanted = u64::from(restarts);
    let noticed = u128::from(result.slowest_unknown_ms) <= NOTICED.as_millis();
    result.broken.unless(result.unchanged_written == 0, "what stays desired is not written again");
    result.broken.unless(result.drifted_written == wanted, "one write for each drift");
    result.broken.unless(result.new_written == wanted, "one write for each new value");
    result.broken.unless(noticed, "devices of a dead mapper are unknown within 10 s");
    world.stop().await?;
    Ok(result)
}

/// Who goes away, and how.
#[derive(Clone, Copy)]
enum Away {
    MapperStops,
    MapperDies,
    AgentStops,
    AgentDies,
}

const AWAY: [Away; 4] = [Away::MapperStops, Away::MapperDies, Away::AgentStops, Away::AgentDies];

/// Takes a part away, lets things happen meanwhile, and starts it again; tells when.
async fn take_away_and_back(
    world: &mut World,
    away: Away,
    (value, drift): (u16, f64),
    result: &mut Restarts,
) -> Result<Instant> {
    let value = value.to_string();
    match away {
        Away::MapperStops => drop(world.stop_mapper().await?),
        Away::MapperDies => {
            let start = Instant::now();
            world.kill_mapper();
            world.until_device("kept", |kept| kept.state == DeviceState::Unknown).await?;
            let time = u64::try_from(start.elapsed().as_millis())?;
            result.slowest_unknown_ms = result.slowest_unknown_ms.max(time);
        }
        // It takes the new value and is gone, perhaps before it told anybody.
        Away::AgentStops => {
            world.set("changing", "setpoint", &value, "1ms").await?;
            world.stop_agent().await?;
        }
        Away::AgentDies => {
            world.set("changing", "setpoint", &value, "1ms").await?;
            world.kill_agent();
        }
    }
    world.devices().set_value("test/enforced", "setpoint", drift)?;
    match away {
        Away::MapperStops | Away::MapperDies => {
            world.set("changing", "setpoint", &value, "1ms").await?;
            world.start_mapper("mapper").await?;
        }
        Away::AgentStops | Away::AgentDies => world.start_agent().await?,
    }
    Ok(Instant::now())
}
