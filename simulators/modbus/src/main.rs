//! Simulates Modbus devices from manifests or a register file.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use sim_modbus::command::{self, Arguments};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Simulates Modbus devices: TCP, RTU over TCP, serial lines and pseudo-terminals, with waveforms and faults.
///
/// The registers come from the manifests that a mapper uses, or from a plain register file.
#[derive(Parser)]
#[command(name = "sim-modbus", version, after_help = examples())]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

fn examples() -> String {
    let codes = "0 stopped on request, 1 a wire could not be served, 2 bad arguments or files";
    format!("{}\n\nExit codes: {codes}.", command::examples("sim-modbus"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let program = Program::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .with_writer(io::stderr)
        .init();
    match simulate(program.arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(code)
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn simulate(arguments: Arguments) -> Result<(), (String, u8)> {
    let stop = CancellationToken::new();
    let signals = async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        stop.cancel();
        std::future::pending::<io::Result<()>>().await
    };
    let mut out = io::stdout();
    tokio::select! {
        ended = command::run(arguments, stop.clone(), &mut out) => {
            ended.map_err(|error| (with_causes(&error), error.exit_code()))
        }
        failed = signals => failed.map_err(|error: io::Error| (error.to_string(), 1)),
    }
}
