//! The agent over file systems that become full, read-only or slow, or stand still. They are mounted for the test, which takes
//! root and loop devices; where those are missing the tests say so and pass.
#![cfg(feature = "peers")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::disk::hostile::{Mount, missing};
use e2e::disk::slow::Slow;
use e2e::gateway::Gateway;
use e2e::http;
use e2e::load::{DEVICES, Found, Load, Said, manifest};
use e2e::wait::eventually;
use rustix::process::Signal;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the agent may take to be well again when its disk is.
const HEALED: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
/// What the agent's memory may grow by while its disk takes nothing, in octets.
const GROWTH: u64 = 8_000_000;
/// How many reports, desires and acknowledgements of all devices together are waited for on a slow disk, and on a quick one.
const ROUNDS: u64 = 100;
/// Reports at once: more than the agent's queue holds.
const FLOOD: usize = 3000;

/// An agent on a mount, under load.
struct Tried {
    // Gone first, which lets it go on: an agent that waits for it cannot even be killed.
    mount: Mount,
    gateway: Gateway,
    load: Load,
    said: mpsc::Receiver<Said>,
    taken: Taken,
}

/// What the load said.
#[derive(Debug, Default)]
struct Taken {
    reported: [i64; DEVICES],
    desired: [(i64, u64); DEVICES],
    /// How often a call was taken or refused: `report`, `report Unavailable`, `desire 507`.
    calls: BTreeMap<String, u64>,
    /// The last words to each refused one.
    words: BTreeMap<String, String>,
}

impl Taken {
    fn hear(&mut self, said: Said) {
        let call = match said {
            Said::Found(_) => return,
            Said::Reported { device, number, .. } => {
                self.reported[device] = number;
                "report".to_owned()
            }
            Said::Desired { device, number, version, .. } => {
                self.desired[device] = (number, version);
                "desire".to_owned()
            }
            Said::Acknowledged { .. } => "acknowledge".to_owned(),
            Said::Refused { call, code, text } => {
                let call = format!("{call} {code}");
                self.words.insert(call.clone(), text);
                call
            }
        };
        *self.calls.entry(call).or_default() += 1;
    }
}

impl Tried {
    async fn start(mount: Mount) -> Result<Self> {
        let mut gateway = Gateway::with_store(true, Some(&mount.path().join("store")), "sync: 1s")?;
        gateway.manifest("devices.yaml", &manifest())?;
        gateway.start(None).await?;
        gateway.loaded(DEVICES).await?;
        let (say, said) = mpsc::channel(64);
        let load = Load::start(&gateway.dmi(), &gateway.api(), say).await?;
        let mut tried = Self { gateway, mount, load, said, taken: Taken::default() };
        tried.more(&["report", "desire", "acknowledge"], 20).await?;
        Ok(tried)
    }

    /// Goes on until each of `calls` was answered so `times` more often.
    async fn more(&mut self, calls: &[&str], times: u64) -> Result<()> {
        let Self { load, said, taken, .. } = self;
        let count = |taken: &Taken, call| taken.calls.get(call).copied().unwrap_or_default();
        let wanted: Vec<_> =
            calls.iter().map(|call| (*call, count(taken, *call) + times)).collect();
        let heard = async {
            while wanted.iter().any(|(call, least)| count(taken, call) < *least) {
                tokio::select! {
                    next = said.recv() => taken.hear(next.context("the load ended")?),
                    ended = load.ended() => ended?,
                }
            }
            anyhow::Ok(())
        };
        let heard = timeout(PATIENCE, heard).await;
        heard.with_context(|| format!("{calls:?} {times} times: {taken:#?}"))?
    }

    /// Forgets what was refused so far.
    fn forgive(&mut self) {
        self.taken.words.clear();
    }

    /// Every refused call since was refused in one of these ways: by call and code, with these words.
    fn refused_only(&self, ways: &[(&str, &str)]) {
        for (call, text) in &self.taken.words {
            let known = ways.iter().any(|(way, word)| call == way && text.contains(word));
            assert!(known, "{call}: {text}");
        }
    }

