//! `edgetwin`: the command line of the device plane.
//!
//! `main` parses, runs the command and turns its outcome into an exit code. What a command does is in the file
//! of its name under `commands/`.

mod client;
mod commands;
mod demo;
mod duration;
mod ending;
mod findings;
mod logging;
mod manifests;
mod node;
mod outcome;
mod output;
mod place;
mod screen;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match commands::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return outcome::of_usage(&error),
    };
    let result = commands::run(cli.command);
    outcome::exit_code(&result)
}
