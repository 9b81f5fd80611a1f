//! Simulates Modbus devices from manifests or a register file.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use sim_modbus::command::{self, Arguments, CommandError};
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
    let requested = stop_requested().map_err(|error| (format!("signals: {error}"), 1))?;
    let stop = CancellationToken::new();
    let mut out = io::stdout();
    let running = command::run(arguments, stop.clone(), &mut out);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = requested => {
            stop.cancel();
            running.await
        }
    };
    match ended {
        // A reader who left is no failure.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended.map_err(|error| (with_causes(&error), error.exit_code())),
    }
}

/// Listens for SIGTERM and Ctrl-C from now on; the future ends with the first of them.
fn stop_requested() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
