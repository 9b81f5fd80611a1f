//! A small size of each endurance line; `./test long` runs them in full through the same code.

use anyhow::Result;

#[tokio::test]
async fn kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let seen = e2e::crash::kills(5).await?;
    assert_eq!((seen.lost, seen.revisions_back), (0, 0), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn sequential_updates_arrive_in_order() -> Result<()> {
    let seen = e2e::bench::order::run(500).await?;
    assert_eq!(seen.inversions, 0, "{seen:?}");
    assert!(seen.newest_seen, "{seen:?}");
    Ok(())
}
