//! Demand 18: simulated devices with faults, from the manifests of the real ones. (Demands 17 and 22 are commands;
//! their tests stand with the command line.)

use anyhow::Result;
use e2e::world::{Machine, PATIENCE, World, good};
use sim_modbus::{Fault, LineOptions};
use tokio::time::timeout;

#[tokio::test]
async fn row_18_simulated_devices_take_every_fault() -> Result<()> {
    let faults = [
        "delay:ms=150",
        "silence",
        "exception:code=4",
        "wrong-crc",
        "truncate",
        "late:ms=150",
        "wrong-transaction",
        "garbage",
        "echo",
        "merge:ms=150",
        "reset",
        "reboot:ms=300",
    ];
    let pump = [Machine::new("pump", 1).keys("timeout: 100ms")];
    for mut world in [World::tcp(&pump).await?, World::line(&pump, LineOptions::default())?] {
        world.start().await?;
        for (round, text) in faults.iter().enumerate() {
            let fault: Fault = text.parse()?;
            let before = world.devices().counters().faults;
            let set = world.devices().inject(fault);
            let hit = world.devices().until(|counters| counters.faults > before);
            timeout(PATIENCE, hit).await?;
            world.devices().clear(set);
            // Whatever it was: the device is read again, and right.
            let level = (round + 1).to_string();
            world.devices().set_value("test/pump", "level", level.parse()?)?;
            world.until("pump", "level", |reading| good(reading) == Some(level.as_str())).await?;
        }
        world.stop().await?;
    }
    Ok(())
}
