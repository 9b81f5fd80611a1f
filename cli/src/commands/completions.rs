//! `edgetwin completions`: what a shell needs to complete a command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::commands::Cli;
use crate::outcome::Outcome;
use crate::output::say;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  source <(edgetwin completions bash)\n  edgetwin completions zsh > ~/.zfunc/_edgetwin"
)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Nobody reads any more.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "edgetwin", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Outcome::Done)
}
