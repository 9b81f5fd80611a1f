//! `edgetwin trace`: what goes over the wire of a device.

use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use edge_agent::api::view::{FrameDirection, FrameView};

use super::watch::clock;
use crate::client::{Client, ConnectArgs};
use crate::ending::stopped_or_after;
use crate::outcome::{Outcome, complain};
use crate::output::{OutputArgs, print_item};

/// Print each frame on the wire of a device, until Ctrl-C
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  edgetwin trace demo/pump --hex\n  edgetwin trace demo/pump --count 20 -o json"
)]
pub(crate) struct TraceArgs {
    /// The device: namespace/name, or its name alone
    device: String,
    /// Show the octets of each frame
    #[arg(long)]
    hex: bool,
    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    duration: Option<Duration>,
    /// Stop after so many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints each frame until there are enough, the time is over or somebody stops it.
///
/// # Errors
/// No agent answers, there is no such device, its mapper shows no frames, or the device left its wire.
pub(crate) async fn run(args: TraceArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let device = client.device(&args.device).await?;
    let mut frames = client.frames(&device).await?;
    let mut over = pin!(stopped_or_after(args.duration)?);
    let mut left = args.count;
    while left != Some(0) {
        let frame = tokio::select! {
            () = &mut over => break,
            frame = frames.next() => frame?,
        };
        let Some(frame) = frame else {
            bail!("{} left its wire, or its mapper or the agent stopped", device.id())
        };
        if frame.lost > 0 {
            complain(&format!("{} frames were lost: this end is too slow", frame.lost));
        }
        print_item(args.output.output, &frame, |frame| line(frame, args.hex))?;
        left = left.map(|left| left - 1);
    }
    Ok(Outcome::Done)
}

/// One frame as a line for people.
fn line(frame: &FrameView, hex: bool) -> String {
    let arrow = match frame.direction {
        FrameDirection::Sent => "-> sent",
        FrameDirection::Received => "<- received",
        FrameDirection::Discarded => "<- discarded",
    };
    let millis = |micros: u64| format!("{}.{:03} ms", micros / 1000, micros % 1000);
    let after = frame.after_micros.map(millis).unwrap_or_default();
    let octets = frame.hex.len() / 2;
    let line = format!("{}  {arrow:<12}  {after:>12}  {octets:>3}", clock(frame.time));
    if hex { format!("{line}  {}", pairs(&frame.hex)) } else { line }
}

/// Hexadecimal digits with a space between octets.
fn pairs(hex: &str) -> String {
    let mut text = String::with_capacity(hex.len() * 3 / 2);
    for (place, digit) in hex.chars().enumerate() {
        if place > 0 && place % 2 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use device_model::Timestamp;

    use super::*;

    #[test]
    fn a_line_shows_time_direction_duration_and_octets() {
        let frame = FrameView {
            time: Timestamp::from_millis(1_700_000_000_123),
            direction: FrameDirection::Received,
            after_micros: Some(2_050),
            hex: "000100".into(),
            lost: 0,
        };
        assert_eq!(line(&frame, true), "22:13:20.123Z  <- received       2.050 ms    3  00 01 00");
        assert!(line(&frame, false).ends_with("ms    3"));
    }
}
