//! The local API against programs that others wrote.
#![cfg(feature = "peers")]

use std::time::Duration;

use anyhow::Result;
use e2e::api_peers;
use serde_json::json;

#[tokio::test]
async fn the_api_keeps_to_its_document_whatever_is_asked() -> Result<()> {
    let seen = api_peers::fuzz(Duration::from_secs(60)).await?;
    assert!(seen.broken.is_empty(), "{}", seen.broken.concat());
    // It got through to the twins, and was not refused at the door.
    assert!(seen.cases > 500 && seen.accepted > 0 && seen.conflicts > 0, "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn kubernetes_own_client_reads_devices() -> Result<()> {
    let seen = api_peers::kubernetes().await?;
    let version = concat!("v", env!("CARGO_PKG_VERSION"), "+edgetwin");
    let names = json!(["meter", "pump", "room"]);
    let expected = json!({
        "version": version, "devices": names, "model": "DeviceModel", "statuses": names, "lost": 404,
    });
    assert_eq!(seen, expected);
    Ok(())
}
