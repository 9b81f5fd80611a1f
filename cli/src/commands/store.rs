//! `edgetwin store`: what an agent that does not run has in its store.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::Subcommand;
use device_model::Timestamp;
use device_twin::store::{Content, Document, Inspected, Left, Taken, take_edgecore};
use device_twin::{SqliteStore, StoreError};
use edge_agent::program::RunArgs;
use serde::Serialize;

use crate::outcome::Outcome;
use crate::output::{OutputArgs, print, say};

/// What every SQLite database begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

/// Check, export or import the store of an agent that does not run
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read a store whole, change nothing, and say what is in it or what is wrong with it
    Check(CheckArgs),
    /// Write everything that a store holds as one JSON document
    Export(ExportArgs),
    /// Make a store of an export, or of KubeEdge's edgecore.db
    Import(ImportArgs),
}

/// Which store.
#[derive(Debug, clap::Args)]
struct Place {
    /// The store's directory; else the one that the agent's configuration names
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Which store, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which store, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin store export -o backup.json
  edgetwin store export --dir /var/lib/edgetwin | gzip > backup.json.gz")]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// Where to write it, if nothing is there; else to standard output
    #[arg(short = 'o', long = "to", value_name = "FILE")]
    to: Option<PathBuf>,
}

/// What to import, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgetwin store import backup.json
  edgetwin store import /var/lib/kubeedge/edgecore.db --dir /var/lib/edgetwin

Run it as the user that the agent runs as. A device that no manifest describes when the agent starts is removed: put
the manifests in place first.")]
pub(crate) struct ImportArgs {
    /// An export, an edgecore.db, or the twins.db of a store beside its other files
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Import also where there is something already; that is kept aside
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    database: PathBuf,
    sound: bool,
    /// What is wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Extent>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extent {
    format: u32,
    epoch: u64,
    devices: usize,
    properties: usize,
    tombstones: usize,
    objects: usize,
    journal_frames: u64,
    journal_octets: u64,
    /// In hexadecimal digits.
    journal_generation: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    database: PathBuf,
    epoch: u64,
    devices: usize,
    properties: usize,
    desired: usize,
    reported: usize,
    objects: usize,
    /// Where what was there before is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    aside: Option<PathBuf>,
    /// What was not taken.
    left: Vec<Left>,
}

/// Checks, exports or imports.
///
/// # Errors
/// The store is in use, or a file cannot be read or written.
pub(crate) fn run(command: &StoreCommand) -> anyhow::Result<Outcome> {
    match command {
        StoreCommand::Check(args) => args.check(),
        StoreCommand::Export(args) => args.export(),
        StoreCommand::Import(args) => args.import(),
    }
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn scratch() -> anyhow::Result<tempfile::TempDir> {
    tempfile::tempdir()
        .context("make a directory for a copy of the store; set TMPDIR to one with room")
}

impl Place {
    fn database(&self) -> anyhow::Result<PathBuf> {
        let dir = match &self.dir {
            Some(dir) => dir.clone(),
            None => RunArgs::default().configuration()?.config.store.dir,
        };
        Ok(dir.join(SqliteStore::FILE))
    }

    /// The database, which is there.
    fn existing(&self) -> anyhow::Result<PathBuf> {
        let database = self.database()?;
        if !database.try_exists().with_context(|| format!("look for {}", database.display()))? {
            bail!("there is no {}; name the store's directory with --dir", database.display());
        }
        Ok(database)
    }
}

impl CheckArgs {
    fn check(&self) -> anyhow::Result<Outcome> {
        let database = self.place.existing()?;
        let verdict = match SqliteStore::inspect(&database, scratch()?.path()) {
            Ok(inspected) => {
                let content = Some(Extent::of(&inspected));
                Verdict { database, sound: true, damage: None, content }
            }
            Err(error @ StoreError::Damaged { .. }) => {
                let damage = Some(error.to_string());
                Verdict { database, sound: false, damage, content: None }
            }
            Err(error) => return Err(error.into()),
        };
        print(self.output.output, &verdict, Verdict::in_words)?;
        Ok(if verdict.sound { Outcome::Done } else { Outcome::Refused })
    }
}

impl Extent {
    fn of(Inspected { format, content, journal }: &Inspected) -> Self {
        Self {
            format: *format,
            epoch: content.epoch,
            devices: content.twins.len(),
            properties: content.properties(),
            tombstones: content.tombstones.len(),
            objects: content.objects.len(),
            journal_frames: journal.frames,
            journal_octets: journal.octets,
            journal_generation: format!("{:016x}", journal.generation),
        }
    }
}

impl Verdict {
    fn in_words(&self) -> String {
        let place = self.database.display();
        let Some(extent) = &self.content else {
            return self.damage.clone().unwrap_or_default();
        };
        let Extent { format, epoch, devices, properties, tombstones, objects, .. } = extent;
        let Extent { journal_frames, journal_octets, journal_generation, .. } = extent;
        format!(
            "{place}: fine\n\
             format {format}, epoch {epoch}\n\
             {devices} devices, {properties} properties, {tombstones} tombstones, {objects} objects\n\
             journal: {journal_frames} frames in {journal_octets} octets, generation {journal_generation}"
        )
    }
}

impl ExportArgs {
    fn export(&self) -> anyhow::Result<Outcome> {
        let inspected = SqliteStore::inspect(&self.place.existing()?, scratch()?.path())?;
        let text = serde_json::to_string_pretty(&Document::new(&inspected.content, now()))?;
        let Some(to) = &self.to else {
            say(&text)?;
            return Ok(Outcome::Done);
        };
        // What devices say is nobody else's.
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        let mut file = file.with_context(|| format!("make {}", to.display()))?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("write {}", to.display()))?;
        Ok(Outcome::Done)
    }
}

