//! The edge agent as a program: parse, bind, run, exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use edge_agent::config::{DEFAULT_PATH, Log, LogFormat};
use edge_agent::{Agent, AgentConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Worker threads: one works, one answers meanwhile. The twins have a thread of their own.
const WORKERS: usize = 2;
/// Exit code for a wrong command line or configuration.
const USAGE: u8 = 2;

/// Keeps the twins of this machine's devices and serves them to mappers (DMI), local apps (MQTT) and people (HTTP on
/// a Unix socket).
///
/// Devices are defined by DeviceModel and Device manifests, the files one would `kubectl apply`, in a folder that is
/// watched: put a file there and its devices appear, remove it and they go.
#[derive(Debug, Parser)]
#[command(
    name = "edge-agent",
    version,
    after_help = "Without --config, /etc/edgetwin/config.yaml is read if it is there; every key has a default.\n\
        The defaults keep twins in /var/lib/edgetwin, sockets in /run/edgetwin, MQTT on 127.0.0.1:1883.\n\
        \n\
        Try it:   edge-agent --manifests ./my-devices\n\
        Look:     edgetwin get     Change: edgetwin set demo/pump speed=1450\n\
        Check:    edgetwin config check     Effective values: edgetwin config print\n\
        \n\
        Exit codes: 0 stopped on request (SIGTERM, SIGINT); 1 a fault; 2 wrong arguments or configuration"
)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The manifests folder, in place of the configured one.
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match configure(arguments) {
        Ok(config) => config,
        Err(error) => return complain(&error, USAGE),
    };
    if let Err(error) = log(&config.log) {
        return complain(&error, USAGE);
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a program")]
fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("edge-agent: {error:#}");
    ExitCode::from(code)
}

fn configure(arguments: Arguments) -> anyhow::Result<AgentConfig> {
    let default = Path::new(DEFAULT_PATH);
    let mut config = match &arguments.config {
        Some(path) => AgentConfig::load(path)?,
        None if default.exists() => AgentConfig::load(default)?,
        None => AgentConfig::default(),
    };
    if let Some(dir) = arguments.manifests {
        config.manifests.dir = dir;
    }
    Ok(config)
}

fn log(config: &Log) -> anyhow::Result<()> {
    // The lines of the MQTT libraries, one for each try or packet, are for those who ask for them.
    let quiet = "mqtt5=warn,mqtt5::broker::client_handler=error,rumqttc=off,rumqttc_core=off";
    let filter = EnvFilter::try_new(format!("{quiet},{}", config.level)).with_context(|| {
        format!("log.level = \"{}\": write error, warn, info, debug or trace", config.level)
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

fn run(config: AgentConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let agent = Agent::bind(config).await?;
        let running = agent.run(stop.clone());
        tokio::pin!(running);
        tokio::select! {
            result = &mut running => return Ok(result?),
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
        }
        stop.cancel();
        Ok(running.await?)
    })
}
