//! `edgetwin diagnose`: why something is not as it should be.

use std::path::PathBuf;

use clap::Subcommand;
use device_model::DeviceState;
use edge_agent::api::view::{DeviceView, ErrorView, ReadyView};
use edge_agent::program::RunArgs;

use crate::client::{Client, ConnectArgs};
use crate::duration::age;
use crate::findings::Findings;
use crate::node::checks;
use crate::outcome::Outcome;
use crate::output::{OutputArgs, print};

/// Explain why a node does not join, is not Ready, or why a device is not online
#[derive(Debug, Subcommand)]
pub(crate) enum DiagnoseCommand {
    /// Why this machine gets no certificate, or no link to its cloud
    Join(JoinArgs),
    /// Why this node is not Ready in its cluster
    Node(NodeArgs),
    /// Why a device is not online, or is not there
    Device(DeviceArgs),
}

/// Which configuration.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// The configuration file; else /etc/edgetwin/config.yaml where it exists, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which agent.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which device.
#[derive(Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// namespace/name, or its name alone
    device: String,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Looks, and says what it found.
///
/// # Errors
/// No agent answers, where one is asked.
pub(crate) async fn run(command: DiagnoseCommand) -> anyhow::Result<Outcome> {
    let (findings, output) = match command {
        DiagnoseCommand::Join(args) => (join(&args).await, args.output),
        DiagnoseCommand::Node(args) => (node(&args).await?, args.output),
        DiagnoseCommand::Device(args) => (device(&args).await?, args.output),
    };
    print(output.output, &findings, Findings::show)?;
    Ok(findings.outcome())
}

async fn join(args: &JoinArgs) -> Findings {
    let mut findings = Findings::default();
    let run = RunArgs { config: args.config.clone(), ..RunArgs::default() };
    let config = checks::configuration(&run, &mut findings);
    let now = checks::now();
    checks::clock(now, &mut findings);
    let Some(config) = config else { return findings };
    if !config.cloud.is_joined() {
        let remedy = "run `edgetwin join ADDRESS --token-file FILE`";
        findings.problem("cloud", "cloud.addresses is empty: this node belongs to none", remedy);
        return findings;
    }
    let papers = checks::certificate(&config, now, &mut findings);
    checks::join_server(&config.cloud, papers.as_ref(), &mut findings).await;
    checks::hub(&config.cloud, papers.as_ref(), &mut findings).await;
    findings
}

async fn node(args: &NodeArgs) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let client = Client::find(&args.connect).await?;
    checks::agent(&client.readiness().await?, &mut findings);
    match client.outbox().await {
        Err(error) if error.downcast_ref::<ErrorView>().is_some_and(|error| error.code == 404) => {
            findings.problem("cloud", "this node belongs to none", "run `edgetwin join`");
        }
        Err(error) => return Err(error),
        Ok(outbox) if outbox.linked => {
            let waiting = outbox.devices.len();
            findings.ok("link", format!("there; {waiting} device(s) wait for the cloud"));
        }
        Ok(outbox) => {
            let waiting = outbox.devices.len();
            let said = format!("none; {waiting} device(s) wait for the cloud");
            findings.problem("link", said, "see `edgetwin diagnose join`");
        }
    }
    Ok(findings)
}

async fn device(args: &DeviceArgs) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let client = Client::find(&args.connect).await?;
    let ready = client.readiness().await?;
    match client.device(&args.device).await {
        Ok(device) => known(&device, &ready, &mut findings),
        Err(error) => {
            let name = args.device.rsplit('/').next().unwrap_or(&args.device);
            let remedy = match client.objects().await {
                Ok(list)
                    if list.objects.iter().any(|one| one.kind == "device" && one.name == name) =>
                {
                    "the cloud gave it to this node, and it is wrong: see below, and `edgetwin status`"
                }
                Ok(_) => {
                    "name this node in its spec.nodeName; then `edgetwin get objects` shows it as soon as there is a link"
                }
                Err(_) => "put its manifest and its model's into the manifests folder",
            };
            findings.problem("device", error.to_string(), remedy);
            problems(&ready, &args.device, &mut findings);
        }
    }
    Ok(findings)
}

/// What is wrong with a device that there is.
fn known(device: &DeviceView, ready: &ReadyView, findings: &mut Findings) {
    match &device.problem {
        None => findings.ok("description", format!("{}, model {}", device.protocol, device.model)),
        Some(problem) => {
            let remedy = "correct it where it was written; until then the one before is in force, if there was one";
            findings.problem("description", problem, remedy);
        }
    }
    problems(ready, &device.id(), findings);
    match &device.mapper {
        Some(mapper) => findings.ok("mapper", mapper),
        None => {
            let said =
                format!("none of {} mapper(s) speaks {} for it", ready.mappers, device.protocol);
            let remedy = format!("start a mapper for {}; it registers by itself", device.protocol);
            findings.problem("mapper", said, remedy);
        }
    }
    let said = match &device.state_reason {
        Some(reason) => format!("{}: {reason}", device.state),
        None => device.state.to_string(),
    };
    match device.state {
        DeviceState::Online => findings.ok("state", said),
        _ => {
            let remedy =
                "see `edgetwin describe` and `edgetwin trace --hex` for what goes over its wire";
            findings.problem("state", said, remedy);
        }
    }
    let now = checks::now();
    for property in &device.properties {
        let Some(reported) = &property.reported else {
            findings.warning(&property.name, "never reported", "see the mapper's log");
            continue;
        };
        let old = age(now.since(reported.sample_time));
        match reported.quality {
            device_model::Quality::Good => findings.ok(&property.name, format!("good, {old} old")),
            quality => {
                let said = format!("{quality} ({}), {old} old", reported.code);
                findings.warning(
                    &property.name,
                    said,
                    "see its visitor in the manifest, and the wire",
                );
            }
        }
    }
}

/// What is wrong with the manifests of the device that is meant.
fn problems(ready: &ReadyView, device: &str, findings: &mut Findings) {
    for problem in &ready.problems {
        let id = problem.device.as_ref().map(ToString::to_string);
        let meant = |id: &str| id == device || id.rsplit('/').next() == Some(device);
        if id.as_deref().is_some_and(meant) {
            findings.problem(&problem.file, &problem.message, "correct it where it was written");
        }
    }
}