impl ImportArgs {
    fn import(&self) -> anyhow::Result<Outcome> {
        let Taken { content, left } = read(&self.file)?;
        let database = self.place.database()?;
        let replaced = self.make_room(&database)?;
        let content = content.restored(replaced.as_ref(), now());
        let dir = database.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        let workplace = tempfile::Builder::new().prefix(".import-").tempdir_in(dir);
        let workplace = workplace.with_context(|| format!("work in {}", dir.display()))?;
        let aside = SqliteStore::replace(&database, &content, workplace.path(), now())?;
        let imported = Imported::of(database, &content, aside, left);
        print(self.output.output, &imported, Imported::in_words)?;
        Ok(if imported.left.is_empty() { Outcome::Done } else { Outcome::Degraded })
    }

    /// Whether there may be another store; what is in the one that is there, if it can be read.
    fn make_room(&self, database: &Path) -> anyhow::Result<Option<Content>> {
        if !database.try_exists()? {
            return Ok(None);
        }
        let place = database.display();
        match SqliteStore::inspect(database, scratch()?.path()) {
            Ok(Inspected { content, .. }) if self.force || content.is_empty() => Ok(Some(content)),
            Ok(Inspected { content, .. }) => bail!(
                "{place} holds {} devices; --force keeps them aside and imports, or name another directory with --dir",
                content.twins.len()
            ),
            Err(StoreError::Damaged { .. }) if self.force => Ok(None),
            Err(StoreError::Damaged { reason, .. }) => {
                bail!("{place} is damaged ({reason}); --force keeps it aside and imports")
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads what is to be imported, whatever it is.
fn read(path: &Path) -> anyhow::Result<Taken> {
    let cannot = || format!("read {}", path.display());
    let mut start = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(16).read_to_end(&mut start).with_context(cannot)?;
    if start != SQLITE {
        let file = BufReader::new(File::open(path).with_context(cannot)?);
        let document: Document = serde_json::from_reader(file)
            .with_context(|| format!("{} is no export of a store", path.display()))?;
        let content = document.content().with_context(cannot)?;
        return Ok(Taken { content, left: Vec::new() });
    }
    if let Some(taken) = take_edgecore(path, scratch()?.path(), now())? {
        return Ok(taken);
    }
    let content = SqliteStore::inspect(path, scratch()?.path())?.content;
    Ok(Taken { content, left: Vec::new() })
}

impl Imported {
    fn of(database: PathBuf, content: &Content, aside: Option<PathBuf>, left: Vec<Left>) -> Self {
        let states = || content.twins.iter().flat_map(|twin| &twin.properties);
        Self {
            database,
            epoch: content.epoch,
            devices: content.twins.len(),
            properties: content.properties(),
            desired: states().filter(|one| one.state.desired.is_some()).count(),
            reported: states().filter(|one| one.state.reported.is_some()).count(),
            objects: content.objects.len(),
            aside,
            left,
        }
    }

    fn in_words(&self) -> String {
        let Self { database, epoch, devices, properties, desired, reported, objects, .. } = self;
        let mut text = format!(
            "{}: {devices} devices, {properties} properties ({desired} desired values, {reported} reported), \
             {objects} objects; epoch {epoch}",
            database.display()
        );
        if let Some(aside) = &self.aside {
            text.push_str(&format!("\nwhat was there is now {}", aside.display()));
        }
        for Left { name, reason } in &self.left {
            text.push_str(&format!("\nnot taken: {name}: {reason}"));
        }
        text
    }
}
