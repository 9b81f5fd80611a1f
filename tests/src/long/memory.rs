//! Row 24: memory that stays flat while everything moves: values, devices, connections, subscribers, desired values.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde::Serialize;
use tokio::time::timeout;

use super::Broken;
use super::watch::Watch;
use crate::gate::{Gate, Outage};
use crate::process::Process;
use crate::world::{Machine, PATIENCE, World, good, word};

const UNITS: u8 = 12;
/// Devices of the first so many units come and go; their neighbours stay.
const GUESTS: u8 = 3;
const WAYS: [Outage; 4] = [Outage::Reset, Outage::Close, Outage::BlackHole, Outage::HalfOpen];
/// What resident memory may differ by without anything having leaked.
const NOISE: u64 = 1_000_000;

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct Memory {
    /// How long it took.
    pub seconds: u64,
    /// Rounds of everything that moves.
    pub rounds: usize,
    /// Requests that the devices were asked.
    pub requests: u64,
    /// Of the mapper.
    pub mapper: Resident,
    /// Of the agent.
    pub agent: Resident,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Resident memory of a process after each round, in bytes: medians of the run's thirds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Resident {
    /// Caches fill.
    pub first: u64,
    /// The second third.
    pub second: u64,
    /// The last third.
    pub last: u64,
    /// Most file descriptors after a round, in the second third and in the last.
    pub files: (usize, usize),
}

/// Moves everything `rounds` times; three are the least that says something.
///
/// # Errors
/// A part does not start, or what was moved does not get where it should.
pub async fn run(rounds: usize) -> Result<Memory> {
    ensure!(rounds >= 3, "{rounds} rounds have no thirds");
    let gate = Gate::open()?;
    let machines: Vec<_> = (1..=UNITS).map(|unit| machine(unit, &gate)).collect();
    let mut world = World::tcp(&machines).await?.as_programs();
    gate.lead_to(world.served()?).await?;
    world.start().await?;
    let start = Instant::now();
    let (mut mapper, mut agent) = (Vec::new(), Vec::new());
    for number in 0..rounds {
        round(&world, &gate, number).await?;
        mapper.push(sample(world.mapper_program()?)?);
        agent.push(sample(world.agent_program()?)?);
    }
    let mut memory = Memory {
        seconds: start.elapsed().as_secs(),
        rounds,
        requests: world.devices().counters().requests,
        mapper: Resident::of(&mapper),
        agent: Resident::of(&agent),
        broken: Broken::default(),
    };
    world.stop().await?;
    for (who, resident) in [("mapper", memory.mapper), ("agent", memory.agent)] {
        let flat = resident.last <= resident.second + resident.second / 20 + NOISE;
        memory.broken.unless(flat, format_args!("{who}: memory stays flat"));
        let files = resident.files.1 <= resident.files.0 + 1;
        memory.broken.unless(files, format_args!("{who}: no file descriptor is left"));
    }
    Ok(memory)
}

fn machine(unit: u8, gate: &Gate) -> Machine {
    Machine::new(format!("m{unit}"), unit)
        .every(50)
        .keys("timeout: 100ms, connectTimeout: 200ms")
        .level("simWave: random, simMin: 0, simMax: 30000, simPeriod: 50ms")
        .at(gate.address())
}

/// Everything that moves, once.
async fn round(world: &World, gate: &Gate, number: usize) -> Result<()> {
    gate.interrupt(WAYS[number % WAYS.len()]).await?;
    world.until("m12", "level", |level| good(level).is_none()).await?;
    gate.mend().await?;
    world.until("m12", "level", |level| good(level).is_some()).await?;

    let value = (number % 1000).to_string();
    let answer = world.set("m11", "setpoint", &value, "10s").await?;
    ensure!(word(&answer, "setpoint").as_deref() == Some("verified"), "{answer:#?}");

    let guest = u8::try_from(number % usize::from(GUESTS))? + 1;
    let name = format!("m{guest}");
    world.remove(&name)?;
    world.until_gone(&name).await?;
    world.apply(&machine(guest, gate))?;
    world.until(&name, "level", |level| good(level).is_some()).await?;

    let mut watch = Watch::open(world).await?;
    timeout(PATIENCE, watch.good()).await.context("nothing is told")??;
    subscribe(world, number).await
}

/// A subscriber that comes, gets a value, and goes without a word.
async fn subscribe(world: &World, number: usize) -> Result<()> {
    let broker = world.mqtt()?;
    let mut name = String::from("guest");
    write!(name, "-{number}")?;
    let options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("$hw/events/device/test/m10/twin/update/document", QoS::AtLeastOnce).await?;
    let published = async {
        while !matches!(events.poll().await?, Event::Incoming(Packet::Publish(_))) {}
        anyhow::Ok(())
    };
    timeout(PATIENCE, published).await.context("nothing is published")?
}

/// Resident bytes and file descriptors.
fn sample(process: &Process) -> Result<(u64, usize)> {
    let usage = process.usage()?;
    Ok((usage.resident, usage.files))
}

impl Resident {
    fn of(samples: &[(u64, usize)]) -> Self {
        let third = samples.len() / 3;
        let part = |number: usize| &samples[number * third..(number + 1) * third];
        let median = |number: usize| {
            let mut resident: Vec<_> = part(number).iter().map(|(bytes, _)| *bytes).collect();
            resident.sort_unstable();
            resident.get(resident.len() / 2).copied().unwrap_or_default()
        };
        let most = |number| part(number).iter().map(|(_, files)| *files).max().unwrap_or_default();
        Self { first: median(0), second: median(1), last: median(2), files: (most(1), most(2)) }
    }
}
