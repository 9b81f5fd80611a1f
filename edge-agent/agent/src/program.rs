//! The agent as a program, for `edge-agent` and `edgetwin run` alike: configuration, log, signals.

mod log;
mod service;

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{ConfigError, DEFAULT_PATH, File, LogFormat};
use crate::{Agent, Error, Reloader};

/// How the agent is started.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub struct RunArgs {
    /// The configuration file, ours or KubeEdge's edgecore.yaml; else /etc/edgetwin/config.yaml where it exists, else
    /// the defaults. SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The manifests folder, in place of the configured one
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// How log lines are written, in place of the configured way
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Why the program ended.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The configuration is wrong: exit code 2.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The filter of the log is wrong: exit code 2.
    #[error("{0}")]
    Log(String),
    /// The system gives no signals: exit code 1.
    #[error("cannot listen to signals: {0}")]
    Signals(#[from] std::io::Error),
    /// The agent did not start, or a part of it failed: exit code 1.
    #[error(transparent)]
    Agent(#[from] Error),
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
        let mut file = match self.file() {
            Some(path) => File::read(&path)?,
            None => File::none(),
        };
        if let Some(dir) = &self.manifests {
            file.config.manifests.dir.clone_from(dir);
        }
        if let Some(format) = self.log_format {
            file.config.log.format = format;
        }
        Ok(file)
    }

    /// The file that was named, or the system's where there is one.
    pub fn file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists());
        self.config.clone().or_else(default)
    }
}

/// Runs the agent until Ctrl-C or SIGTERM; SIGHUP reads the configuration again.
///
/// # Errors
/// What kept it from its work.
pub async fn run(arguments: RunArgs) -> Result<(), ProgramError> {
    let file = arguments.configuration()?;
    let log = log::start(&file.config.log)?;
    if !file.unused.is_empty() {
        let path = arguments.file().unwrap_or_default();
        warn!(file = %path.display(), keys = %file.unused.join(", "), "these keys have no effect here");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let agent = Agent::bind(file.config).await?;
    let (stop, reloader) = (CancellationToken::new(), agent.reloader());
    let running = agent.run(stop.clone());
    tokio::pin!(running);
    // Whoever connects from now on is answered, as soon as the rest is there.
    service::ready();
    let mut watchdog = service::Watchdog::new();
    loop {
        tokio::select! {
            result = &mut running => return Ok(result?),
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("SIGINT: stopping"),
            _ = hangup.recv() => {
                reload(&arguments, &reloader, &log);
                continue;
            }
            () = watchdog.is_due() => {
                service::alive();
                continue;
            }
        }
        service::stopping();
        stop.cancel();
        return Ok(running.await?);
    }
}

/// A configuration that is wrong changes nothing.
fn reload(arguments: &RunArgs, reloader: &Reloader, log: &log::Level) {
    let taken = arguments.configuration().map_err(ProgramError::from).and_then(|file| {
        log.set(&file.config.log)?;
        Ok(file.config)
    });
    match taken.map(|config| reloader.reload(config)) {
        Ok(reloaded) => {
            for reason in &reloaded.kept {
                error!(reason, "SIGHUP: a file is wrong; what was read from it before stays");
            }
            info!(
                applied = %reloaded.applied.join(", "),
                at_next_start = %reloaded.at_next_start.join(", "),
                "SIGHUP: the configuration was read again"
            );
        }
        Err(error) => error!(%error, "SIGHUP: the configuration is wrong; the former one stays"),
    }
}
