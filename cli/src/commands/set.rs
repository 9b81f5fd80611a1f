//! `edgetwin set`: says what properties should become, and what became of that.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::bail;
use device_model::{Ack, AckCode, DeviceId, Generation};
use edge_agent::api::view::{
    AcceptedView, AckView, DesiredAnswer, DesiredPatch, DesiredValue, DeviceView, Event, EventKind,
};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::client::{Client, ConnectArgs, Events, suggest};
use crate::duration::short;
use crate::outcome::Outcome;
use crate::output::{Format, OutputArgs, print, say, with_unit};

/// How often to look whether a value that was applied is read from the device.
const LOOK: Duration = Duration::from_millis(200);

/// Say what properties of a device should become
///
/// Without --wait the command ends when the agent has stored the wish. With it, each acknowledgement is printed
/// as it comes, and the command ends when every value was read back from the device, or cannot be, or was refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin set demo/pump speed=1450 --wait 5s
  edgetwin set demo/room setpoint=21.5 fan=true --wait 5s
  edgetwin set demo/pump speed=1450 --expires 10m --if-version 7

Exit codes with --wait: 0 the device took every value, 1 a value was refused or somebody else ended the wish,
3 not confirmed in time (the wish stands, and the mapper goes on trying)")]
pub(crate) struct SetArgs {
    /// Which device: namespace/name, or its name alone
    device: String,
    /// What to write: property=value
    #[arg(required = true, value_name = "PROPERTY=VALUE")]
    assignments: Vec<Assignment>,
    /// Wait so long for the device to take the values
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    wait: Option<Duration>,
    /// Give up what is not written within this time
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    expires: Option<Duration>,
    /// Write only if the desired version of each property is still this one (0: nothing was desired)
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// `property=value`.
#[derive(Clone, Debug)]
struct Assignment {
    property: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((property, value)) if !property.is_empty() => {
                Ok(Self { property: property.into(), value: value.into() })
            }
            _ => Err("write it as property=value, such as speed=1450".into()),
        }
    }
}

/// Writes, and waits if asked to.
///
/// # Errors
/// No agent answers, there is no such device or property, or the agent refuses a value.
pub(crate) async fn run(args: SetArgs) -> anyhow::Result<Outcome> {
    let client = Client::find(&args.connect).await?;
    let device = client.device(&args.device).await?;
    let mut patch = patch(&device, &args.assignments)?;
    patch.if_version = args.if_version;
    patch.expires_in = args.expires.map(|span| format!("{}ms", span.as_millis()));
    let id = DeviceId::new(&device.namespace, &device.name)?;
    // Before the write, so that no acknowledgement is missed.
    let events = match args.wait {
        Some(_) => Some(client.events().await?),
        None => None,
    };
    let begun = Instant::now();
    let answer = client.desire(&id, &patch).await?;
    let format = args.output.output;
    let shown = BTreeSet::new();
    let mut progress = Progress { device, id, format, begun, answer, shown, in_doubt: false };
    progress.say_accepted()?;
    let outcome = match (events, args.wait) {
        (Some(events), Some(wait)) => progress.follow(&client, events, wait).await?,
        _ => Outcome::Done,
    };
    if args.output.output != Format::Table {
        print(args.output.output, &progress.result(), |_| String::new())?;
    }
    Ok(outcome)
}

fn patch(device: &DeviceView, assignments: &[Assignment]) -> anyhow::Result<DesiredPatch> {
    let mut properties = BTreeMap::new();
    for Assignment { property, value } in assignments {
        if device.property(property).is_none() {
            let known: Vec<String> = device.properties.iter().map(|p| p.name.clone()).collect();
            bail!("{} has no property {property}{}", device.id(), suggest(property, &known));
        }
        let value = DesiredValue { value: value.clone().into(), if_version: None };
        if properties.insert(property.clone(), value).is_some() {
            bail!("{property} is given twice; which value should it have?");
        }
    }
    Ok(DesiredPatch { properties, ..DesiredPatch::default() })
}

