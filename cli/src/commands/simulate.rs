//! `edgetwin simulate`: simulated devices with faults. The same library as the program `sim-modbus`.

use clap::Subcommand;
use sim_modbus::command::{self, Arguments, CommandError};

use crate::logging::{self, Target};
use crate::outcome::Outcome;
use crate::signal;

/// Run simulated devices, for tests and for trying things out
#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    Modbus(Box<ModbusArgs>),
}

/// Simulate Modbus devices from the manifests that a mapper uses, or from a register file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin simulate modbus device-profiles/demo              each device where its manifest says
  edgetwin simulate modbus pump.yaml --tcp 127.0.0.1:0       all units on a free port
  edgetwin simulate modbus meter.yaml --pty=/tmp/meter       a pseudo-terminal with a name
  edgetwin simulate modbus pump.yaml --fault silence:unit=1 --fault exception:code=6,every=10

A register file:
  units:
    1:
      holding: {0: 42, 10-19: 0, 20: [1, 2, 3]}
      input:
        0: {rawType: f32, order: CDAB, simValue: 21.5}
        2: {rawType: i16, scale: 0.1, simWave: sine, simMin: -5, simMax: 5, simPeriod: 20s}
      coils: {0: true, 8-15: false}

Ctrl-C or SIGTERM stops it; then it prints what it was asked.")]
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
