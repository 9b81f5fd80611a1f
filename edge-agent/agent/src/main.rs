//! The edge agent as a program: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use edge_agent::program::{self, RunArgs};

/// Worker threads: one works, one answers meanwhile. The twins have a thread of their own.
const WORKERS: usize = 2;

/// Keeps the twins of this machine's devices and serves them to mappers (DMI), local apps (MQTT) and people (HTTP on
/// a Unix socket).
///
/// Devices are defined by DeviceModel and Device manifests, the files one would `kubectl apply`, in a folder that is
/// watched: put a file there and its devices appear, remove it and they go.
#[derive(Debug, Parser)]
#[command(
    name = "edge-agent",
    version,
    after_help = "Without --config, /etc/edgetwin/config.yaml is read if it is there; every key has a default.\n\
        The defaults keep twins in /var/lib/edgetwin, sockets in /run/edgetwin, MQTT on 127.0.0.1:1883.\n\
        \n\
        Try it:   edge-agent --manifests ./my-devices\n\
        Look:     edgetwin get     Change: edgetwin set demo/pump speed=1450\n\
        Check:    edgetwin config check     Effective values: edgetwin config print\n\
        \n\
        Exit codes: 0 stopped on request (SIGTERM, SIGINT); 1 a fault; 2 wrong arguments or configuration"
)]
struct Arguments {
    #[command(flatten)]
    run: RunArgs,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start the runtime: {error}"), 1),
    };
    match runtime.block_on(program::run(arguments.run)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), if error.is_usage() { 2 } else { 1 }),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a program")]
fn complain(error: &str, code: u8) -> ExitCode {
    eprintln!("edge-agent: {error}");
    ExitCode::from(code)
}