/// What is known of the write so far.
struct Progress {
    device: DeviceView,
    id: DeviceId,
    format: Format,
    begun: Instant,
    answer: DesiredAnswer,
    /// Properties whose value was read from the device after it was applied.
    shown: BTreeSet<String>,
    /// Whether something happened that may have ended a wish: the next look tells.
    in_doubt: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SetResult<'a> {
    device: String,
    #[serde(flatten)]
    answer: &'a DesiredAnswer,
}

impl Progress {
    /// Prints each acknowledgement of our values until nothing more will come or the time is over.
    async fn follow(
        &mut self,
        client: &Client,
        mut events: Events,
        wait: Duration,
    ) -> anyhow::Result<Outcome> {
        let properties = std::mem::take(&mut self.answer.properties);
        for (name, accepted) in &properties {
            if let Some(ack) = &accepted.ack {
                // The same value was wanted before, and this became of it.
                self.say_line(name, &format!("already {}", with_detail(&ack.word, ack)))?;
            }
        }
        self.answer.properties = properties;
        let acknowledged = async {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while self.open().next().is_some() {
                let unread = self.open().any(|(_, accepted)| is_unread(accepted));
                let event = tokio::select! {
                    event = events.next() => event?,
                    _ = looks.tick(), if unread || self.in_doubt => {
                        // The wish stands whether or not the agent answers: the next look may get through.
                        if let Ok(device) = client.look(&self.id).await {
                            self.look(device.as_ref())?;
                        }
                        continue;
                    }
                };
                match event {
                    Some(event) => self.take(&event)?,
                    None => bail!(
                        "the agent stopped; the wish is stored, and goes on when the agent runs again"
                    ),
                }
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(wait, acknowledged).await {
            Ok(result) => result?,
            Err(_) => {
                self.answer.timed_out = true;
                self.say_open(wait)?;
            }
        }
        Ok(self.outcome())
    }

    /// Takes in an event, and prints it if it acknowledges one of our values.
    fn take(&mut self, event: &Event) -> anyhow::Result<()> {
        if event.device != self.id {
            return Ok(());
        }
        self.in_doubt |=
            matches!(event.kind, EventKind::Desired | EventKind::Added | EventKind::Removed);
        let (Some(property), Some(ack)) = (&event.property, &event.ack) else { return Ok(()) };
        let Some(accepted) = self.answer.properties.get_mut(property.as_str()) else {
            return Ok(());
        };
        let mut ack = ack.clone();
        if ack.version < accepted.version {
            return Ok(());
        }
        if ack.version > accepted.version {
            // Somebody else's newer value took the place of ours.
            ack = superseded(ack.version, format!("by version {}", ack.version));
        }
        let known = accepted
            .ack
            .as_ref()
            .is_some_and(|known| known.code == ack.code && known.detail == ack.detail);
        if !known {
            accepted.ack = Some(ack.clone());
            self.say_ack(property.as_str(), &ack)?;
        }
        Ok(())
    }

    /// The values of which more may be heard.
    fn open(&self) -> impl Iterator<Item = (&String, &AcceptedView)> {
        let waits = |accepted: &AcceptedView| !is_settled(accepted) || is_unread(accepted);
        let open = self.answer.properties.iter().filter(move |(_, accepted)| waits(accepted));
        open.filter(|(name, _)| !self.shown.contains(*name))
    }

    /// Finds out which of the values that were applied the device shows, and which wishes somebody else ended.
    fn look(&mut self, device: Option<&DeviceView>) -> anyhow::Result<()> {
        self.in_doubt = false;
        let device = device.filter(|device| device.incarnation == self.device.incarnation);
        let open: Vec<String> = self.open().map(|(name, _)| name.clone()).collect();
        for name in open {
            let Some(accepted) = self.answer.properties.get_mut(&name) else { continue };
            let property = device.and_then(|device| device.property(&name));
            let desired = property.and_then(|property| property.desired.as_ref());
            let ended = match (property, desired) {
                (None, _) => "the device, or this property of it, is gone".to_owned(),
                (_, None) => "somebody withdrew the wish".to_owned(),
                (_, Some(desired)) if desired.version > accepted.version => {
                    format!("by version {}", desired.version)
                }
                (Some(property), _) => {
                    if is_unread(accepted) && property.in_sync {
                        let took = short(self.begun.elapsed());
                        self.say_line(&name, &format!("read from the device after {took}"))?;
                        self.shown.insert(name);
                    }
                    continue;
                }
            };
            let ack = superseded(accepted.version, ended);
            accepted.ack = Some(ack.clone());
            self.say_ack(&name, &ack)?;
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        let codes = || self.answer.properties.values().map(|p| p.ack.as_ref().map(|ack| ack.code));
        if codes().flatten().any(|code| code.is_final() && !code.is_success()) {
            Outcome::Refused
        } else if !self.answer.timed_out && codes().all(|c| c.is_some_and(AckCode::is_success)) {
            Outcome::Done
        } else {
            Outcome::Degraded
        }
    }

    fn result(&self) -> SetResult<'_> {
        SetResult { device: self.device.id(), answer: &self.answer }
    }

    fn say_accepted(&self) -> anyhow::Result<()> {
        for (name, accepted) in &self.answer.properties {
            let value = accepted.value.as_deref().unwrap_or("nothing");
            let value = with_unit(value, self.unit(name));
            self.say_line(name, &format!("{value} desired, version {}", accepted.version))?;
        }
        Ok(())
    }

    fn say_ack(&self, name: &str, ack: &AckView) -> anyhow::Result<()> {
        let took = short(self.begun.elapsed());
        let text = match ack.code {
            AckCode::Verified => format!("verified by read-back after {took}"),
            AckCode::Applied if ack.detail.is_empty() => format!("applied after {took}"),
            AckCode::Applied => format!("applied after {took}, but not verified"),
            _ => ack.word.clone(),
        };
        let detail =
            if ack.detail.is_empty() { String::new() } else { format!(": {}", ack.detail) };
        self.say_line(name, &format!("{text}{detail}"))
    }

    fn say_open(&self, wait: Duration) -> anyhow::Result<()> {
        for (name, accepted) in self.open() {
            let wait = short(wait);
            let word = accepted.ack.as_ref().map_or("not acknowledged", |ack| &ack.word);
            let text = match is_unread(accepted) {
                true => format!("applied, but not read back within {wait}"),
                false => format!("still {word} after {wait}"),
            };
            self.say_line(name, &text)?;
        }
        if self.format == Format::Table && !self.answer.properties.values().all(is_settled) {
            say(&format!(
                "The wish stands, and the mapper goes on trying. `edgetwin watch {}` shows when it is through.",
                self.id
            ))?;
        }
        Ok(())
    }

    fn say_line(&self, name: &str, text: &str) -> anyhow::Result<()> {
        if self.format == Format::Table {
            say(&format!("{} {name}: {text}", self.id))?;
        }
        Ok(())
    }

    fn unit(&self, name: &str) -> &str {
        self.device.property(name).map_or("", |property| &property.unit)
    }
}

fn with_detail(text: &str, ack: &AckView) -> String {
    if ack.detail.is_empty() { text.to_owned() } else { format!("{text}: {}", ack.detail) }
}

/// What became of a wish that another one, or nothing, took the place of.
fn superseded(version: Generation, detail: String) -> AckView {
    AckView::new(&Ack { generation: version, code: AckCode::Superseded, detail }, None)
}

fn is_settled(accepted: &AcceptedView) -> bool {
    accepted.ack.as_ref().is_some_and(|ack| ack.code.is_final())
}

/// The device took the value, and the mapper did not look, or did not say why it could not. The next reading tells.
fn is_unread(accepted: &AcceptedView) -> bool {
    accepted.ack.as_ref().is_some_and(|ack| ack.code == AckCode::Applied && ack.detail.is_empty())
}

#[cfg(test)]
mod tests;
