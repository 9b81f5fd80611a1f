//! The command tree, and the way from a command to its file.

mod check;
mod completions;
mod config;
mod describe;
mod diagnose;
pub(crate) mod get;
mod history;
mod join;
mod leave;
mod mapper;
mod modbus;
mod run;
mod set;
mod simulate;
mod status;
mod store;
mod subscriptions;
mod token;
mod top;
mod trace;
mod version;
mod watch;

use std::future::Future;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::demo;
use crate::outcome::{EXIT_CODES, Outcome};

/// A device plane for edge gateways: mappers, device twins and a slim agent.
///
/// Start with `edgetwin demo`: simulated Modbus devices, a mapper and an agent in one process, with a live
/// table of what the devices say. Then, in a second terminal, `edgetwin set demo/pump speed=1450 --wait 5s`.
#[derive(Debug, Parser)]
#[command(name = "edgetwin", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Get(get::GetArgs),
    Describe(describe::DescribeArgs),
    Set(set::SetArgs),
    Watch(watch::WatchArgs),
    Top(top::TopArgs),
    Trace(trace::TraceArgs),
    History(history::HistoryArgs),
    Status(status::StatusArgs),
    Check(check::CheckArgs),
    #[command(subcommand)]
    Diagnose(diagnose::DiagnoseCommand),
    Join(join::JoinArgs),
    Leave(leave::LeaveArgs),
    #[command(subcommand)]
    Token(token::TokenCommand),
    #[command(subcommand)]
    Subscriptions(subscriptions::SubscriptionsCommand),
    #[command(subcommand)]
    Store(store::StoreCommand),
    #[command(subcommand)]
    Mapper(mapper::MapperCommand),
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
    #[command(subcommand)]
    Modbus(modbus::ModbusCommand),
    Completions(completions::CompletionsArgs),
    Version(version::VersionArgs),
}

/// Runs one command to its end.
///
/// # Errors
/// What kept it from its work.
pub(crate) fn run(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(args) => on_all_cores(demo::run(args)),
        Command::Run(args) => on_all_cores(run::run(args)),
        Command::Config(command) => config::run(&command),
        Command::Get(args) => on_one_core(get::run(args)),
        Command::Describe(args) => on_one_core(describe::run(args)),
        Command::Set(args) => on_one_core(set::run(args)),
        Command::Watch(args) => on_one_core(watch::run(args)),
        Command::Top(args) => on_one_core(top::run(args)),
        Command::Trace(args) => on_one_core(trace::run(args)),
        Command::History(args) => on_one_core(history::run(args)),
        Command::Status(args) => on_one_core(status::run(args)),
        Command::Check(args) => on_one_core(check::run(args)),
        Command::Diagnose(command) => on_one_core(diagnose::run(command)),
        Command::Join(args) => on_one_core(join::run(args)),
        Command::Leave(args) => leave::run(&args),
        Command::Token(command) => on_one_core(token::run(command)),
        Command::Subscriptions(command) => on_one_core(subscriptions::run(command)),
        Command::Store(command) => store::run(&command),
        Command::Mapper(command) => on_all_cores(mapper::run(command)),
        Command::Simulate(command) => on_all_cores(simulate::run(command)),
        Command::Modbus(command) => modbus::run(&command),
        Command::Completions(args) => completions::run(&args),
        Command::Version(args) => version::run(&args),
    }
}

/// For commands that ask and print.
fn on_one_core(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(work)
}

/// For commands that serve.
fn on_all_cores(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("start the runtime")?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }
}
