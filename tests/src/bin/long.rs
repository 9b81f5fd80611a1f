//! The endurance lines at full size; `./test` runs a small size of each through the same code.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Runs one endurance line and prints what it counted as JSON; the exit code is 1 where something was lost.
#[derive(Parser)]
#[command(name = "./test long", subcommand_required = true, arg_required_else_help = true)]
struct Long {
    #[command(subcommand)]
    line: Line,
}

#[derive(Subcommand)]
enum Line {
    /// Kill -9 of the agent at random moments under load: nothing acknowledged is lost.
    Kills {
        /// How often it is killed.
        #[arg(long, default_value_t = 100)]
        kills: usize,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let (line, good) = match Long::parse().line {
        Line::Kills { kills } => {
            let kills = e2e::crash::kills(kills).await?;
            let good = kills.lost == 0 && kills.revisions_back == 0;
            (serde_json::to_value(kills)?, good)
        }
    };
    #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
    {
        println!("{line:#}");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
