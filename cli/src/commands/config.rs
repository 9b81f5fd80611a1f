//! `edgetwin config`: what an agent would run with.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use edge_agent::AgentConfig;
use edge_agent::config::{DEFAULT_PATH, Source, settings};
use serde::Serialize;

use crate::outcome::Outcome;
use crate::output::{OutputArgs, add, faint, print, table, text};

/// Print or check an agent's configuration
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every key with its effective value, and where that comes from
    Print(ConfigArgs),
    /// Check a configuration file, and say what is wrong with it
    Check(ConfigArgs),
}

/// Which file, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file; else /etc/edgetwin/config.yaml where it exists, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Row {
    key: String,
    value: serde_json::Value,
    source: &'static str,
}

#[derive(Serialize)]
struct Verdict {
    file: Option<PathBuf>,
    valid: bool,
}

/// Prints or checks.
///
/// # Errors
/// The file cannot be read, or says something wrong.
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Print(args) => {
            let file = chosen(args.config.as_deref());
            let config = load(file.as_deref())?;
            let text = match &file {
                Some(file) => std::fs::read_to_string(file)
                    .with_context(|| format!("read {}", file.display()))?,
                None => String::new(),
            };
            let rows: Vec<Row> = settings(&config, &text).into_iter().map(Row::from).collect();
            print(args.output.output, &rows, |rows| rows_table(rows))?;
        }
        ConfigCommand::Check(args) => {
            let file = chosen(args.config.as_deref());
            load(file.as_deref())?;
            let verdict = Verdict { file, valid: true };
            print(args.output.output, &verdict, |verdict| match &verdict.file {
                Some(file) => format!("{}: fine", file.display()),
                None => format!("{DEFAULT_PATH} does not exist; the defaults apply, and are fine"),
            })?;
        }
    }
    Ok(Outcome::Done)
}

/// The file that was named, or the system's where there is one.
pub(crate) fn chosen(named: Option<&Path>) -> Option<PathBuf> {
    match named {
        Some(path) => Some(path.to_owned()),
        None => Some(PathBuf::from(DEFAULT_PATH)).filter(|path| path.exists()),
    }
}

/// The configuration in `file`, or the defaults.
///
/// # Errors
/// The file cannot be read, or says something wrong.
pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<AgentConfig> {
    Ok(match file {
        Some(file) => AgentConfig::load(file)?,
        None => AgentConfig::default(),
    })
}

impl From<edge_agent::config::Setting> for Row {
    fn from(setting: edge_agent::config::Setting) -> Self {
        let source = match setting.source {
            Source::Default => "default",
            Source::File => "file",
        };
        Self { key: setting.key, value: setting.value, source }
    }
}

fn rows_table(rows: &[Row]) -> String {
    let mut lines = table(&["KEY", "VALUE", "FROM"]);
    for row in rows {
        let value = match &row.value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let source = if row.source == "file" { row.source.into() } else { faint(row.source) };
        add(&mut lines, vec![(&row.key).into(), value.into(), source]);
    }
    text(&lines)
}
