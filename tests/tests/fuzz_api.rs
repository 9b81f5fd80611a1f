//! The local API against a program that others wrote to find where an API does not keep to its document.
#![cfg(feature = "peers")]

use std::time::Duration;

use anyhow::Result;
use e2e::api_fuzz;

#[tokio::test]
async fn the_api_keeps_to_its_document_whatever_is_asked() -> Result<()> {
    let seen = api_fuzz::run(Duration::from_secs(60)).await?;
    assert!(seen.broken.is_empty(), "{}", seen.broken.concat());
    // It got through to the twins, and was not refused at the door.
    assert!(seen.cases > 500 && seen.accepted > 20 && seen.conflicts > 0, "{seen:?}");
    Ok(())
}
