//! Row 1: a device goes away in each way that a network knows, and comes back, and nothing is left behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::timeout;

use super::Broken;
use super::watch::Watch;
use crate::gate::{Gate, Outage};
use crate::process::Usage;
use crate::world::{Machine, PATIENCE, RECONNECT, World, good};

const WAYS: [Outage; 4] = [Outage::Reset, Outage::Close, Outage::BlackHole, Outage::HalfOpen];
/// The devices behind the broken way.
const UNITS: u8 = 3;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Row 1: the longest wait before a try, and a second.
const BOUND: Duration = RECONNECT.max.saturating_add(Duration::from_secs(1));
/// Until a connection that nobody answers is given up: three time-outs of 200 ms and the rests between them.
const GIVEN_UP: Duration = Duration::from_secs(2);
/// The first cycles fill caches.
const WARM: usize = 4;
/// What resident memory may differ by without anything having leaked.
const NOISE: u64 = 1_000_000;

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct Reconnects {
    /// Times that the devices went away and all of them were read again.
    pub cycles: usize,
    /// One line for each way.
    pub ways: Vec<Way>,
    /// Connections that the mapper opened to the device on a way of its own: 1 is right.
    pub neighbour_connections: u64,
    /// Times that a subscriber was told of a property of that device which was not good.
    pub neighbour_hurt: usize,
    /// The same of the devices that went away.
    pub outages_told: usize,
    /// Of the mapper, after the first cycles and after the last.
    pub mapper: Growth,
    /// Of the agent.
    pub agent: Growth,
    /// Lines that the mapper logged per cycle: two of the wire, two of each device at most.
    pub log_lines_per_cycle: f64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// One way of going away.
#[derive(Debug, Serialize)]
pub struct Way {
    /// Reset, close, black hole, half-open.
    pub outage: String,
    /// Cycles.
    pub cycles: usize,
    /// From the moment that the server was there again until good values came, in milliseconds: the slowest.
    pub slowest_ms: u64,
    /// At most so much is wanted.
    pub wanted_ms: u64,
}

/// What a process holds, before and after.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Growth {
    /// Resident bytes.
    pub resident: (u64, u64),
    /// File descriptors.
    pub files: (usize, usize),
    /// Threads.
    pub threads: (u64, u64),
}

impl Growth {
    fn between(before: Usage, after: Usage) -> Self {
        Self {
            resident: (before.resident, after.resident),
            files: (before.files, after.files),
            threads: (before.threads, after.threads),
        }
    }

    fn judge(&self, who: &str, broken: &mut Broken) {
        // The agent serves the line's own questions meanwhile.
        broken.unless(self.files.1 <= self.files.0 + 1, format_args!("{who}: no socket is left"));
        broken
            .unless(self.threads.1 <= self.threads.0 + 1, format_args!("{who}: no thread is left"));
    }
}

