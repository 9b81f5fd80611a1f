//! Power that goes at random moments: a machine of QEMU with the agent, a load on it, and a disk whose cache is gone with
//! the power.

mod judge;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use rand::RngExt;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant as Clock, timeout_at};

pub use self::judge::Losses;
use self::judge::Witness;
use crate::disk::volatile::{Counted, Volatile};
use crate::http;
use crate::load::{DEVICES, Load, Said, manifest};
use crate::long::Broken;
use crate::machine::{Image, Machine};
use crate::process::program;
use crate::wait::eventually;

/// The agent's `store.sync`.
const SYNC: Duration = Duration::from_secs(1);
/// What the sync itself may take, and the call before it, on an emulated processor.
const SLACK: Duration = Duration::from_millis(500);
/// Power goes so long after the first round of every call, at most.
const LONGEST: Duration = Duration::from_millis(3000);
/// Power goes after at most so many writes more.
const WRITES: u32 = 12;
/// Machines at the same time: each takes a processor.
const AT_ONCE: usize = 2;
const DISK: u64 = 48 << 20;
/// How long the agent may take to answer in the machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the cuts showed.
#[derive(Debug, Default, Serialize)]
pub struct Cuts {
    /// How often power went.
    pub cuts: usize,
    /// Disks that were used, one after the other.
    pub disks: usize,
    /// What was taken, and what of it is missing.
    #[serde(flatten)]
    pub losses: Losses,
    /// Flushes that the disks were asked for.
    pub flushes: u64,
    /// Sectors that were written and not flushed when power went.
    pub cached_sectors: u64,
    /// Those of them that were lost.
    pub lost_sectors: u64,
    /// Claims that did not hold.
    pub broken: Broken,
}

/// Cuts power `cuts` times, and takes a new disk after each `each` of them.
///
/// # Errors
/// A machine does not start, or the agent in it.
pub async fn run(cuts: usize, each: usize) -> Result<Cuts> {
    let image = image().await?;
    let mut result = Cuts { cuts, ..Cuts::default() };
    let disks =
        (0..cuts).step_by(each.max(1)).map(|first| one_disk(&image, each.min(cuts - first)));
    let mut disks = stream::iter(disks).buffer_unordered(AT_ONCE);
    while let Some((losses, counted)) = disks.try_next().await? {
        result.disks += 1;
        result.losses.add(&losses);
        result.flushes += counted.flushes;
        result.cached_sectors += counted.cached;
        result.lost_sectors += counted.lost;
    }
    let Losses {
        desired,
        lost_desired,
        lost_acknowledgements,
        longest_reported_span_ms,
        torn,
        invented,
        revisions_back,
        other_lives,
        ..
    } = result.losses;
    ensure!(desired > 0, "no desired value was taken: the run shows nothing");
    ensure!(result.lost_sectors > 0, "no cut took anything: the run shows nothing");
    let broken = &mut result.broken;
    broken.unless(lost_desired == 0, "no desired value is lost");
    broken.unless(lost_acknowledgements == 0, "no acknowledgement is lost");
    let bound = (SYNC + SLACK).as_millis();
    broken.unless(
        u128::from(longest_reported_span_ms) <= bound,
        format_args!("reported values of at most {bound} ms are missing"),
    );
    broken.unless(torn == 0, "a report is there whole or not at all");
    broken.unless(invented == 0, "nothing is there that nobody sent");
    broken.unless(revisions_back == 0, "no revision goes back behind what was synced");
    broken.unless(other_lives == 0, "store and devices keep their lives");
    Ok(result)
}

/// Cuts the power of a new disk so often, and looks at it once more.
async fn one_disk(image: &Image, cuts: usize) -> Result<(Losses, Counted)> {
    let folder = tempfile::tempdir()?;
    let disk = Arc::new(Volatile::ext4(DISK, folder.path())?);
    let (mut life, mut losses) = (Life::default(), Losses::default());
    for _ in 0..cuts {
        life.once(image, &disk, true, &mut losses).await?;
    }
    life.once(image, &disk, false, &mut losses).await?;
    Ok((losses, disk.counted()))
}