    async fn resident(&mut self) -> Result<u64> {
        Ok(self.gateway.agent()?.usage()?.resident)
    }

    /// Waits until the part `store` has this status; its reason.
    async fn store_is(&self, status: &str, patience: Duration) -> Result<String> {
        let api = self.gateway.api();
        eventually(patience, &format!("a store that is {status}"), async || {
            let store = store(&api).await?;
            ensure!(store["status"] == status, "{store}");
            Ok(store["reason"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// After the disk is well again: so is the agent, with all that was taken, without and with a restart.
    async fn heals(mut self) -> Result<()> {
        self.store_is("ok", HEALED).await?;
        self.more(&["report", "desire", "acknowledge"], 20).await?;
        // What the load sends now is taken until nobody listens.
        let Self { mut gateway, mount, load, mut said, mut taken } = self;
        drop(load);
        while let Some(said) = said.recv().await {
            taken.hear(said);
        }
        check(&taken, &gateway).await?;
        let (status, _) = gateway.stop(PATIENCE).await?;
        assert_eq!(status.code(), Some(0), "{}", gateway.log()?);
        gateway.start(None).await?;
        gateway.loaded(DEVICES).await?;
        check(&taken, &gateway).await?;
        gateway.stop(PATIENCE).await?;
        drop(mount);
        Ok(())
    }
}

/// What was taken is there, and so may be what was under way.
async fn check(taken: &Taken, gateway: &Gateway) -> Result<()> {
    for view in gateway.devices().await? {
        let found = Found::of(&view)?;
        let (reported, desired) = (taken.reported[found.device], taken.desired[found.device]);
        assert_eq!(found.reported.len(), 1, "a report is there in parts: {found:?}");
        assert!(found.reported[0] >= reported, "{reported} was reported: {found:?}");
        assert!(found.desired >= desired, "{desired:?} was desired: {found:?}");
    }
    Ok(())
}

/// Started again, it has all that was taken.
async fn kept(taken: &Taken, mut gateway: Gateway, mount: Mount) -> Result<()> {
    gateway.start(None).await?;
    gateway.loaded(DEVICES).await?;
    check(taken, &gateway).await?;
    // The agent goes before its disk.
    drop((gateway, mount));
    Ok(())
}

async fn store(api: &Path) -> Result<Json> {
    let (_, body) = http::get(api, "/readyz").await?;
    let ready: Json = serde_json::from_slice(&body)?;
    let parts = ready["parts"].as_array().context("it tells its parts")?;
    parts.iter().find(|part| part["name"] == "store").cloned().context("a store")
}

#[tokio::test]
async fn a_full_disk_is_an_error_of_the_call_and_heals_by_itself() -> Result<()> {
    if missing().is_some() {
        return Ok(());
    }
    let mut tried = Tried::start(Mount::tmpfs(16 << 20)?).await?;
    let before = tried.resident().await?;
    let ballast = tried.mount.fill()?;
    tried.more(&["desire 507"], 50).await?;
    // Those that came while it became full are behind us.
    tried.forgive();
    tried.more(&["desire 507"], 200).await?;
    tried.refused_only(&[
        ("desire 507", "full; free space there"),
        ("report Unavailable", "twins.db"),
        ("acknowledge Unavailable", "twins.db"),
    ]);
    let reason = tried.store_is("degraded", HEALED).await?;
    assert!(reason.contains("full"), "{reason}");
    let after = tried.resident().await?;
    assert!(after <= before + GROWTH, "{before} grew to {after}");
    // Reads are as ever.
    check(&tried.taken, &tried.gateway).await?;
    std::fs::remove_file(ballast)?;
    tried.heals().await
}

/// What a kernel does that finds its file system broken: nobody may write any more, until it is mounted anew.
#[tokio::test]
async fn a_file_system_that_goes_read_only_is_an_error_of_the_call() -> Result<()> {
    if missing().is_some() {
        return Ok(());
    }
    let mut tried = Tried::start(Mount::ext4(64 << 20)?).await?;
    let before = tried.resident().await?;
    tried.mount.break_down()?;
    tried.more(&["desire 503"], 200).await?;
    tried.refused_only(&[
        ("desire 503", "twins.db"),
        ("report Unavailable", "store/twins."),
        ("acknowledge Unavailable", "twins.db"),
    ]);
    let reason = tried.store_is("degraded", HEALED).await?;
    assert!(reason.contains("twins.") && reason.contains("check its"), "{reason}");
    let after = tried.resident().await?;
    assert!(after <= before + GROWTH, "{before} grew to {after}");
    // Reads are as ever.
    check(&tried.taken, &tried.gateway).await?;

    let Tried { mut gateway, mut mount, load, mut said, mut taken } = tried;
    drop(load);
    while let Some(said) = said.recv().await {
        taken.hear(said);
    }
    let (status, took) = gateway.stop(PATIENCE).await?;
    let log = gateway.log()?;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("edge-agent: stopped, but the store could not be brought to disk"),
        "{log}"
    );
    assert!(took < Duration::from_secs(3), "{took:?}");
    // As it said: what was reported since the last sync may be gone with the mount.
    taken.reported = [0; DEVICES];
    mount.mend()?;
    kept(&taken, gateway, mount).await
}

#[tokio::test]
async fn a_disk_that_stands_still_holds_up_the_calls_and_loses_none() -> Result<()> {
    if missing().is_some() {
        return Ok(());
    }
    let mut tried = Tried::start(Mount::ext4(64 << 20)?).await?;
    let api = tried.gateway.api();
    let before = tried.resident().await?;
    tried.mount.freeze()?;
    // Nothing of the twins answers; what does not need them does, and says why.
    let reason = tried.store_is("failed", PATIENCE).await?;
    assert!(reason.contains("do not answer"), "{reason}");
    assert_eq!(http::get(&api, "/healthz").await?.0, 200);
    // More than the queue has room for, at once.
    let flood = flood(&tried.gateway, FLOOD).await?;
    // The queue's length of them waited, until they were given up; the others were told at once.
    assert!(flood.get("ResourceExhausted").is_some_and(|refused| *refused > 0), "{flood:?}");
    assert_eq!(flood.get("Ok"), None, "{flood:?}");
    let after = tried.resident().await?;
    assert!(after <= before + 2 * GROWTH, "{before} grew to {after}");
    tried.mount.thaw()?;
    tried.heals().await
}

/// So many reports at once: how many were answered how.
async fn flood(gateway: &Gateway, calls: usize) -> Result<BTreeMap<String, u64>> {
    let mut tasks = tokio::task::JoinSet::new();
    let agent = dmi::connect::manager(gateway.dmi(), Duration::from_secs(10));
    for _ in 0..calls {
        let mut agent = agent.clone();
        tasks.spawn(async move {
            let request = e2e::crash::report(0, 1, 1);
            agent.report_device_status(request).await.map(drop)
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = tasks.join_next().await {
        let code = answer?.map_or_else(|status| format!("{:?}", status.code()), |()| "Ok".into());
        *answers.entry(code).or_default() += 1;
    }
    Ok(answers)
}

#[tokio::test]
async fn an_agent_that_is_stopped_while_its_disk_stands_still_says_what_may_be_lost() -> Result<()>
{
    if missing().is_some() {
        return Ok(());
    }
    let mut tried = Tried::start(Mount::ext4(64 << 20)?).await?;
    tried.mount.freeze()?;
    tried.store_is("failed", PATIENCE).await?;
    let began = Instant::now();
    tried.gateway.agent()?.signal(Signal::TERM)?;
    let said = eventually(PATIENCE, "its last words", async || {
        let log = tried.gateway.log()?;
        ensure!(log.contains("edge-agent: "), "{log}");
        Ok(log)
    })
    .await?;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(said.contains("the disk did not answer"), "{said}");
    // The kernel lets nobody go who waits for such a disk.
    assert!(tried.gateway.agent()?.is_running()?);
    tried.mount.thaw()?;
    let Tried { mut gateway, mount, load, said: _, taken } = tried;
    drop(load);
    let (status, _) = gateway.stop(PATIENCE).await?;
    assert_eq!(status.code(), Some(1), "{}", gateway.log()?);
    kept(&taken, gateway, mount).await
}

#[tokio::test]
async fn an_agent_does_not_start_on_a_disk_that_takes_nothing_and_says_why() -> Result<()> {
    if missing().is_some() {
        return Ok(());
    }
    let full = Mount::tmpfs(1 << 20)?;
    full.fill()?;
    let read_only = Mount::ext4(8 << 20)?;
    read_only.read_only(true)?;
    for (mount, words) in [(full, ["full", "free space"]), (read_only, ["Read-only", "right"])] {
        let gateway = Gateway::with_store(false, Some(&mount.path().join("store")), "")?;
        let (code, said) = gateway.refused().await?;
        assert_eq!(code, Some(1), "{said}");
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("edge-agent: ")).collect();
        assert_eq!(errors.len(), 1, "{said}");
        for word in words {
            assert!(errors[0].contains(word), "{word}: {said}");
        }
    }
    Ok(())
}

/// Sizes of the same load on a quick disk, and how long it took.
async fn usual() -> Result<(u64, Duration)> {
    let mut tried = Tried::start(Mount::ext4_in_memory(64 << 20)?).await?;
    let before = tried.resident().await?;
    let began = Instant::now();
    tried.more(&["report", "desire", "acknowledge"], ROUNDS).await?;
    let took = began.elapsed();
    flood(&tried.gateway, FLOOD).await?;
    let growth = tried.resident().await?.saturating_sub(before);
    tried.heals().await?;
    Ok((growth, took))
}

#[tokio::test]
async fn a_slow_disk_makes_calls_late_loses_none_and_costs_no_memory() -> Result<()> {
    if missing().is_some() {
        return Ok(());
    }
    let (usual_growth, usual_time) = usual().await?;
    let mut tried = Tried::start(Mount::ext4_in_memory(64 << 20)?).await?;
    let before = tried.resident().await?;
    let slow = Slow::down(&tried.mount);
    let began = Instant::now();
    tried.more(&["report", "desire", "acknowledge"], ROUNDS).await?;
    let slow_time = began.elapsed();
    assert!(slow_time > usual_time * 2, "{slow_time:?} is not slow beside {usual_time:?}");
    // More than the queue has room for, at once, and again: each is answered, late or at once.
    for _ in 0..2 {
        let answers = flood(&tried.gateway, FLOOD).await?;
        assert_eq!(answers.values().sum::<u64>(), FLOOD as u64);
        let known = ["Ok", "ResourceExhausted", "DeadlineExceeded"];
        assert!(answers.keys().all(|code| known.contains(&code.as_str())), "{answers:?}");
        assert!(answers.contains_key("Ok"), "{answers:?}");
    }
    tried.refused_only(&[
        ("report ResourceExhausted", "waiting for the store"),
        ("acknowledge ResourceExhausted", "waiting for the store"),
        ("desire 503", "waiting for the store"),
    ]);
    let growth = tried.resident().await?.saturating_sub(before);
    assert!(growth <= usual_growth + 2 * GROWTH, "{growth} octets beside {usual_growth}");
    // It was slow, and well: what it was asked for, it did.
    tried.store_is("ok", PATIENCE).await?;
    let rests = slow.end().await?;
    assert!(rests > 10, "{rests} rests");
    let began = Instant::now();
    tried.more(&["report", "desire", "acknowledge"], ROUNDS).await?;
    let healed_time = began.elapsed();
    assert!(healed_time < slow_time / 2, "{healed_time:?} after {slow_time:?}");
    tried.heals().await
}
