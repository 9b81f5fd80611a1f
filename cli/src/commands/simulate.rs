//! `edgetwin simulate`: simulated devices with faults. The same library as the program `sim-modbus`.

use clap::Subcommand;
use mapper_sdk::signal;
use sim_modbus::command::{self, Arguments, CommandError};

use crate::logging::{self, Target};
use crate::outcome::Outcome;

/// Run simulated devices, for tests and for trying things out
#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    Modbus(Box<ModbusArgs>),
}

/// Simulate Modbus devices from the manifests that a mapper uses, or from a register file
#[derive(Debug, clap::Args)]
#[command(after_help = command::examples("edgetwin simulate modbus"))]
pub(crate) struct ModbusArgs {
    #[command(flatten)]
    arguments: Arguments,
}

/// Simulates until the time is over or somebody stops it.
///
/// # Errors
/// The files cannot be simulated, or a wire cannot be served.
pub(crate) async fn run(command: SimulateCommand) -> anyhow::Result<Outcome> {
    let SimulateCommand::Modbus(args) = command;
    logging::start("warn", Target::Stderr { json: false })?;
    let requested = signal::stop_requested()?;
    let mut out = std::io::stdout();
    let simulate = |stop| command::run(args.arguments, stop, &mut out);
    match signal::run_until(requested, simulate).await {
        // Kept apart, so that a reader who left is no failure.
        Err(CommandError::Output(error)) => Err(error.into()),
        ended => Ok(ended.map(|()| Outcome::Done)?),
    }
}
