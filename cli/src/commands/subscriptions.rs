//! `edgetwin subscriptions`: what the agent listens to among the topics of applications.

use edge_agent::api::view::{SubscriptionList, SubscriptionState, SubscriptionView};

use crate::client::{Client, ConnectArgs};
use crate::outcome::Outcome;
use crate::output::{OutputArgs, add, faint, print, say, table, text};

/// Show and change what the agent hears of applications' topics
///
/// Filters are MQTT's, for topics that do not begin with $. They are kept until they are removed; what comes over them is
/// told by GET /v1/messages of the local API.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  edgetwin subscriptions add 'default/alarms/#'
  edgetwin subscriptions list -o json
  edgetwin subscriptions remove 'default/alarms/#'")]
pub(crate) enum SubscriptionsCommand {
    /// Show all, and how they stand at each broker
    List(ListArgs),
    /// Subscribe to a filter of topics
    Add(ChangeArgs),
    /// End a subscription
    Remove(ChangeArgs),
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
