//! `edgetwin check`: everything that a node needs, looked at once.

use std::path::PathBuf;

use edge_agent::program::RunArgs;

use crate::client::{Client, ConnectArgs};
use crate::findings::Findings;
use crate::node::checks;
use crate::outcome::Outcome;
use crate::output::{OutputArgs, print};

/// Check this gateway: configuration, clock, store, disk, certificate, cloud, agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin check
  edgetwin check -o json

Nothing is changed. Run it as root, or as the agent's user: others cannot read the node's key.

Exit codes: 0 all is well, 3 something is not")]
pub(crate) struct CheckArgs {
    /// The configuration file; else /etc/edgetwin/config.yaml where it exists, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Looks and prints.
///
/// # Errors
/// Nobody reads any more.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<Outcome> {
    let mut findings = Findings::default();
    let run = RunArgs { config: args.config.clone(), ..RunArgs::default() };
    let config = checks::configuration(&run, &mut findings);
    let now = checks::now();
    checks::clock(now, &mut findings);
    if let Some(config) = &config {
        checks::store(config, &mut findings);
        match config.cloud.is_joined() {
            false => findings.ok("cloud", "this node belongs to none; its manifests folder counts"),
            true => {
                let papers = checks::certificate(config, now, &mut findings);
                checks::hub(&config.cloud, papers.as_ref(), &mut findings).await;
                checks::join_server(&config.cloud, papers.as_ref(), &mut findings).await;
            }
        }
    }
    let connect = match &config {
        Some(config) => args.connect.or_socket(&config.api.socket),
        None => args.connect,
    };
    let asked = async { Client::find(&connect).await?.readiness().await };
    match asked.await {
        Ok(ready) => checks::agent(&ready, &mut findings),
        Err(error) => {
            let remedy = "start it: `systemctl start edgetwin`, or `edgetwin run`; its log says why it ended";
            let said = format!("{error:#}");
            // What to do then is said below.
            let said: Vec<_> = said.lines().filter(|line| !line.starts_with("Start one")).collect();
            findings.problem("agent", said.join(""), remedy);
        }
    }
    print(args.output.output, &findings, Findings::show)?;
    Ok(findings.outcome())
}