/// Breaks the way to three devices `cycles` times, beside a fourth with a way of its own.
///
/// # Errors
/// A part does not start, or values never come again.
pub async fn run(cycles: usize) -> Result<Reconnects> {
    let (gate, near) = (Gate::open()?, Gate::open()?);
    let keys = format!("timeout: 200ms, connectTimeout: {CONNECT_TIMEOUT:?}");
    let mut machines: Vec<_> = (1..=UNITS)
        .map(|unit| Machine::new(name(unit), unit).keys(&keys).at(gate.address()))
        .collect();
    machines.push(Machine::new("near", UNITS + 1).at(near.address()));
    let mut world = World::tcp(&machines).await?.as_programs();
    gate.lead_to(world.served()?).await?;
    near.lead_to(world.served()?).await?;
    world.start().await?;
    all_read(&world, 0).await?;
    let mut result = Reconnects { ways: WAYS.map(Way::new).into(), ..Reconnects::default() };
    let mut watch = Watch::open(&world).await?;
    let (neighbour_hurt, outages_told) = (&mut result.neighbour_hurt, &mut result.outages_told);
    let watching = async {
        loop {
            let event = watch.event("reported").await?;
            let count = if event["device"] == "test/near" {
                &mut *neighbour_hurt
            } else {
                &mut *outages_told
            };
            *count += usize::from(event["quality"] != "good");
        }
    };
    let (mut before, mut logged) = (usage(&world)?, world.mapper_log()?.len());
    let breaking = async {
        for cycle in 1..=cycles {
            let outage = WAYS[cycle % WAYS.len()];
            let value = u16::try_from(cycle % 1000)?;
            let time = break_and_mend(&world, &gate, outage, value).await?;
            result.cycles += 1;
            let way = &mut result.ways[cycle % WAYS.len()];
            way.cycles += 1;
            way.slowest_ms = way.slowest_ms.max(u64::try_from(time.as_millis())?);
            if cycle == WARM {
                (before, logged) = (usage(&world)?, world.mapper_log()?.len());
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = breaking => ended,
        ended = watching => ended,
    }?;
    let after = usage(&world)?;
    (result.mapper, result.agent) =
        (Growth::between(before.0, after.0), Growth::between(before.1, after.1));
    let lines = world.mapper_log()?.len() - logged;
    result.log_lines_per_cycle = super::share(lines.try_into()?, (cycles - WARM).try_into()?);
    result.neighbour_connections = near.accepted();
    world.stop().await?;

    let broken = &mut result.broken;
    for Way { outage, slowest_ms, wanted_ms, .. } in &result.ways {
        broken.unless(slowest_ms <= wanted_ms, format_args!("{outage}: back in time"));
    }
    broken.unless(result.neighbour_connections == 1, "the neighbour keeps its connection");
    broken.unless(result.neighbour_hurt == 0, "the neighbour is read all the time");
    broken.unless(result.outages_told > 0, "outages are told at all");
    let (before, after) = result.mapper.resident;
    // The agent fills its caches for longer than this line takes; the line of memory judges it.
    broken.unless(after <= before + before / 20 + NOISE, "mapper: memory stays flat");
    result.mapper.judge("mapper", broken);
    result.agent.judge("agent", broken);
    let quiet = result.log_lines_per_cycle <= f64::from(2 + 2 * UNITS);
    broken.unless(quiet, "one line of log for each change of state");
    Ok(result)
}

impl Way {
    fn new(outage: Outage) -> Self {
        let bound = match outage {
            Outage::Reset | Outage::Close => BOUND,
            // A try may be under way that nobody will answer.
            Outage::BlackHole => BOUND + CONNECT_TIMEOUT,
            // Nobody tells the mapper that the server is back: it gives the old connection up by itself.
            Outage::HalfOpen => BOUND + GIVEN_UP,
        };
        let wanted_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Self { outage: format!("{outage:?}"), cycles: 0, slowest_ms: 0, wanted_ms }
    }
}

fn name(unit: u8) -> String {
    format!("m{unit}")
}

/// Tells how long it took from the moment that the server could be reached until every device was read.
async fn break_and_mend(
    world: &World,
    gate: &Gate,
    outage: Outage,
    value: u16,
) -> Result<Duration> {
    gate.interrupt(outage).await?;
    let mut start = Instant::now();
    for unit in 1..=UNITS + 1 {
        let device = if unit > UNITS { "test/near".into() } else { format!("test/{}", name(unit)) };
        world.devices().set_value(&device, "level", value.into())?;
    }
    if outage != Outage::HalfOpen {
        for unit in 1..=UNITS {
            world.until(&name(unit), "level", |level| good(level).is_none()).await?;
        }
        // The neighbour goes on meanwhile.
        let before = world.devices().counters().unit(UNITS + 1).requests;
        let goes_on = world.devices().until(|now| now.unit(UNITS + 1).requests >= before + 15);
        timeout(PATIENCE, goes_on).await.context("the neighbour stands still")?;
        let text = value.to_string();
        world.until("near", "level", |level| good(level) == Some(text.as_str())).await?;
        gate.mend().await?;
        start = Instant::now();
    }
    all_read(world, value).await?;
    Ok(start.elapsed())
}

async fn all_read(world: &World, value: u16) -> Result<()> {
    let text = value.to_string();
    for unit in 1..=UNITS {
        world.until(&name(unit), "level", |level| good(level) == Some(text.as_str())).await?;
    }
    world.until("near", "level", |level| good(level) == Some(text.as_str())).await?;
    Ok(())
}

/// Of the mapper and of the agent.
fn usage(world: &World) -> Result<(Usage, Usage)> {
    Ok((world.mapper_program()?.usage()?, world.agent_program()?.usage()?))
}
