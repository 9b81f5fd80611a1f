//! Row 3: silent units on a wire leave their neighbours their turns, rest, and are found again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use device_model::DeviceState;
use serde::Serialize;
use sim_modbus::{Counters, Fault, FaultKind, LineOptions};
use tokio::time::timeout;

use super::Broken;
use crate::world::{Machine, PATIENCE, REST, World, good};

const UNITS: u8 = 16;
/// Of a wire's time, one part of so many goes into asking silent units (`docs/modbus.md`).
const PARTS: u32 = 25;
/// What asking one costs beyond its time-out: a serial line must be quiet after it.
const SETTLE: Duration = Duration::from_millis(100);
/// Input register, holding register, coil.
const REQUESTS: u64 = 3;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rounds of units falling silent and coming back; one, two and three units in turn.
    pub rounds: u8,
    /// Readings of a unit that are counted in each round, one a second.
    pub cycles: u64,
    /// How long a unit may think.
    pub time_out: Duration,
    /// Baud rate of the serial line; none: as fast as it goes.
    pub baud: Option<u32>,
}

/// What it counted.
#[derive(Debug, Serialize)]
pub struct SilentUnits {
    /// On a serial line.
    pub rtu: Wire,
    /// Behind one TCP connection.
    pub tcp: Wire,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// One wire.
#[derive(Debug, Default, Serialize)]
pub struct Wire {
    /// Rounds.
    pub rounds: u8,
    /// Readings of healthy units while others were silent.
    pub readings: u64,
    /// The same in proportion to the units of a wire without silent ones, at the same time: the worst unit.
    pub worst_share: f64,
    /// From their revival until all silent units were read again, in milliseconds: the slowest round.
    pub slowest_return_ms: u64,
    /// At most so much is wanted: the longest rest, and the time between two questions to silent units.
    pub wanted_return_ms: u64,
    /// Connections; a serial line has none.
    pub connections: u64,
    /// Healthy units that were ever anything but online.
    pub neighbours_hurt: usize,
}

/// Sixteen units on each kind of wire.
///
/// # Errors
/// A part does not start, or silent units are not noticed.
pub async fn run(size: Size) -> Result<SilentUnits> {
    let options = size.baud.map_or_else(LineOptions::default, LineOptions::paced);
    let keys = format!("timeout: {:?}", size.time_out);
    let machines: Vec<_> =
        (1..=UNITS).map(|unit| Machine::new(name(unit), unit).every(1000).keys(&keys)).collect();
    let lines = (World::line(&machines, options)?, World::line(&machines, options)?);
    let gateways = (World::tcp(&machines).await?, World::tcp(&machines).await?);
    let (rtu, tcp) = tokio::try_join!(wire(lines, size), wire(gateways, size))?;
    let mut broken = Broken::default();
    for (kind, wire) in [("RTU", &rtu), ("TCP", &tcp)] {
        broken.unless(wire.worst_share >= 0.95, format_args!("{kind}: 95 % of the readings"));
        broken.unless(wire.neighbours_hurt == 0, format_args!("{kind}: neighbours stay online"));
        let back = wire.slowest_return_ms <= wire.wanted_return_ms;
        broken.unless(back, format_args!("{kind}: a revived unit is found in time"));
    }
    broken.unless(tcp.connections == 1, "TCP: a silent unit costs nobody the connection");
    Ok(SilentUnits { rtu, tcp, broken })
}

fn name(unit: u8) -> String {
    format!("m{unit}")
}

/// The second world is healthy, and shows what this machine can do at that moment.
async fn wire((mut world, mut witness): (World, World), size: Size) -> Result<Wire> {
    let Size { rounds, cycles, time_out, .. } = size;
    // A question may be under way when the unit revives, and the agent has to hear of the answer.
    let found = REST.max + PARTS * (time_out + SETTLE) + time_out + Duration::from_secs(2);
    world.start().await?;
    witness.start().await?;
    for world in [&world, &witness] {
        for unit in 1..=UNITS {
            world.until(&name(unit), "level", |level| good(level).is_some()).await?;
        }
    }
    let wanted_return_ms = u64::try_from(found.as_millis())?;
    let worst_share = f64::INFINITY;
    let mut wire = Wire { rounds, worst_share, wanted_return_ms, ..Wire::default() };
    for round in 0..rounds {
        let silent: Vec<u8> =
            (0..=round % 3).map(|number| (round * 5 + number * 3) % UNITS + 1).collect();
        for unit in &silent {
            world.devices().inject(Fault::new(FaultKind::Silence).unit(*unit));
        }
        for unit in &silent {
            world.until(&name(*unit), "level", |level| good(level).is_none()).await?;
        }
        let before = (world.devices().counters(), witness.devices().counters());
        let enough = before.1.unit(1).requests + cycles * REQUESTS;
        let counted = witness.devices().until(|now| now.unit(1).requests >= enough);
        let other =
            timeout(PATIENCE * 5, counted).await.context("the healthy wire stands still")?;
        let after = world.devices().counters();
        for unit in (1..=UNITS).filter(|unit| !silent.contains(unit)) {
            let read = asked(&after, &before.0, unit);
            let could = asked(&other, &before.1, unit);
            wire.readings += read;
            // One cycle may be under way at either end.
            let share = super::share(read + REQUESTS, could);
            wire.worst_share = wire.worst_share.min(share);
            let state = world.device(&name(unit)).await?.state;
            wire.neighbours_hurt += usize::from(state != DeviceState::Online);
        }
        world.devices().clear_faults();
        let start = Instant::now();
        let asked =
            |now: &Counters| silent.iter().all(|unit| asked(now, &after, *unit) >= REQUESTS);
        timeout(found + PATIENCE, world.devices().until(asked)).await.context("not found again")?;
        for unit in &silent {
            world.until(&name(*unit), "level", |level| good(level).is_some()).await?;
        }
        let back = u64::try_from(start.elapsed().as_millis())?;
        wire.slowest_return_ms = wire.slowest_return_ms.max(back);
    }
    wire.connections = world.devices().counters().connections.accepted;
    witness.stop().await?;
    world.stop().await?;
    Ok(wire)
}

fn asked(after: &Counters, before: &Counters, unit: u8) -> u64 {
    after.unit(unit).requests - before.unit(unit).requests
}
