//! `edgetwin describe`: everything that is known of one device.

use std::fmt::Write;

use device_model::{Access, Timestamp};
use edge_agent::api::view::{DeviceView, PropertyView};

use crate::client::{Client, ConnectArgs};
use crate::duration::age;
use crate::outcome::Outcome;
use crate::output::{OutputArgs, print, with_unit};

/// Show everything that is known of one device
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  edgetwin describe demo/pump")]
pub(crate) struct DescribeArgs {
    /// Which device: namespace/name, or its name alone
    device: String,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks the agent and prints.
///
/// # Errors
/// No agent answers, or there is no such device.
pub(crate) async fn run(args: DescribeArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let device = client.device(&args.device).await?;
    let now = Timestamp::from(std::time::SystemTime::now());
    print(args.output.output, &device, |device| description(device, now))?;
    Ok(Outcome::Done)
}

fn description(device: &DeviceView, now: Timestamp) -> String {
    let mut text = String::new();
    line(&mut text, 0, "Device", &device.id());
    line(&mut text, 0, "Description", &device.description);
    let since = device.state_since;
    let state = format!("{} since {since} ({})", device.state, age(now.since(since)));
    line(&mut text, 0, "State", &state);
    line(&mut text, 0, "Reason", device.state_reason.as_deref().unwrap_or_default());
    line(&mut text, 0, "Problem", device.problem.as_deref().unwrap_or_default());
    line(&mut text, 0, "Model", &device.model);
    line(&mut text, 0, "Protocol", &device.protocol);
    line(&mut text, 0, "Mapper", device.mapper.as_deref().unwrap_or("none has it now"));
    line(
        &mut text,
        0,
        "Revision",
        &format!("{} (epoch {}, incarnation {})", device.rev, device.epoch, device.incarnation),
    );
    text.push_str("Properties:\n");
    for property in &device.properties {
        describe_property(&mut text, property, now);
    }
    text
}

fn describe_property(text: &mut String, property: &PropertyView, now: Timestamp) {
    let PropertyView { name, unit, .. } = property;
    let _ = writeln!(text, "  {name}");
    let access = match property.access {
        Access::ReadOnly => "read only",
        Access::ReadWrite => "read and write",
    };
    let mut kind = format!("{}, {access}", property.data_type);
    if property.minimum.is_some() || property.maximum.is_some() {
        let end = |limit: &Option<String>| limit.clone().unwrap_or_else(|| "…".into());
        let range = format!("{} to {}", end(&property.minimum), end(&property.maximum));
        let _ = write!(kind, ", {}", with_unit(&range, unit));
    }
    line(text, 4, "Type", &kind);
    if let Some(reported) = &property.reported {
        let value = reported.value.as_deref().map(|value| with_unit(value, unit));
        line(text, 4, "Reported", &value.unwrap_or_else(|| "no value yet".into()));
        let quality = format!("{}: {}", reported.quality, reported.code.meaning());
        line(text, 4, "Quality", &quality);
        let sampled = reported.sample_time;
        line(text, 4, "Sampled", &format!("{sampled} ({} ago)", age(now.since(sampled))));
        if let Some(time) = reported.source_time {
            line(text, 4, "Device time", &time.to_string());
        }
    } else {
        line(text, 4, "Reported", "nothing yet");
    }
    if let Some(desired) = &property.desired {
        let value = with_unit(&desired.value, unit);
        let mut origin =
            format!("version {} by {}, {}", desired.version, desired.writer, desired.set_at);
        if let Some(end) = desired.expires_at {
            let _ = write!(origin, ", until {end}");
        }
        line(text, 4, "Desired", &format!("{value} ({origin})"));
        line(text, 4, "In sync", if property.in_sync { "yes" } else { "no" });
    }
    if let Some(ack) = &property.ack {
        let detail =
            if ack.detail.is_empty() { String::new() } else { format!(": {}", ack.detail) };
        let version = format!("{} {}, version {}", ack.code.number(), ack.word, ack.version);
        line(text, 4, "Acknowledged", &format!("{version}{detail}"));
    }
}

/// One labelled line; nothing where there is nothing to say.
fn line(text: &mut String, indent: usize, label: &str, value: &str) {
    if !value.is_empty() {
        let label = format!("{label}:");
        let _ = writeln!(text, "{:indent$}{label:<14}{value}", "");
    }
}
