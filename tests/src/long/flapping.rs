//! Row 29: a device that comes and goes every second does not flood anybody with states, and what is told is true.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use device_model::DeviceState;
use serde::Serialize;
use sim_modbus::{Fault, FaultKind};
use tokio::time::{MissedTickBehavior, interval};

use super::Broken;
use super::watch::Watch;
use crate::world::{Machine, World};

/// Changes of state that may be told within [`WINDOW`].
const ALLOWED: usize = 2;
const WINDOW: Duration = Duration::from_secs(60);
/// Two calls may be under way when the mapper tells a state a little early by another clock.
const SLACK: Duration = Duration::from_secs(1);

/// What it counted.
#[derive(Debug, Default, Serialize)]
pub struct Flapping {
    /// How long the devices flapped.
    pub seconds: u64,
    /// How often a device went away.
    pub outages: u64,
    /// Changes of state that a subscriber was told of the flapping devices, the first state not counted.
    pub told: usize,
    /// Most that were told of one device within a minute.
    pub most_in_a_minute: usize,
    /// Changes of state that were told of a steady device on the same connection.
    pub neighbour_changes: usize,
    /// Connections that the mapper needed.
    pub connections: u64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Two of three units are silent for half of each second, for `seconds`.
///
/// # Errors
/// A part does not start or ends, or the devices are not online in the end.
pub async fn run(seconds: u64) -> Result<Flapping> {
    let machines = [("a", 1), ("b", 2), ("steady", 3)]
        .map(|(name, unit)| Machine::new(name, unit).keys("timeout: 50ms"));
    let mut world = World::tcp(&machines).await?;
    world.start().await?;
    for name in ["a", "b", "steady"] {
        world.until_device(name, |device| device.state == DeviceState::Online).await?;
    }
    let mut watch = Watch::open(&world).await?;
    let mut flapping = Flapping { seconds, ..Flapping::default() };
    let mut told = BTreeMap::<String, Vec<Instant>>::new();
    let watching = async {
        loop {
            let event = watch.event("state").await?;
            let device = event["device"].as_str().unwrap_or_default().to_owned();
            told.entry(device).or_default().push(Instant::now());
        }
    };
    let outages = &mut flapping.outages;
    let flap = async {
        let mut half = interval(Duration::from_millis(500));
        half.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..seconds {
            half.tick().await;
            let silent = [1, 2]
                .map(|unit| world.devices().inject(Fault::new(FaultKind::Silence).unit(unit)));
            half.tick().await;
            for fault in silent {
                world.devices().clear(fault);
            }
            *outages += 1;
        }
    };
    tokio::select! {
        () = flap => {}
        ended = watching => return ended,
    }
    flapping.connections = world.devices().counters().connections.accepted;
    let broken = &mut flapping.broken;
    for (device, times) in &told {
        if device.ends_with("/steady") {
            flapping.neighbour_changes = times.len();
            continue;
        }
        flapping.told += times.len();
        for (first, start) in times.iter().enumerate() {
            let within = times.iter().skip(first);
            let within = within.take_while(|time| **time + SLACK < *start + WINDOW).count();
            flapping.most_in_a_minute = flapping.most_in_a_minute.max(within);
        }
    }
    broken.unless(flapping.told > 0, "outages are told at all");
    broken.unless(flapping.most_in_a_minute <= ALLOWED, "at most 2 changes in a minute");
    broken.unless(flapping.neighbour_changes == 0, "the neighbour stays online");
    broken.unless(flapping.connections == 1, "the connection is kept");
    world.stop().await?;
    Ok(flapping)
}
