//! The Modbus mapper: parse, bind, run, exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use mapper_modbus::ModbusDriver;
use mapper_sdk::{Mapper, MapperConfig, Metrics};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
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
}

const EXAMPLES: &str = "\
A configuration:
  grpc_server:
    socket_path: /run/edgetwin/modbus.sock   where the agent calls the mapper
  common:
    name: modbus-mapper                      unique on this node
    protocol: modbus                         protocolName of its devices
    edgecore_sock: /run/edgetwin/dmi.sock    where the agent listens

RUST_LOG=debug shows more. Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or configuration.
Without an agent: edgetwin mapper run --once. What goes over the wire: edgetwin modbus plan.
Every option of a device: docs/modbus.md.";

/// Time between two writings of the counters.
const METRICS_EVERY: Duration = Duration::from_secs(10);

/// One thread: a mapper waits far more than it computes, and a hop between threads costs more than a report.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
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

async fn run(config: MapperConfig, metrics_file: Option<PathBuf>) -> anyhow::Result<()> {
    let requested = stop_requested()?;
    let mapper = Mapper::bind(config, ModbusDriver::default()).await?;
    let metrics = mapper.metrics();
    let stop = CancellationToken::new();
    let running = mapper.run(stop.clone());
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = requested => {
            stop.cancel();
            running.await
        }
        () = write_metrics(metrics_file, metrics.clone()) => Ok(()),
    };
    info!(
        reads = metrics.reads.count(),
        writes = metrics.writes.count(),
        late = metrics.discarded.count(),
        reconnects = metrics.reconnects.count(),
        "stopped"
    );
    ended
}

/// Listens for SIGTERM, SIGINT and SIGHUP from now on; the future ends with the first of them. A terminal that closes
/// must not leave devices without their safe values.
fn stop_requested() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // To listen would undo what `nohup` did.
    let mut hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hung_up => {}
        }
    })
}

/// Whether whoever started us wants us to outlive the terminal. The bit of signal n is the n-1st.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
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
