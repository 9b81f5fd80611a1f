//! The endurance lines at full size; `./test` runs a small size of each through the same code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use e2e::long;
use serde_json::{Value as Json, json};

/// Runs one endurance line and prints what it counted as JSON; the exit code is 1 where the line does not hold.
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
    /// Random histories of one device: writers that race, kills, deletions; nothing acknowledged is lost or comes back (row
    /// 13).
    Histories {
        /// How many; each has a random number, which names it where it breaks.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Random number of the first one: with `--seeds 1` that one is lived through again.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Steps of each.
        #[arg(long, default_value_t = 60)]
        steps: usize,
    },
    /// Random histories of a gateway beneath a cloud, with a real API server: writers on both sides, cuts, kills, lost and old
    /// stores; in the end both agree, and nothing older was ever shown.
    CloudHistories {
        /// How many; each has a random number, which names it where it breaks.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// Random number of the first one: with `--seeds 1` that one is lived through again.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Steps of each.
        #[arg(long, default_value_t = 12)]
        steps: usize,
    },
    /// Kill -9 of a process that writes into the store: nothing committed is lost, also in the midst of a fold.
    StoreKills {
        /// How often it is killed.
        #[arg(long, default_value_t = 1000)]
        kills: usize,
    },
    /// RST, FIN, black hole and half-open connections in turn: always read again, nothing left behind (row 1).
    Reconnects {
        /// How often the device goes away.
        #[arg(long, default_value_t = 100)]
        cycles: usize,
    },
    /// A serial line at 9600 baud: silence between frames, each unit's own answers (row 2).
    Rtu {
        /// Requests on the line; 20,000 take ten minutes.
        #[arg(long, default_value_t = 20_000)]
        requests: u64,
    },
    /// 32 devices behind a gateway that takes one connection (row 2).
    OneConnection {
        /// Cycles of 100 ms that each device has.
        #[arg(long, default_value_t = 6000)]
        cycles: u32,
    },
    /// One to three of 16 units silent: the others keep 95 % of their readings (row 3).
    SilentUnits {
        /// Rounds of falling silent and coming back.
        #[arg(long, default_value_t = 15)]
        rounds: u8,
    },
    /// Answers that come after they were given up, in as many readings as an hour at 10 Hz has (row 6).
    Late {
        /// Requests on each of two wires.
        #[arg(long, default_value_t = 36_000)]
        requests: u64,
    },
    /// Mapper and agent stopped and killed in turn: nothing desired is lost or written twice (row 8).
    Restarts {
        /// How often a part goes away.
        #[arg(long, default_value_t = 50)]
        restarts: u16,
    },
    /// Writes on a line that polling fills (row 24).
    FullBus {
        /// Values that are set.
        #[arg(long, default_value_t = 1000)]
        writes: u16,
    },
    /// Values, devices, connections and subscribers that come and go: memory stays flat (row 24).
    Memory {
        /// Rounds of coming and going; 700 take ten minutes.
        #[arg(long, default_value_t = 700)]
        rounds: usize,
    },
    /// 200 devices, each property another value every minute, by a simulated clock: disk and memory stay flat.
    Days {
        /// Hours of that clock.
        #[arg(long, default_value_t = 72)]
        hours: u64,
    },
    /// Devices that come and go every second: two changes of state a minute at most (row 29).
    Flapping {
        /// Seconds of flapping.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Power of a whole machine cut at random moments: nothing acknowledged is lost, reported values of one `store.sync`
    /// at most (row 11).
    PowerCuts {
        /// How often power goes; each takes some ten seconds.
        #[arg(long, default_value_t = 200)]
        cuts: usize,
    },
    /// schemathesis asks the local API whatever its document allows and forbids.
    ApiFuzz {
        /// Seconds of asking.
        #[arg(long, default_value_t = 900)]
        seconds: u64,
    },
    /// All of them, one after the other.
    All,
    /// What runs in that machine.
    #[command(hide = true)]
    Load {
        #[arg(long)]
        dmi: PathBuf,
        #[arg(long)]
        api: PathBuf,
    },
}

/// Every line, in the order in which `all` runs them.
const ALL: [&str; 16] = [
    "kills",
    "histories",
    "cloud-histories",
    "store-kills",
    "restarts",
    "reconnects",
    "full-bus",
    "late",
    "silent-units",
    "rtu",
    "one-connection",
    "flapping",
    "memory",
    "days",
    "power-cuts",
    "api-fuzz",
];

#[tokio::main]
async fn main() -> Result<ExitCode> {
    if long::store_kills::write_until_killed()? {
        return Ok(ExitCode::SUCCESS);
    }
    let line = Long::parse().line;
    let lines = match line {
        Line::Load { dmi, api } => {
            e2e::power::load(&dmi, &api).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Line::All => ALL.iter().map(|name| Long::parse_from(["long", name]).line).collect(),
        line => vec![line],
    };
    let mut held = true;
    for line in lines {
        let start = Instant::now();
        let mut counted = run(line).await?;
        held &= counted["broken"].as_array().is_some_and(Vec::is_empty);
        counted["took_seconds"] = start.elapsed().as_secs().into();
        #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
        {
            println!("{counted:#}");
        }
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the line counted.
async fn run(line: Line) -> Result<Json> {
    Ok(match line {
        Line::Kills { kills } => json!(e2e::crash::kills(kills).await?),
        Line::Histories { seeds, first, steps } => {
            json!(long::histories::run(long::histories::Size { first, seeds, steps }).await?)
        }
        Line::CloudHistories { seeds, first, steps } => {
            json!(long::joined::run(long::joined::Size { first, seeds, steps }).await?)
        }
        Line::StoreKills { kills } => {
            let writer = || Ok(std::process::Command::new(std::env::current_exe()?));
            json!(long::store_kills::run(kills, writer)?)
        }
        Line::Reconnects { cycles } => json!(long::reconnects::run(cycles).await?),
        Line::Rtu { requests } => json!(long::rtu::run(requests).await?),
        Line::OneConnection { cycles } => json!(long::one_connection::run(cycles).await?),
        Line::SilentUnits { rounds } => {
            // 16 units with three transactions a second use a third of such a line.
            let (time_out, baud) = (Duration::from_millis(500), Some(38_400));
            let size = long::silent_units::Size { rounds, cycles: 20, time_out, baud };
            json!(long::silent_units::run(size).await?)
        }
        Line::Late { requests } => json!(long::late::run(requests).await?),
        Line::Restarts { restarts } => json!(long::restarts::run(restarts).await?),
        Line::FullBus { writes } => {
            json!(long::full_bus::run(writes, Duration::from_millis(50)).await?)
        }
        Line::Memory { rounds } => json!(long::memory::run(rounds).await?),
        Line::Days { hours } => json!(long::days::run(hours, true)?),
        Line::Flapping { seconds } => json!(long::flapping::run(seconds).await?),
        Line::ApiFuzz { seconds } => {
            json!(e2e::api_peers::fuzz(Duration::from_secs(seconds)).await?)
        }
        Line::PowerCuts { cuts } => json!(e2e::power::run(cuts, 20).await?),
        Line::All | Line::Load { .. } => anyhow::bail!("this is no line of its own"),
    })
}
