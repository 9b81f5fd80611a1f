//! `edgetwin run`: the agent. The same library as the program `edge-agent`.

use edge_agent::program;

use crate::outcome::{Outcome, complain};

/// Run the agent in the foreground
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin run
  edgetwin run --config ./agent.yaml
  edgetwin run --config /etc/kubeedge/config/edgecore.yaml --log-format json

`edgetwin config print` shows every key of the configuration with its default. Ctrl-C or SIGTERM stops the agent;
SIGHUP reads the configuration again and says what takes effect at once, and what at the next start.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    agent: program::RunArgs,
}

/// Runs the agent until it is asked to stop.
///
/// # Errors
/// A socket or the store cannot be opened, or a part of the agent failed.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<Outcome> {
    match program::run(args.agent).await {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if error.is_usage() => {
            complain(&format!("error: {error}"));
            Ok(Outcome::Misused)
        }
        Err(error) => Err(error.into()),
    }
}
