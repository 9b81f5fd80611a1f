//! Power cuts under the whole agent, in a machine of QEMU; `./test long power-cuts` for many of them.
#![cfg(feature = "peers")]

use anyhow::Result;

#[tokio::test]
async fn power_cuts_lose_nothing_but_the_last_reports() -> Result<()> {
    let seen = e2e::power::run(20, 10).await?;
    assert!(seen.broken.is_empty(), "{seen:#?}");
    Ok(())
}
