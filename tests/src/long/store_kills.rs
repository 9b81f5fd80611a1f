//! A process that writes into the store as fast as it goes, killed at random moments: what it was told is committed is
//! there, the store opens, and no revision goes back.
//!
//! The writer is the program that runs this, started again and told by its environment to write until it dies. Its
//! journal is a small one, so that many kills fall into a fold.

use std::io::{BufRead, BufReader, Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use device_model::{DeviceId, Reading, Timestamp, Value};
use device_twin::{
    Command as Ask, Desire, PropertyReport, Report, Settings, SqliteStore, Twins, Writer,
};
use rand::RngExt;
use serde::Serialize;

use super::Broken;
use crate::fleet::resolved;

/// The variable that names the writer's file.
pub const FILE: &str = "EDGETWIN_STORE_KILLS_FILE";
const DEVICES: usize = 3;
const PROPERTIES: usize = 4;
/// Octets of the journal: a hundred commits fill it.
const JOURNAL: u64 = 8192;
/// The writer is killed after at most so many commits.
const COMMITS: usize = 300;

/// What a run of kills showed.
#[derive(Debug, Default, Serialize)]
pub struct StoreKills {
    /// How often the writer was killed.
    pub kills: usize,
    /// Commits that it said were done.
    pub commits: usize,
    /// Kills after which something was there that it had no time to say.
    pub committed_unsaid: usize,
    /// Values that came back older than said.
    pub lost: usize,
    /// Devices whose revision went back.
    pub revisions_back: usize,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// What a device has: revision, newest reported and newest desired number.
type Row = [i64; 3];

fn open(file: &Path) -> Result<Twins<SqliteStore>> {
    let store = SqliteStore::with_journal(file, JOURNAL)?;
    let mut twins = Twins::open(store, Settings::default(), now())?;
    let load: Vec<_> = resolved(DEVICES, PROPERTIES)?.into_iter().map(Ask::Load).collect();
    twins.apply(load, now())?;
    Ok(twins)
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

fn device(number: usize) -> Result<DeviceId> {
    Ok(DeviceId::new("bench", &format!("d{number}"))?)
}

/// The device's row as the store has it.
fn row(twins: &Twins<SqliteStore>, number: usize) -> Result<Row> {
    let twin = twins.get(&device(number)?).context("a device is gone")?;
    let number = |value: Option<&Value>| match value {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    let states = || twin.properties().map(|(_, state)| state);
    let reported = states().filter_map(|state| state.reported.as_ref());
    let reported = reported.map(|one| number(one.value.as_ref())).max().unwrap_or(0);
    let desired = states().filter_map(|state| state.desired.as_ref());
    let desired = desired.map(|one| number(Some(&one.value))).max().unwrap_or(0);
    Ok([i64::try_from(twin.rev())?, reported, desired])
}

/// If this process was started as the writer: writes until it is killed. Else: `false`.
///
/// # Errors
/// It cannot write.
pub fn write_until_killed() -> Result<bool> {
    let Some(file) = std::env::var_os(FILE) else { return Ok(false) };
    let mut twins = open(Path::new(&file))?;
    let mut rows: Vec<Row> = (0..DEVICES).map(|at| row(&twins, at)).collect::<Result<_>>()?;
    let mut random = rand::rng();
    loop {
        let at = random.random_range(0..DEVICES);
        let id = device(at)?;
        let property = || format!("p{}", rand::rng().random_range(0..PROPERTIES));
        // Reports alone go to the journal; every eighth commit holds a wish, and some of these a report, too.
        let kind = random.random_range(0..16);
        let mut commands = Vec::new();
        if kind != 0 {
            rows[at][1] += 1;
            let reading = Reading::good(Value::Int(rows[at][1]), now());
            let report = Report::of(id.clone()).with(PropertyReport::reading(property(), reading));
            commands.push(Ask::Report(report));
        }
        if kind < 2 {
            rows[at][2] += 1;
            let desire = Desire::of(id, Writer::local("kills"));
            commands.push(Ask::Desire(desire.with(property(), Value::Int(rows[at][2]))));
        }
        for outcome in twins.apply(commands, now())? {
            outcome.result.map_err(|rejected| anyhow::anyhow!("{rejected}"))?;
        }
        let [rev, reported, desired] = row(&twins, at)?;
        ensure!([reported, desired] == rows[at][1..], "the twin has what was written");
        let mut out = stdout().lock();
        writeln!(out, "\ncommitted {at} {rev} {reported} {desired}")?;
        out.flush()?;
    }
}

/// Kills the writer `kills` times. `writer` starts this program so that it calls [`write_until_killed`].
///
/// # Errors
/// The store does not open, or something else went wrong than a loss.
pub fn run(kills: usize, writer: impl Fn() -> Result<Command>) -> Result<StoreKills> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("twins.db");
    let mut seen = StoreKills { kills, ..StoreKills::default() };
    let mut said = [Row::default(); DEVICES];
    let mut revisions = [0; DEVICES];
    for _ in 0..kills {
        let mut child = writer()?.env(FILE, &file).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("no output")?;
        let until = rand::rng().random_range(1..=COMMITS);
        let (mut commits, mut killed) = (0, false);
        for line in BufReader::new(out).lines() {
            let line = line?;
            let Some(words) = line.strip_prefix("committed ") else { continue };
            let mut numbers = words.split(' ').map(str::parse::<i64>);
            let mut next = || numbers.next().context("a short line")?.context("no number");
            let at = usize::try_from(next()?)?;
            said[at] = [next()?, next()?, next()?];
            commits += 1;
            if commits >= until && !killed {
                killed = true;
                // Somewhere within the next commits, not always right after one.
                for _ in 0..rand::rng().random_range(0..200_000) {
                    std::hint::spin_loop();
                }
                child.kill()?;
            }
        }
        ensure!(killed, "the writer ended by itself: {:?}", child.wait()?);
        child.wait()?;
        seen.commits += commits;
        let twins = open(&file)?;
        let mut unsaid = false;
        for at in 0..DEVICES {
            let found = row(&twins, at)?;
            seen.lost += (1..3).filter(|part| found[*part] < said[at][*part]).count();
            seen.revisions_back += usize::from(found[0] < said[at][0].max(revisions[at]));
            unsaid |= found != said[at];
            revisions[at] = found[0];
            said[at] = found;
        }
        seen.committed_unsaid += usize::from(unsaid);
    }
    seen.broken.unless(seen.lost == 0, "nothing that was said to be committed is lost");
    seen.broken.unless(seen.revisions_back == 0, "no revision goes back");
    Ok(seen)
}
