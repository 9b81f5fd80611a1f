//! Histories of a gateway beneath a cloud, both as they ship and a real API server between them: writers on both sides,
//! cuts, kills and lost stores, by a random number that names each (issue 5).

mod history;
mod mapper;
mod objects;
mod viewer;
mod witness;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout;

use self::history::{History, Step};
use super::Broken;
use crate::cloud::Cloud;
use crate::cluster::Cluster;

pub use super::histories::Size;

/// How long one thing may take on a busy machine; a link that died without a word is noticed after 25 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was lived through.
#[derive(Debug, Default, Serialize)]
pub struct Histories {
    /// Random number of the first one.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Steps of all, by what happened.
    pub steps: BTreeMap<&'static str, u64>,
    /// Values that somebody who watches the cloud saw.
    pub seen: u64,
    /// Histories in which cloud and edge did not agree in the end, something acknowledged was lost, or an older value came
    /// after a newer one; by random number and step.
    pub broken: Broken,
}

/// Lives through them one after the other, over one control plane. One that breaks ends there; the next ones are lived
/// through all the same.
///
/// # Errors
/// The cloud does not start.
pub async fn run(size: Size) -> Result<Histories> {
    let Size { first, seeds, .. } = size;
    let mut cloud = Cloud::with(Cluster::start().await?, json!({})).await?;
    let mut lived = Histories { first, seeds, ..Histories::default() };
    for seed in first..first.saturating_add(seeds) {
        if let Err(error) = live(seed, size.steps, &mut cloud, &mut lived).await {
            lived.broken.unless(false, format!("seed {seed}: {error:#}"));
            // What a history left dead does not break the next one.
            history::revive(&mut cloud).await?;
        }
    }
    Ok(lived)
}

async fn live(seed: u64, steps: usize, cloud: &mut Cloud, lived: &mut Histories) -> Result<()> {
    let mut history = History::begin(seed, cloud).await.context("the beginning")?;
    let mut past = Vec::new();
    for number in 0..steps {
        let step = history.choose();
        past.push(step);
        let life = timeout(PATIENCE, history.live(step)).await.map_err(anyhow::Error::from);
        life.flatten().with_context(|| format!("step {number} of {past:?}"))?;
        *lived.steps.entry(word(step)).or_default() += 1;
    }
    lived.seen += history.end().await.with_context(|| format!("the end of {past:?}"))?;
    Ok(())
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Cloud(_) => "desired by the cloud",
        Step::Local(_) => "desired at the gateway",
        Step::Both(_) => "desired on both sides at once",
        Step::Report(..) => "reported",
        Step::Delete(_) => "deleted",
        Step::Create(_) => "made again",
        Step::Cut(_) => "link cut",
        Step::Mend => "link mended",
        Step::KillAgent(_) => "agent killed",
        Step::KillBridge => "bridge killed",
        Step::KillApi => "API server killed",
        Step::LoseStore => "store lost",
        Step::OldStore => "old store brought back",
    }
}
