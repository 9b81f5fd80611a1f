//! The Modbus mapper: parse, bind, run, exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mapper_modbus::ModbusDriver;
use mapper_sdk::{Mapper, MapperConfig, Metrics, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// Reads and writes Modbus devices for an edge agent: TCP, RTU and RTU over TCP.
///
/// Registers with the agent over DMI (edgetwin's or KubeEdge's EdgeCore), gets its devices from there, reports what
/// they say and writes what is desired of them. Runs until SIGTERM, SIGINT or, but for nohup, SIGHUP; then it leaves the
/// safe values on its devices.
#[derive(Parser)]
#[command(name = "mapper-modbus", version, after_help = EXAMPLES)]
struct Arguments {
    /// KubeEdge's mapper configuration: its sockets and its name
    #[arg(long, visible_alias = "config", value_name = "FILE", default_value = "config.yaml")]
    config_file: PathBuf,
    /// Write counters to this file every 10 s, in Prometheus' text format
    #[arg(long, value_name = "FILE")]
    metrics_file: Option<PathBuf>,
    /// Form of the log lines on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

const EXAMPLES: &str = "\
A configuration:
  grpc_server:
    socket_path: /run/edgetwin/modbus.sock   where the agent calls the mapper
  common:
    name: modbus-mapper                      unique on this node
    protocol: modbus                         protocolName of its devices
    edgecore_sock: /run/edgetwin/dmi.sock    where the agent listens
  edgetwin:
    metricsListen: 127.0.0.1:9464            GET /metrics there, or on a socket; nowhere by default

RUST_LOG=debug shows more. Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or configuration.
Without an agent: edgetwin mapper run --once. What goes over the wire: edgetwin modbus plan.
Every option of a device: docs/modbus.md.";

/// Time between two writings of the counters.
const METRICS_EVERY: Duration = Duration::from_secs(10);

/// One thread: a mapper waits far more than it computes, and a hop between threads costs more than a report.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log_format);
    let config = match MapperConfig::load(&arguments.config_file) {
        Ok(config) => config,
        Err(error) => {
            error!("{error:#}");
            return ExitCode::from(2);
        }
    };
    match run(config, arguments.metrics_file).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `RUST_LOG` says what goes to it.
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

async fn run(config: MapperConfig, metrics_file: Option<PathBuf>) -> anyhow::Result<()> {
    let requested = signal::stop_requested()?;
    let mapper = Mapper::bind(config, ModbusDriver::default()).await?;
    let metrics = mapper.metrics();
    let ended = signal::run_until(requested, |stop| async {
        tokio::select! {
            ended = mapper.run(stop) => ended,
            () = write_metrics(metrics_file, metrics.clone()) => Ok(()),
        }
    })
    .await;
    info!(
        reads = metrics.reads.count(),
        writes = metrics.writes.count(),
        late = metrics.discarded.count(),
        reconnects = metrics.reconnects.count(),
        "stopped"
    );
    ended
}

/// Writes the counters now and then; without a file, waits for ever.
async fn write_metrics(file: Option<PathBuf>, metrics: Arc<Metrics>) {
    let Some(file) = file else { return std::future::pending().await };
    let fresh = file.with_extension("new");
    let mut ticks = tokio::time::interval(METRICS_EVERY);
    let mut told = false;
    loop {
        ticks.tick().await;
        let written = async {
            tokio::fs::write(&fresh, metrics.render()).await?;
            tokio::fs::rename(&fresh, &file).await
        };
        match written.await {
            Ok(()) => told = false,
            Err(error) if !told => {
                warn!(file = %file.display(), %error, "counters not written");
                told = true;
            }
            Err(_) => {}
        }
    }
}
