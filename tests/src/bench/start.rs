//! From exec to the first answer of the DMI server: a mapper that was waiting is registered.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dmi::proto::{MapperInfo, MapperRegisterRequest};
use serde::Serialize;

use super::Spread;
use crate::gateway::{Gateway, plain_devices};

/// What it measured, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Start {
    /// With 20 devices of 5 properties in the store and in the folder.
    pub agent_ms: Spread,
    /// Start and end of `true`: what the machine itself takes.
    pub nothing_ms: Spread,
    /// At most this median is wanted.
    pub wanted_ms: f64,
}

/// Starts the agent `runs` times.
///
/// # Errors
/// It does not start.
pub async fn run(runs: usize) -> Result<Start> {
    let mut gateway = Gateway::new(true)?;
    gateway.manifest("devices.yaml", &plain_devices(20, 5))?;
    let (mut agent, mut nothing) = (Vec::new(), Vec::new());
    // The first start makes the store; it is not counted.
    for run in 0..=runs {
        let begin = Instant::now();
        gateway.start(None).await?;
        let mapper = MapperInfo {
            name: "first".into(),
            protocol: "bench".into(),
            address: b"/nowhere.sock".to_vec(),
            ..MapperInfo::default()
        };
        let request = MapperRegisterRequest { with_data: true, mapper: Some(mapper) };
        let answer = dmi::connect::manager(gateway.dmi(), Duration::from_secs(5))
            .mapper_register(request)
            .await?;
        let time = begin.elapsed();
        ensure!(answer.into_inner().device_list.len() == 20, "not all devices came");
        gateway.crash()?;
        let start = Instant::now();
        Command::new("true").status()?;
        if run > 0 {
            agent.push(time);
            nothing.push(start.elapsed());
        }
    }
    Ok(Start {
        agent_ms: Spread::of_millis(&agent),
        nothing_ms: Spread::of_millis(&nothing),
        wanted_ms: 30.0,
    })
}
