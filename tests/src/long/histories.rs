//! Histories of one device of a running agent: writers that race, kills, deletions and births, by a random number that
//! names each (row 13).

mod history;
mod witness;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::timeout;

use self::history::{History, Step};
use super::Broken;
use crate::wait::PATIENCE;

/// Which histories, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// The first one's random number; the others' follow it.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Steps of each.
    pub steps: usize,
}

/// What was lived through.
#[derive(Debug, Default, Serialize)]
pub struct Histories {
    /// Random number of the first one.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Steps of all, by what happened.
    pub steps: BTreeMap<&'static str, u64>,
    /// Histories in which something acknowledged was lost, came back or was told wrongly, by random number and step.
    pub broken: Broken,
}

/// Lives through them one after the other. One that breaks ends there; the next ones are lived through all the same.
///
/// # Errors
/// The agent's program cannot be built.
pub async fn run(size: Size) -> Result<Histories> {
    crate::process::program("edge-agent")?;
    let Size { first, seeds, .. } = size;
    let mut seen = Histories { first, seeds, ..Histories::default() };
    for seed in first..first.saturating_add(seeds) {
        if let Err(error) = live(seed, size.steps, &mut seen.steps).await {
            seen.broken.unless(false, format!("seed {seed}: {error:#}"));
        }
    }
    Ok(seen)
}

async fn live(seed: u64, steps: usize, lived: &mut BTreeMap<&'static str, u64>) -> Result<()> {
    let mut history = History::begin(seed).await.context("the beginning")?;
    for number in 0..steps {
        let step = history.choose();
        let life = timeout(PATIENCE, history.live(step)).await.map_err(anyhow::Error::from);
        life.flatten().with_context(|| format!("step {number}: {step:?}"))?;
        *lived.entry(word(step)).or_default() += 1;
    }
    history.end().await.context("the end")
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Api(_) => "desired by the API",
        Step::Mqtt(_) => "desired over MQTT",
        Step::Both(_) => "desired by both at once",
        Step::Folder(_) => "desired by the manifest",
        Step::Report(_) => "reported",
        Step::Reach(_) => "reached",
        Step::AppLeaves => "application left and came back",
        Step::Delta => "delta compared",
        Step::Kill(_) => "killed while all write",
        Step::Recreate { killed: false } => "deleted and made again",
        Step::Recreate { killed: true } => "deleted, killed and made again",
    }
}
