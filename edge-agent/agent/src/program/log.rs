//! The log of the program: to standard error, at a level that can change.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use super::ProgramError;
use crate::config::{Log, LogFormat};

/// The lines of the MQTT libraries, one for each try, packet or message that a slow subscriber loses, are for those who
/// ask for them.
const QUIET: &str = "mqtt5=warn,mqtt5::broker::client_handler=error,mqtt5::broker::storage=error,rumqttc=off,rumqttc_core=off";

/// Changes the level of the log.
#[derive(Debug)]
pub(super) struct Level(reload::Handle<EnvFilter, Registry>);

/// Starts the log. `RUST_LOG` wins over the configured level.
///
/// # Errors
/// The filter is not understood.
pub(super) fn start(config: &Log) -> Result<Level, ProgramError> {
    let (filter, handle) = reload::Layer::new(filter(config)?);
    let registry = tracing_subscriber::registry().with(filter);
    match config.format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).init();
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).init(),
    }
    Ok(Level(handle))
}

impl Level {
    /// Sets the level anew.
    ///
    /// # Errors
    /// The filter is not understood; the former level stays.
    pub(super) fn set(&self, config: &Log) -> Result<(), ProgramError> {
        let filter = filter(config)?;
        self.0.reload(filter).map_err(|error| ProgramError::Log(error.to_string()))
    }
}

fn filter(config: &Log) -> Result<EnvFilter, ProgramError> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| config.level.clone());
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| {
        ProgramError::Log(format!(
            "log.level = \"{level}\": {error}; write error, warn, info, debug, trace or a filter such as \
             info,edge_agent=debug"
        ))
    })
}
