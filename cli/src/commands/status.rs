//! `edgetwin status`: how the agent is, part by part.

use comfy_table::{Cell, Color};
use device_model::Timestamp;
use edge_agent::api::view::{PartStatus, PartView, Readiness, ReadyView};

use crate::client::{Client, ConnectArgs};
use crate::duration::age;
use crate::outcome::Outcome;
use crate::output::{OutputArgs, add, print, table, text};

/// Show how the agent is, part by part
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin status
  edgetwin status -o json

Exit codes: 0 all is well, 1 no agent answers, 3 something is wrong")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks the agent and prints.
///
/// # Errors
/// No agent answers.
pub(crate) async fn run(args: StatusArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let ready = client.readiness().await?;
    let now = Timestamp::from(std::time::SystemTime::now());
    print(args.output.output, &ready, |ready| show(ready, now))?;
    Ok(match ready.status {
        Readiness::Ready => Outcome::Done,
        Readiness::Degraded | Readiness::Failed | Readiness::Stopping => Outcome::Degraded,
    })
}

/// The parts as a table; under it what is wrong, and with which manifest.
fn show(ready: &ReadyView, now: Timestamp) -> String {
    let mut rows = table(&["PART", "STATUS", "SINCE", "REASON"]);
    for part in &ready.parts {
        let since = age(now.since(part.since));
        let cells = vec![part.name.into(), status(part), since.into(), (&part.reason).into()];
        add(&mut rows, cells);
    }
    let mut shown = text(&rows);
    let mut paragraph = |line: String| {
        shown.push_str("\n\n");
        shown.push_str(&line);
    };
    for PartView { name, reason, remedy, .. } in &ready.parts {
        if !reason.is_empty() {
            paragraph(format!("{name}: {reason}\n  {remedy}"));
        }
    }
    for problem in &ready.problems {
        paragraph(format!("{}: {}", problem.file, problem.message));
    }
    shown
}

fn status(part: &PartView) -> Cell {
    let colour = match part.status {
        PartStatus::Ok => Color::Green,
        PartStatus::Degraded => Color::Yellow,
        PartStatus::Failed => Color::Red,
    };
    Cell::new(part.status).fg(colour)
}

#[cfg(test)]
mod tests {
    use edge_agent::api::view::Part;

    use super::*;

    #[test]
    fn what_is_wrong_is_shown_with_its_remedy() {
        let since = Timestamp::from_millis(0);
        let part = |name, status, reason: &str, remedy: &str| PartView {
            name,
            status,
            since,
            reason: reason.into(),
            remedy: remedy.into(),
        };
        let ready = ReadyView {
            status: Readiness::Failed,
            parts: vec![
                part(Part::Store, PartStatus::Failed, "no space left on device", "make room"),
                part(Part::Api, PartStatus::Ok, "", ""),
            ],
            mappers: 1,
            problems: Vec::new(),
        };
        let shown = show(&ready, Timestamp::from_millis(61_000));
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines[1].starts_with("store") && lines[1].contains("failed"), "{shown}");
        assert!(shown.contains("store: no space left on device\n  make room"), "{shown}");
        assert!(!shown.contains("api:"), "{shown}");
    }
}
