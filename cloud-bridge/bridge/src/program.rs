//! The bridge as a program: configuration, log, signals.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::bridge::Bridge;
use crate::config::{BridgeConfig, ConfigError, DEFAULT_PATH, File, Log, LogFormat};
use crate::error::Error;

/// How the bridge is started.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct RunArgs {
    /// The configuration file, ours or KubeEdge's cloudcore.yaml; else /etc/edgetwin/bridge.yaml where it exists, else
    /// the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why the program ended.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The configuration is wrong: exit code 2.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The filter of the log is wrong: exit code 2.
    #[error(
        "log.level = \"{0}\": write error, warn, info, debug, trace or a filter such as info,cloud_bridge=debug"
    )]
    Log(String),
    /// The system gives no signals: exit code 1.
    #[error("cannot listen to signals: {0}")]
    Signals(#[from] std::io::Error),
    /// The bridge did not start, or a part of it failed: exit code 1.
    #[error(transparent)]
    Bridge(#[from] Error),
}

impl ProgramError {
    /// Whether it is the command line or the configuration that is wrong: exit code 2.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Log(_))
    }
}

impl RunArgs {
    /// The configuration that is asked for.
    ///
    /// # Errors
    /// A file was named, or is there, and cannot be read or says something wrong.
    pub fn configuration(&self) -> Result<File, ConfigError> {
        let default = || Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
        match self.config.clone().or_else(default) {
            Some(path) => File::read(&path),
            None => Ok(File::none()),
        }
    }
}

/// Runs the bridge until Ctrl-C or SIGTERM.
///
/// # Errors
/// What kept it from its work.
pub async fn run(arguments: RunArgs) -> Result<(), ProgramError> {
    let file = arguments.configuration()?;
    start_log(&file.config)?;
    if !file.unused.is_empty() {
        warn!(keys = %file.unused.join(", "), "these keys have no effect here");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let bridge = Bridge::bind(file.config).await?;
    let stop = CancellationToken::new();
    let running = bridge.run(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        _ = terminate.recv() => info!("SIGTERM: stopping"),
        _ = interrupt.recv() => info!("SIGINT: stopping"),
    }
    stop.cancel();
    Ok(running.await?)
}

/// Starts the log on standard error. `RUST_LOG` wins over the configured level.
fn start_log(config: &BridgeConfig) -> Result<(), ProgramError> {
    let Log { level, format } = &config.log;
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| level.clone());
    let filter = EnvFilter::try_new(&level).map_err(|_| ProgramError::Log(level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
        }
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
