//! The cloud bridge as a program: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cloud_bridge::crds;

/// Keeps Devices at a Kubernetes API server and edge nodes true to each other.
#[derive(Debug, Parser)]
#[command(name = "cloud-bridge", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the custom resource definitions as YAML, for `kubectl apply -f -`
    Crds,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Crds => crds::yaml()
            .map_err(anyhow::Error::from)
            .and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a program")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("cloud-bridge: {error:#}");
    ExitCode::FAILURE
}
