//! The log of the commands that run something: to standard error, or to a file where the terminal shows a table.

use std::fs::File;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Where log lines go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Standard error, as text or as JSON lines.
    Stderr {
        /// One JSON object a line.
        json: bool,
    },
    /// A file, begun anew.
    File(&'a Path),
}

/// Starts the log at `level`, a word such as `warn` or a filter such as `info,edge_agent=debug`.
/// `RUST_LOG` wins.
///
/// # Errors
/// The filter is not understood, or the file cannot be made.
pub(crate) fn start(level: &str, target: Target<'_>) -> anyhow::Result<()> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| level.to_owned());
    let filter = EnvFilter::try_new(&level).with_context(|| {
        format!("log level \"{level}\"; write error, warn, info, debug, trace or a filter of them")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match target {
        Target::Stderr { json: true } => log.json().with_writer(std::io::stderr).init(),
        Target::Stderr { json: false } => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .with_writer(std::io::stderr)
                .init();
        }
        Target::File(path) => {
            let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
            log.with_ansi(false).with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}
