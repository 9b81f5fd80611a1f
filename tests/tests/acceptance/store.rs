//! Demand 11: what was acknowledged outlives kills, in files that stay small; a damaged store does not keep the agent down.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::gateway::Gateway;
use e2e::http;
use e2e::load::{DEVICES, Found, Load, Said, manifest};
use e2e::wait::PATIENCE;
use serde_json::Value as Json;
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
