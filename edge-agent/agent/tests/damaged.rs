//! A store whose file is not what it was.

#![allow(clippy::unwrap_used, reason = "a test helper fails like a test")]

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use hyper::Method;
use serde_json::Value;
use world::{World, eventually};

/// What `/readyz` says of the store.
async fn store(world: &World) -> Value {
    let (_, body) = world.request(Method::GET, "/readyz", "").await;
    let ready: Value = serde_json::from_slice(&body).unwrap();
    let parts = ready["parts"].as_array().unwrap();
    parts.iter().find(|part| part["name"] == "store").unwrap().clone()
}

fn asides(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("twins.db.damaged-"))
        .filter(|path| !path.to_string_lossy().ends_with("-wal"))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_the_agent_begins_with_an_empty_one() {
    let mut world = World::with(&[("pump", "7")]).await;
    let dir = world.config.store.dir.clone();
    let epoch = world.device("pump").await.unwrap().epoch;
    world.set("pump", "", r#"{"properties":{"note":{"value":"mine"}}}"#).await;
    for round in 0..5 {
        world.stop().await;
        let mut octets = fs::read(dir.join("twins.db")).unwrap();
        // No magic; a page that is none; a file that was cut.
        match round % 3 {
            0 => octets[..16].fill(b'?'),
            1 => octets[4096..8192].fill(0xa5),
            _ => octets.truncate(octets.len() / 2 + 100),
        }
        fs::write(dir.join("twins.db"), octets).unwrap();
        world.restart_stopped().await;

        // What the manifests desire is there; what was written otherwise is lost.
        let pump = world.device("pump").await.unwrap();
        assert_eq!(pump.property("speed").unwrap().desired.as_ref().unwrap().value, "7");
        assert!(pump.property("note").unwrap().desired.is_none());
        assert!(pump.epoch > epoch, "another life of the store");
        let asides = asides(&dir);
        assert_eq!(asides.len(), (round + 1).min(3), "{asides:?}");
        let store = store(&world).await;
        assert_eq!(store["status"], "degraded");
        let newest = asides.last().unwrap().to_str().unwrap();
        assert!(store["reason"].as_str().unwrap().contains(newest), "{store}");
    }
    for aside in asides(&dir) {
        fs::remove_file(aside).unwrap();
    }
    eventually("a store that is well", async || {
        (store(&world).await["status"] == "ok").then_some(())
    })
    .await;
}
