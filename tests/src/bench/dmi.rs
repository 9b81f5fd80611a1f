//! Reports a second through gRPC into the committed store, with a client that is not ours.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::per;
use crate::gateway::{Gateway, plain_devices};

const DEVICES: usize = 20;

/// What it measured.
#[derive(Debug, Serialize)]
pub struct Dmi {
    /// One line for each number of values a call.
    pub loads: Vec<Load>,
    /// At least so many property values a second are wanted.
    pub wanted_values_per_second: f64,
}

/// One load.
#[derive(Debug, Serialize)]
pub struct Load {
    /// Property values in each call.
    pub values_per_call: usize,
    /// Accepted and committed.
    pub values_per_second: f64,
    /// Calls that were told to come again later.
    pub refused: u64,
    /// Processor time of the agent for 10,000 values, in milliseconds.
    pub agent_cpu_ms_per_10000: f64,
    /// Share of its one processor that the agent used.
    pub agent_processors: f64,
}

/// What the Go program prints.
#[derive(Debug, Deserialize)]
struct Sent {
    accepted: u64,
    refused: u64,
    seconds: f64,
}

/// Loads the agent for `seconds` with each number of values a call. The Go client comes from
/// `tests/peers/prepare`.
///
/// # Errors
/// The client is not there, or a call failed.
pub async fn run(seconds: u64) -> Result<Dmi> {
    let client = crate::peers::program("EDGETWIN_GO_LOAD").await?;
    let mut loads = Vec::new();
    for values in [1, 20] {
        let mut gateway = Gateway::new(true)?;
        gateway.manifest("devices.yaml", &plain_devices(DEVICES, 20))?;
        gateway.start(Some(0)).await?;
        gateway.loaded(DEVICES).await?;
        let before = gateway.agent()?.usage()?;
        let mut command = Command::new("taskset");
        command.args(["-c", "1"]).arg(&client).arg(gateway.dmi());
        command.args([DEVICES.to_string(), values.to_string(), seconds.to_string()]);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sent: Sent = serde_json::from_slice(&output.stdout).context("client's output")?;
        let cpu: Duration = gateway.agent()?.usage()?.cpu - before.cpu;
        let accepted = sent.accepted * u64::try_from(values)?;
        loads.push(Load {
            values_per_call: values,
            values_per_second: per(accepted, sent.seconds),
            refused: sent.refused,
            agent_cpu_ms_per_10000: cpu.as_secs_f64() * 1e7 / per(accepted, 1.0),
            agent_processors: cpu.as_secs_f64() / sent.seconds,
        });
    }
    Ok(Dmi { loads, wanted_values_per_second: 10_000.0 })
}