async fn image() -> Result<Image> {
    let config = format!(
        "apiVersion: edgetwin.io/v1\nkind: AgentConfig\nnode: {{name: machine}}\n\
         store: {{dir: /disk/store, sync: {}ms}}\nmanifests: {{dir: /etc/manifests}}\n\
         devices: {{dmiSocket: /tmp/dmi.sock}}\napi: {{socket: /tmp/api.sock}}\nmqtt: {{mode: off}}\n",
        SYNC.as_millis()
    );
    // What runs is either a test beside `long`, or `long` itself.
    let this = std::env::current_exe()?;
    let load = if this.ends_with("long") { this } else { program("long")? };
    let programs = [("edge-agent", &*program("edge-agent")?), ("long", &*load)];
    let files = [("agent.yaml", config), ("manifests/devices.yaml", manifest())];
    let init = "edge-agent --config /etc/agent.yaml >/dev/console 2>&1 &\n\
                long load --dmi /tmp/dmi.sock --api /tmp/api.sock >$SAY 2>/dev/console";
    Image::build(&programs, &files, init).await
}

/// The load, in the machine: everything that the agent takes, one line of JSON each.
///
/// # Errors
/// The agent does not answer.
pub async fn load(dmi: &std::path::Path, api: &std::path::Path) -> Result<()> {
    eventually(PATIENCE, "the agent", async || {
        let found = http::devices(api).await?.len();
        ensure!(found == DEVICES && dmi.exists(), "{found} devices");
        Ok(())
    })
    .await?;
    let (say, mut said) = mpsc::channel(64);
    let mut load = Load::start(dmi, api, say).await?;
    let saying = async {
        while let Some(said) = said.recv().await {
            let line = serde_json::to_string(&said)?;
            #[expect(clippy::print_stdout, reason = "what it says is its output")]
            {
                println!("{line}");
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = load.ended() => ended,
        ended = saying => ended,
    }
}

/// The lives of one disk, one after the other.
#[derive(Default)]
struct Life {
    /// How each device was left, and when power went.
    left: Vec<(Witness, Duration)>,
}

impl Life {
    /// Boots, compares what is found with what was left, and goes on until power is cut; or not, the last time.
    async fn once(
        &mut self,
        image: &Image,
        disk: &Arc<Volatile>,
        cut: bool,
        losses: &mut Losses,
    ) -> Result<()> {
        let mut machine = Machine::boot(image, disk).await?;
        let mut witnesses = vec![Witness::default(); DEVICES];
        let mut found = 0;
        let mut others = Vec::new();
        while found < DEVICES {
            match parse(&machine.line().await?)? {
                Said::Found(now) => {
                    found += 1;
                    let device = now.device;
                    if let Some((left, at)) = self.left.get(device) {
                        left.judge(&now, *at, losses);
                    }
                    *witnesses.get_mut(device).context("a device of the load")? = Witness::new(now);
                }
                said => others.push(said),
            }
        }
        if !cut {
            disk.cut();
            return machine.cut().await.map(drop);
        }
        // From the load's clock to that of this process, where the way was shortest.
        let mut start: Option<Instant> = None;
        let mut hear = |said: Said, received: Option<Instant>, losses: &mut Losses| {
            let device = match said {
                Said::Reported { device, at, .. } => {
                    let began = received.and_then(|at_| at_.checked_sub(Duration::from_millis(at)));
                    start = start.into_iter().chain(began).min();
                    device
                }
                Said::Desired { device, .. } | Said::Acknowledged { device, .. } => device,
                Said::Found(_) => bail!("a device was found twice"),
                Said::Refused { call, code, text } => bail!("{call}: {code}: {text}"),
            };
            witnesses.get_mut(device).context("a device of the load")?.hear(&said, losses);
            Ok(())
        };
        for said in others {
            hear(said, None, losses)?;
        }
        // What is called for the first time takes an emulated processor seconds.
        let mut rounds = 0;
        while rounds < DEVICES {
            let said = parse(&machine.line().await?)?;
            rounds += usize::from(matches!(said, Said::Acknowledged { .. }));
            hear(said, Some(Instant::now()), losses)?;
        }
        let end = Clock::now() + rand::rng().random_range(Duration::ZERO..LONGEST);
        while let Ok(line) = timeout_at(end, machine.line()).await {
            hear(parse(&line?)?, Some(Instant::now()), losses)?;
        }
        let cut = disk.cut_within(rand::rng().random_range(1..=WRITES)).await;
        for line in machine.cut().await? {
            // The last line may be cut, too. What was refused, was because power was gone.
            match parse(&line) {
                Ok(Said::Refused { .. }) | Err(_) => {}
                Ok(said) => hear(said, None, losses)?,
            }
        }
        let at = start.map_or(Duration::ZERO, |start| cut.saturating_duration_since(start));
        self.left = witnesses.into_iter().map(|witness| (witness, at)).collect();
        Ok(())
    }
}

fn parse(line: &str) -> Result<Said> {
    serde_json::from_str(line).with_context(|| line.to_owned())
}
