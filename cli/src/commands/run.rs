//! `edgetwin run`: the agent. The same library as the program `edge-agent`.

use std::path::PathBuf;

use edge_agent::Agent;
use edge_agent::config::LogFormat;
use mapper_sdk::signal;

use crate::commands::config::{chosen, load};
use crate::logging::{self, Target};
use crate::outcome::Outcome;

/// Run the agent in the foreground
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin run
  edgetwin run --config ./agent.yaml

`edgetwin config print` shows every key of the configuration with its default. Ctrl-C or SIGTERM stops the agent.")]
pub(crate) struct RunArgs {
    /// The configuration file; else /etc/edgetwin/config.yaml where it exists, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the agent until it is asked to stop.
///
/// # Errors
/// The configuration is wrong, a socket or the store cannot be opened, or a part of the agent failed.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<Outcome> {
    let config = load(chosen(args.config.as_deref()).as_deref())?;
    let json = config.log.format == LogFormat::Json;
    logging::start(&config.log.level, Target::Stderr { json })?;
    let requested = signal::stop_requested()?;
    let agent = Agent::bind(config).await?;
    signal::run_until(requested, |stop| agent.run(stop)).await?;
    Ok(Outcome::Done)
}
