//! `edgetwin history`: what changed lately in a device.

use anyhow::bail;
use edge_agent::api::view::{DeviceView, HistoryView, PastView};

use super::watch::clock;
use crate::client::{Client, ConnectArgs, suggest};
use crate::outcome::Outcome;
use crate::output::{
    OutputArgs, ack_cell, add, concise, faint, print, quality_cell, table, text, with_unit,
};

/// Show what changed lately in a device
///
/// The agent keeps the latest changes of each property in memory, 64 unless `api.history` of its configuration says
/// otherwise; they begin anew when it does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin history demo/pump
  edgetwin history demo/pump speed --limit 20
  edgetwin history pump -o json")]
pub(crate) struct HistoryArgs {
    /// Which device: namespace/name, or its name alone
    device: String,
    /// This property alone
    property: Option<String>,
    /// So many changes of each property, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks the agent and prints.
///
/// # Errors
/// No agent answers, or there is no such device or property.
pub(crate) async fn run(args: HistoryArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let device = client.device(&args.device).await?;
    if let Some(name) = args.property.as_deref().filter(|name| device.property(name).is_none()) {
        let known: Vec<String> = device.properties.iter().map(|p| p.name.clone()).collect();
        bail!("{} has no property {name}{}", device.id(), suggest(name, &known));
    }
    let history = client.history(&device, args.property.as_deref(), args.limit).await?;
    print(args.output.output, &history, |history| show(history, &device))?;
    Ok(Outcome::Done)
}

/// All changes as one table, in the order in which they happened.
fn show(history: &HistoryView, device: &DeviceView) -> String {
    let of_property = |property: &edge_agent::api::view::PropertyHistory| {
        let name = property.name.clone();
        property.changes.clone().into_iter().map(move |change| (name.clone(), change))
    };
    let mut changes: Vec<_> = history.properties.iter().flat_map(of_property).collect();
    if changes.is_empty() {
        return format!("nothing changed in {} since the agent started", device.id());
    }
    changes.sort_by_key(|(_, change)| change.id);
    let mut rows = table(&["TIME", "PROPERTY", "REPORTED", "QUALITY", "DESIRED", "ACKNOWLEDGED"]);
    for (name, change) in &changes {
        add(&mut rows, cells(name, change, device));
    }
    text(&rows)
}

fn cells(name: &str, change: &PastView, device: &DeviceView) -> Vec<comfy_table::Cell> {
    let property = device.property(name);
    let shown = |value: &Option<String>| match (value, property) {
        (Some(value), Some(property)) => {
            with_unit(&concise(value, property.data_type), &property.unit).into()
        }
        (Some(value), None) => value.into(),
        (None, _) => faint("-"),
    };
    let quality = match (change.quality, change.code) {
        (Some(quality), Some(code)) => quality_cell(quality, code),
        _ => faint("-"),
    };
    vec![
        clock(change.time).into(),
        name.into(),
        shown(&change.value),
        quality,
        shown(&change.desired),
        ack_cell(change.ack.as_ref()),
    ]
}
