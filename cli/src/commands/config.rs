//! `edgetwin config`: what an agent would run with.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use edge_agent::config::{DEFAULT_PATH, File, Setting, Source};
use edge_agent::program::RunArgs;
use serde::Serialize;

use crate::outcome::{Outcome, complain};
use crate::output::{OutputArgs, add, faint, print, say, table, text};

/// Print, check or convert an agent's configuration
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every key with its effective value, and where that comes from
    Print(ConfigArgs),
    /// Check a configuration file, and say what is wrong with it
    Check(ConfigArgs),
    /// Convert KubeEdge's edgecore.yaml into a configuration of ours, or one of ours into that
    Convert(ConvertArgs),
}

/// What to convert.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin config convert /etc/kubeedge/config/edgecore.yaml --to /etc/edgetwin/config.yaml
  edgetwin config convert /etc/edgetwin/config.yaml

The agent also runs with an edgecore.yaml as it stands: edgetwin run --config FILE.")]
pub(crate) struct ConvertArgs {
    /// The file to convert; its apiVersion tells which way
    file: PathBuf,
    /// Where to write it, if nothing is there; else to standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
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
    /// Keys that have no effect.
    unused: Vec<String>,
}

/// Prints, checks or converts.
///
/// # Errors
/// The file cannot be read, or says something wrong.
pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<Outcome> {
    match command {
        ConfigCommand::Print(args) => {
            let rows: Vec<Row> = args.load()?.settings().into_iter().map(Row::from).collect();
            print(args.output.output, &rows, |rows| rows_table(rows))?;
        }
        ConfigCommand::Check(args) => {
            let unused = args.load()?.unused;
            let verdict = Verdict { file: args.file(), valid: true, unused };
            print(args.output.output, &verdict, |verdict| verdict.in_words())?;
        }
        ConfigCommand::Convert(args) => args.convert()?,
    }
    Ok(Outcome::Done)
}

impl ConfigArgs {
    fn run_args(&self) -> RunArgs {
        RunArgs { config: self.config.clone(), ..RunArgs::default() }
    }

    fn load(&self) -> anyhow::Result<File> {
        Ok(self.run_args().configuration()?)
    }

    fn file(&self) -> Option<PathBuf> {
        self.run_args().file()
    }
}

impl ConvertArgs {
    fn convert(&self) -> anyhow::Result<()> {
        let file = File::read(&self.file)?;
        let text = file.converted().map_err(anyhow::Error::msg)?;
        if !file.unused.is_empty() {
            complain(&format!("left out, as it has no effect here: {}", file.unused.join(", ")));
        }
        let Some(to) = &self.to else { return Ok(say(text.trim_end())?) };
        let made =
            std::fs::File::create_new(to).and_then(|mut file| file.write_all(text.as_bytes()));
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("{} is there already; name another file with --to", to.display())
            }
            made => made.with_context(|| format!("write {}", to.display())),
        }
    }
}

impl Verdict {
    fn in_words(&self) -> String {
        let Some(file) = &self.file else {
            return format!("{DEFAULT_PATH} does not exist; the defaults apply, and are fine");
        };
        match self.unused.as_slice() {
            [] => format!("{}: fine", file.display()),
            unused => {
                format!("{}: fine; without effect here: {}", file.display(), unused.join(", "))
            }
        }
    }
}

impl From<Setting> for Row {
    fn from(setting: Setting) -> Self {
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
