//! `edgetwin leave`: this machine is a node of no cloud any more.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, bail};
use edge_agent::config::{DEFAULT_PATH, Dialect, File};
use serde_json::Map;

use crate::node::sections;
use crate::node::service::{NAME, Service};
use crate::outcome::Outcome;
use crate::output::say;

/// Make this machine a node of no cloud: stop the service, take the cloud out of the configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin leave
  edgetwin leave --purge

The store stays. Its devices are those of the manifests folder again when the agent starts the next time. The Node object
in the cluster stays, too: kubectl delete node NAME.")]
pub(crate) struct LeaveArgs {
    /// The configuration file to change
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Remove the node's certificate and key, and the cloud's authority
    #[arg(long)]
    purge: bool,
}

/// Leaves.
///
/// # Errors
/// A file or the service cannot be changed.
pub(crate) fn run(args: &LeaveArgs) -> anyhow::Result<Outcome> {
    let place = args.config.display();
    let file = File::read(&args.config)?;
    if file.dialect == Dialect::EdgeCore {
        bail!("{place} is KubeEdge's; set modules.edgeHub.enable to false there");
    }
    let service = Service::here();
    if service.runs(&args.config) {
        service.remove()?;
        say(&format!("{NAME} is stopped and removed"))?;
    }
    if file.config.cloud.is_joined() {
        let before = std::fs::read_to_string(&args.config)?;
        let text = sections::replaced(&before, &[("cloud", Map::new())])
            .map_err(|message| anyhow::anyhow!("{place}: {message}"))?;
        sections::write(&args.config, &text).with_context(|| format!("write {place}"))?;
        say(&format!("{place}: cloud is taken out; the manifests folder counts again"))?;
    } else {
        say(&format!("{place}: this machine belongs to no cloud"))?;
    }
    if args.purge {
        let cloud = &file.config.cloud;
        for path in [&cloud.key, &cloud.cert, &cloud.ca] {
            match std::fs::remove_file(path) {
                Ok(()) => say(&format!("removed {}", path.display()))?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("remove {}", path.display()));
                }
            }
        }
    }
    say(&format!("the Node stays in the cluster: kubectl delete node {}", file.config.node.name))?;
    Ok(Outcome::Done)
}
