//! `edgetwin watch`: twin changes as they happen.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use device_model::Timestamp;
use edge_agent::api::view::{DeviceView, Event, EventKind};

use crate::client::{Client, ConnectArgs};
use crate::ending::stopped_or_after;
use crate::outcome::Outcome;
use crate::output::{OutputArgs, print_item, with_unit};

/// Print twin changes as they happen, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  edgetwin watch\n  edgetwin watch demo/pump --duration 10s -o json"
)]
pub(crate) struct WatchArgs {
    /// Only this device: namespace/name, or its name alone
    device: Option<String>,
    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    duration: Option<Duration>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints each event until the time is over or somebody stops it.
///
/// # Errors
/// No agent answers, there is no such device, or the agent went away.
pub(crate) async fn run(args: WatchArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let only = match &args.device {
        Some(name) => Some(client.device(name).await?.id()),
        None => None,
    };
    let mut events = client.events().await?;
    let mut units = Units::of(&client.devices().await?);
    let mut over = pin!(stopped_or_after(args.duration)?);
    loop {
        let event = tokio::select! {
            () = &mut over => return Ok(Outcome::Done),
            event = events.next() => event?,
        };
        let Some(event) = event else { bail!("the agent ended the stream of events") };
        if only.as_ref().is_some_and(|only| *only != event.device.to_string()) {
            continue;
        }
        if event.kind == EventKind::Added {
            units = Units::of(&client.devices().await?);
        }
        print_item(args.output.output, &event, |event| line(event, &units))?;
    }
}

/// The unit of each property, by device and name.
#[derive(Debug, Default)]
pub(crate) struct Units(HashMap<(String, String), String>);

impl Units {
    /// Those of `devices`.
    pub(crate) fn of(devices: &[DeviceView]) -> Self {
        let of_device = |device: &DeviceView| {
            let id = device.id();
            let unit = move |property: &edge_agent::api::view::PropertyView| {
                ((id.clone(), property.name.clone()), property.unit.clone())
            };
            device.properties.iter().map(unit).collect::<Vec<_>>()
        };
        Self(devices.iter().flat_map(of_device).collect())
    }

    fn of_event(&self, event: &Event) -> &str {
        let property = event.property.as_ref().map(ToString::to_string).unwrap_or_default();
        self.0.get(&(event.device.to_string(), property)).map_or("", String::as_str)
    }
}

/// One event as a line for people.
pub(crate) fn line(event: &Event, units: &Units) -> String {
    let time = clock(event.time);
    let device = event.device.to_string();
    let property = event.property.as_ref().map_or("", |property| property.as_str());
    let unit = units.of_event(event);
    let value = |text: &Option<String>| match text {
        Some(text) => with_unit(text, unit),
        None => "-".to_owned(),
    };
    let what = match event.kind {
        EventKind::Reported => {
            let quality = event.quality.map(|quality| quality.to_string()).unwrap_or_default();
            let code = event.code.filter(|_| quality != "good").map(|code| format!(" {code}"));
            format!("reported {}  {quality}{}", value(&event.reported), code.unwrap_or_default())
        }
        EventKind::Desired => format!("desired  {}", value(&event.desired)),
        EventKind::Ack => match &event.ack {
            Some(ack) if ack.detail.is_empty() => format!("{} {}", ack.word, value(&event.desired)),
            Some(ack) => format!("{} {}: {}", ack.word, value(&event.desired), ack.detail),
            None => "acknowledgement withdrawn".to_owned(),
        },
        EventKind::State => match &event.reason {
            Some(reason) => format!("is {}: {reason}", event.state),
            None => format!("is {}", event.state),
        },
        EventKind::Problem => match &event.reason {
            Some(problem) => format!("refused by its mapper: {problem}"),
            None => "taken by its mapper".to_owned(),
        },
        EventKind::Added => "added or changed".to_owned(),
        EventKind::Removed => "removed".to_owned(),
    };
    format!("{time}  {device:<14}  {property:<15}  {what}")
}

/// Time of day, to the millisecond, UTC.
pub(super) fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T').map_or_else(|| text.clone(), |(_, clock)| clock.to_owned())
}
