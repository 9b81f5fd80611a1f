//! `edgetwin subscriptions`: what the agent listens to among the topics of applications.

use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use edge_agent::api::view::{
    BrokerName, MessageEvent, MessageView, MissedView, SubscriptionList, SubscriptionState,
    SubscriptionView,
};

use super::watch::clock;
use crate::client::{Client, ConnectArgs};
use crate::ending::stopped_or_after;
use crate::outcome::Outcome;
use crate::output::{OutputArgs, add, faint, print, print_item, say, table, text};

/// Show and change what the agent hears of applications' topics
///
/// Filters are MQTT's, for topics that do not begin with $. They are kept until they are removed.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  edgetwin subscriptions add 'default/alarms/#'
  edgetwin subscriptions list -o json
  edgetwin subscriptions watch --duration 10s
  edgetwin subscriptions remove 'default/alarms/#'")]
pub(crate) enum SubscriptionsCommand {
    /// Show all, and how they stand at each broker
    List(ListArgs),
    /// Subscribe to a filter of topics
    Add(ChangeArgs),
    /// End a subscription
    Remove(ChangeArgs),
    /// Print what applications say there, until Ctrl-C
    Watch(WatchArgs),
}

/// How they are shown.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which one.
#[derive(Debug, clap::Args)]
pub(crate) struct ChangeArgs {
    /// The filter, in quotes: + is any level, # any last ones
    filter: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// How long, and how it is shown.
#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    duration: Option<Duration>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Asks the agent and prints.
///
/// # Errors
/// No agent answers, or it refuses.
pub(crate) async fn run(command: SubscriptionsCommand) -> anyhow::Result<Outcome> {
    match command {
        SubscriptionsCommand::List(args) => {
            let list = Client::find(&args.connect).await?.subscriptions().await?;
            print(args.output.output, &list, show)?;
        }
        SubscriptionsCommand::Add(args) => {
            let one = Client::find(&args.connect).await?.subscribe(&args.filter).await?;
            say(&format!("{} is kept", one.filter))?;
        }
        SubscriptionsCommand::Remove(args) => {
            Client::find(&args.connect).await?.unsubscribe(&args.filter).await?;
            say(&format!("{} is removed", args.filter))?;
        }
        SubscriptionsCommand::Watch(args) => return watch(args).await,
    }
    Ok(Outcome::Done)
}

fn show(list: &SubscriptionList) -> String {
    if list.subscriptions.is_empty() {
        return "there is no subscription; add one with `edgetwin subscriptions add FILTER`".into();
    }
    let mut rows = table(&["FILTER", "WRITER", "MESSAGES", "EMBEDDED", "EXTERNAL"]);
    for SubscriptionView { filter, writer, messages, embedded, external, .. } in &list.subscriptions
    {
        let state = |state: &Option<SubscriptionState>| match state {
            Some(state) => state.into(),
            None => faint("-"),
        };
        let cells =
            vec![filter.into(), writer.into(), messages.into(), state(embedded), state(external)];
        add(&mut rows, cells);
    }
    text(&rows)
}

async fn watch(args: WatchArgs) -> anyhow::Result<Outcome> {
    let mut messages = Client::find(&args.connect).await?.messages().await?;
    let mut over = pin!(stopped_or_after(args.duration)?);
    loop {
        let event = tokio::select! {
            () = &mut over => return Ok(Outcome::Done),
            event = messages.next() => event?,
        };
        let Some(event) = event else { bail!("the agent ended the stream of messages") };
        print_item(args.output.output, &event, line)?;
    }
}

/// One event as a line for people.
fn line(event: &MessageEvent) -> String {
    let message = match event {
        MessageEvent::Missed(MissedView { missed: Some(count), .. }) => {
            return format!("{count} messages came too fast and are missed");
        }
        MessageEvent::Missed(MissedView { missed: None, .. }) => {
            return "messages of an earlier run of the agent are missed".into();
        }
        MessageEvent::Message(message) => message,
    };
    let MessageView { time, topic, broker, retained, octets, text, .. } = message;
    let broker = match broker {
        BrokerName::Embedded => "embedded",
        BrokerName::External => "external",
    };
    let kept = if *retained { "  retained" } else { "" };
    let said = match text {
        // A terminal shall not do what a message says.
        Some(text) => text.escape_debug().to_string(),
        None => format!("{octets} octets"),
    };
    format!("{}  {broker}{kept}  {}  {said}", clock(*time), topic.escape_debug())
}
