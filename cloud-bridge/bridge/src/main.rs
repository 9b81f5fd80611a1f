//! The cloud bridge as a program: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cloud_bridge::crds;
use cloud_bridge::program::{self, RunArgs};

/// Keeps Devices at a Kubernetes API server and edge nodes true to each other.
///
/// Nodes dial in with certificates that the bridge signs for whoever has a token; Devices go down to the node that they
/// name, and what nodes report of them comes up into DeviceStatuses.
#[derive(Debug, Parser)]
#[command(
    name = "cloud-bridge",
    version,
    after_help = "Without --config, /etc/edgetwin/bridge.yaml is read if it is there; every key has a default.\n\
        The defaults listen on loopback alone: hub 127.0.0.1:10000, join 127.0.0.1:10002, metrics 127.0.0.1:9091.\n\
        \n\
        Install:  cloud-bridge crds | kubectl apply -f -\n\
        Look:     curl -s 127.0.0.1:9091/readyz     kubectl get devicestatus\n\
        \n\
        Exit codes: 0 stopped on request (SIGTERM, SIGINT); 1 a fault; 2 wrong arguments or configuration"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve nodes until told to stop
    Run(RunArgs),
    /// Print the custom resource definitions as YAML, for `kubectl apply -f -`
    Crds,
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match command {
        Command::Run(arguments) => run(arguments),
        Command::Crds => {
            match crds::yaml().map_err(|error| error.to_string()).and_then(|text| print(&text)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => complain(&error, 1),
            }
        }
    }
}

fn run(arguments: RunArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    match runtime.block_on(program::run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), if error.is_usage() { 2 } else { 1 }),
    }
}

fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}

#[expect(clippy::print_stderr, reason = "the last word of a program")]
fn complain(error: &str, code: u8) -> ExitCode {
    eprintln!("cloud-bridge: {error}");
    ExitCode::from(code)
}
