//! Speed and memory of whole paths, each beside a raw baseline or a peer in the same run; JSON on standard output.
//!
//! `./bench LINE`; without a line it lists them. The figures that were last
//! measured stand in `docs/performance.md`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use e2e::bench;
use e2e::kubeedge::Programs;

/// Measures one line and prints it as JSON.
#[derive(Parser)]
#[command(name = "bench", subcommand_required = true, arg_required_else_help = true)]
struct Bench {
    #[command(subcommand)]
    line: Line,
}

#[derive(Subcommand)]
enum Line {
    /// Start of the agent until a mapper is registered; beside it, start of a process that does nothing.
    Start {
        /// Starts that are counted.
        #[arg(long, default_value_t = 20)]
        runs: usize,
    },
    /// Reports accepted and committed a second, from a Go client, the agent on one processor.
    Dmi {
        /// Seconds of load for each number of values a call.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Resident memory of the agent with 20 x 5 and 1,000 x 10 properties and a mapper.
    Memory {
        /// Reports of each device, one a second, before the memory is read.
        #[arg(long, default_value_t = 10)]
        rounds: i64,
    },
    /// The Modbus mapper: registers a second beside a bare tokio-modbus loop; processor time and memory with 100 units.
    Modbus {
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// The Modbus mapper beside Telegraf: processor time and memory with 100 units of 20 registers at one second.
    Telegraf {
        /// Seconds of measurement.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// 500 sequential updates of one property: how many arrive out of order at an MQTT subscriber.
    Order,
    /// Share of a serial line at 9600 baud that the mapper uses.
    Rtu {
        /// Seconds of polling, if it leaves no pause: so many transactions are counted.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// The event bus with 200 devices and 50 subscribers; beside it, Mosquitto with as many.
    Mqtt {
        /// Seconds of each load.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Updates a second where times are measured; a tenth of it with 50 subscribers.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(10..))]
        rate: u64,
    },
    /// What a running agent writes to the disk with 100 x 10 properties at one second, of which 1 % and all change.
    Disk {
        /// Seconds of each load; the figures are for a day.
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
    },
    /// The same for the store alone, by the twins' clock: a whole day in some minutes.
    Day {
        /// So many percent of the values change each second.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=100))]
        percent: u8,
        /// Seconds that pass by the twins' clock.
        #[arg(long, default_value_t = 24 * 3600, value_parser = clap::value_parser!(i64).range(1..))]
        seconds: i64,
    },
    /// Opening a store of 1,000 x 10 after a stop, and after a kill with a full journal.
    Recovery {
        /// Times that each is opened.
        #[arg(long, default_value_t = 20)]
        runs: usize,
    },
    /// A value's way through the cloud, down and up, and the memory of both ends; beside it CloudCore and EdgeCore.
    Cloud {
        /// Values each way; EdgeCore takes a hundred reports at once and then one a second.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
        values: u16,
        #[command(flatten)]
        programs: KubeEdge,
    },
    /// Many simulated nodes on one bridge: memory, reconnects, traffic at rest; beside it CloudCore.
    Nodes {
        /// Nodes.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
        nodes: u16,
        /// Devices of each.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
        devices: u16,
        /// Seconds of rest in which their traffic is counted.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
        rest: u64,
        #[command(flatten)]
        programs: KubeEdge,
    },
    /// From `edgetwin set` to the register, with polling at full load.
    Set {
        /// Values that are set.
        #[arg(long, default_value_t = 500)]
        runs: u16,
    },
}

/// KubeEdge's programs, which are left out where they are not named; `./test interop --help` says where to get them.
#[derive(Args)]
struct KubeEdge {
    /// KubeEdge's CloudCore
    #[arg(long, value_name = "PATH", env = "EDGETWIN_CLOUDCORE")]
    cloudcore: Option<PathBuf>,
    /// KubeEdge's EdgeCore; wants root
    #[arg(long, value_name = "PATH", env = "EDGETWIN_EDGECORE")]
    edgecore: Option<PathBuf>,
    /// KubeEdge's custom resource definitions, a file or a folder; default: those of `cloud-bridge crds`
    #[arg(long, value_name = "PATH", env = "EDGETWIN_KUBEEDGE_CRDS")]
    crds: Option<PathBuf>,
}

impl From<KubeEdge> for Programs {
    fn from(KubeEdge { cloudcore, edgecore, crds }: KubeEdge) -> Self {
        Self { cloudcore, edgecore, crds }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let line = match Bench::parse().line {
        Line::Start { runs } => serde_json::to_value(bench::start::run(runs).await?)?,
        Line::Dmi { seconds } => serde_json::to_value(bench::dmi::run(seconds).await?)?,
        Line::Memory { rounds } => serde_json::to_value(bench::memory::run(rounds).await?)?,
        Line::Mqtt { seconds, rate } => {
            serde_json::to_value(bench::mqtt::run(seconds, rate).await?)?
        }
        Line::Rtu { seconds } => serde_json::to_value(bench::rtu::run(seconds).await?)?,
        Line::Cloud { values, programs } => {
            serde_json::to_value(bench::cloud::run(values.into(), &programs.into()).await?)?
        }
        Line::Nodes { nodes, devices, rest, programs } => {
            let size = bench::nodes::Size {
                nodes: nodes.into(),
                devices: devices.into(),
                rest: Duration::from_secs(rest),
            };
            serde_json::to_value(bench::nodes::run(size, &programs.into()).await?)?
        }
        Line::Set { runs } => serde_json::to_value(bench::set::run(runs).await?)?,
        Line::Modbus { seconds } => serde_json::to_value(bench::modbus::run(seconds).await?)?,
        Line::Telegraf { seconds } => serde_json::to_value(bench::telegraf::run(seconds).await?)?,
        Line::Disk { seconds } => serde_json::to_value(bench::disk::run(seconds).await?)?,
        Line::Day { percent, seconds } => {
            let day = bench::day::run(percent, seconds, &std::env::temp_dir())?;
            serde_json::to_value(day)?
        }
        Line::Recovery { runs } => serde_json::to_value(bench::recovery::run(runs)?)?,
        Line::Order => serde_json::to_value(bench::order::run(500).await?)?,
    };
    #[expect(clippy::print_stdout, reason = "the figures are this program's output")]
    {
        println!("{line:#}");
    }
    Ok(ExitCode::SUCCESS)
}
