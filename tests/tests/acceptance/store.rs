//! Demand 11: what was acknowledged outlives kills, in files that stay small; a damaged store does not keep the agent down.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::gateway::{Gateway, plain_devices};
use e2e::http;
use e2e::load::{DEVICES, Found, Load, Said, manifest};
use e2e::wait::PATIENCE;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What write-ahead log and journal may take together, in octets.
const LOGS: u64 = 16_000_000;

/// Octets of the files in `store` that end with one of `ends`.
fn size(store: &Path, ends: &[&str]) -> Result<u64> {
    let mut all = 0;
    for file in fs::read_dir(store)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if ends.iter().any(|end| name.ends_with(end)) {
            all += file.metadata()?.len();
        }
    }
    Ok(all)
}

#[tokio::test]
async fn row_11_what_was_acknowledged_is_kept_in_files_that_stay_small() -> Result<()> {
    let mut gateway = Gateway::new(false)?;
    gateway.manifest("devices.yaml", &manifest())?;
    gateway.start(None).await?;
    gateway.loaded(DEVICES).await?;
    let (say, mut said) = mpsc::channel(64);
    let mut load = Load::start(&gateway.dmi(), &gateway.api(), say).await?;
    let (mut reported, mut desired) = ([0; DEVICES], [(0, 0); DEVICES]);
    let taken = async {
        // Some MB of them.
        while reported.iter().sum::<i64>() < 2000 {
            tokio::select! {
                next = said.recv() => match next.context("the load ended")? {
                    Said::Reported { device, number, .. } => reported[device] = number,
                    Said::Desired { device, number, version, .. } => desired[device] = (number, version),
                    Said::Refused { call, code, text } => ensure!(false, "{call} {code} {text}"),
                    Said::Found(_) | Said::Acknowledged { .. } => {}
                },
                ended = load.ended() => ended?,
            }
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, taken).await.context("2,000 reports")??;
    gateway.crash()?;
    drop(load);
    let store = gateway.folder().join("store");
    let logs = size(&store, &["-wal", ".journal"])?;
    assert!(logs > 0 && logs <= LOGS, "{logs} octets");

    gateway.start(None).await?;
    gateway.loaded(DEVICES).await?;
    for view in gateway.devices().await? {
        let found = Found::of(&view)?;
        assert!(found.reported[0] >= reported[found.device], "{found:?}");
        assert!(found.desired >= desired[found.device], "{found:?}");
    }
    gateway.crash()?;

    // Somebody else writes into it: the agent comes up all the same, and says what it has done.
    fs::write(store.join("twins.db"), b"no database".repeat(1000))?;
    gateway.start(None).await?;
    gateway.loaded(DEVICES).await?;
    let (status, body) = http::get(&gateway.api(), "/readyz").await?;
    let ready: Json = serde_json::from_slice(&body)?;
    assert_eq!((status, &ready["status"]), (200, &"degraded".into()), "{ready}");
    assert!(ready.to_string().contains("twins.db.damaged-"), "{ready}");
    gateway.stop(PATIENCE).await?;
    Ok(())
}

/// Writes over every page of the database but the first, as a card does that dies.
fn overwrite(database: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().write(true).open(database)?;
    let (page, length) = (4096, file.metadata()?.len());
    ensure!(length > 2 * page, "{length} octets");
    let junk = vec![0xa5; usize::try_from(length - page)?];
    Ok(file.write_all_at(&junk, page)?)
}

async fn store_part(gateway: &Gateway) -> Result<Json> {
    let (_, body) = http::get(&gateway.api(), "/readyz").await?;
    let ready: Json = serde_json::from_slice(&body)?;
    let parts = ready["parts"].as_array().context("it tells its parts")?;
    parts.iter().find(|part| part["name"] == "store").cloned().context("a store")
}

/// Devices, each with a long text: more than the database keeps in memory, so that what is damaged is read again.
const MANY: usize = 100;

fn wish(letter: char) -> Json {
    json!({ "properties": { "p1": { "value": letter.to_string().repeat(60_000) } } })
}

async fn desire(gateway: &Gateway, device: usize, letter: char) -> Result<(u16, String)> {
    let path = format!("/v1/devices/bench/d{device}/desired");
    let (status, body) = http::patch(&gateway.api(), &path, &wish(letter)).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[tokio::test]
async fn row_11_a_store_that_is_damaged_while_the_agent_runs_is_told_and_begun_anew() -> Result<()>
{
    let mut gateway = Gateway::new(false)?;
    let manifest = plain_devices(MANY, 2)
        .replace("{name: p1, type: INT", "{name: p1, type: STRING")
        .replace("{name: p0, reportToCloud", "{name: p0, desired: {value: \"5\"}, reportToCloud");
    gateway.manifest("devices.yaml", &manifest)?;
    let store = gateway.folder().join("store");
    gateway.start(None).await?;
    gateway.loaded(MANY).await?;
    for device in 0..MANY {
        ensure!(desire(&gateway, device, 'a').await?.0 == 200);
    }
    // At its end everything goes from the log into the file.
    gateway.stop(PATIENCE).await?;
    gateway.start(None).await?;
    gateway.loaded(MANY).await?;
    overwrite(&store.join("twins.db"))?;

    // Each call is taken, or refused with the store's words; then the agent says so, too.
    let (mut taken, mut refused) = (0, 0);
    for device in 0..MANY {
        match desire(&gateway, device, 'b').await? {
            (200, _) => taken += 1,
            (503, text) => {
                refused += 1;
                let part = store_part(&gateway).await?;
                ensure!(
                    text.contains("twins.db") && part["status"] == "degraded",
                    "{text}, {part}"
                );
                ensure!(
                    part["reason"].as_str().is_some_and(|why| why.contains("twins.db")),
                    "{part}"
                );
            }
            (status, text) => ensure!(false, "{status}: {text}"),
        }
    }
    ensure!(refused > 0, "{taken} were taken and the damage never showed");
    ensure!(gateway.agent()?.is_running()?);
    ensure!(gateway.devices().await?.len() == MANY, "what is in memory is read as ever");

    gateway.crash()?;
    gateway.start(None).await?;
    gateway.loaded(MANY).await?;
    let part = store_part(&gateway).await?;
    let aside = part["reason"].as_str().is_some_and(|why| why.contains("twins.db.damaged-"));
    ensure!(part["status"] == "degraded" && aside, "{part}");
    let names = fs::read_dir(&store)?.filter_map(|file| file.ok()?.file_name().into_string().ok());
    ensure!(names.into_iter().any(|name| name.starts_with("twins.db.damaged-")));

    // The new one has what the manifests say, and keeps what comes.
    let texts = async |gateway: &Gateway| {
        let mut texts = 0;
        for view in gateway.devices().await? {
            let desired = |name: &str| view.property(name).and_then(|one| one.desired.as_ref());
            ensure!(desired("p0").is_some_and(|five| five.value == "5"), "{view:?}");
            texts += usize::from(desired("p1").is_some());
        }
        Ok(texts)
    };
    ensure!(texts(&gateway).await? == 0, "it is empty");
    ensure!(desire(&gateway, 0, 'c').await?.0 == 200);
    gateway.crash()?;
    gateway.start(None).await?;
    gateway.loaded(MANY).await?;
    ensure!(texts(&gateway).await? == 1, "it is kept");
    gateway.stop(PATIENCE).await?;
    Ok(())
}
