//! The matrix with KubeEdge's own programs, where the environment names them (docs/kubeedge.md), and its cell that needs
//! none of them.
#![cfg(feature = "peers")]

use std::io::Write;

use anyhow::{Result, ensure};
use e2e::kubeedge::{self, Cell, Outcome, Programs, Table};

async fn holds(cell: Cell) -> Result<()> {
    let programs = Programs::named();
    if let Some(lack) = programs.lack(cell) {
        let (number, title) = (cell.number(), cell.title());
        // Past what a test prints, which is not shown of one that passes.
        writeln!(
            std::io::stderr(),
            "!! SKIPPED: interop cell {number} ({title}): {lack}; see ./test interop --help"
        )?;
        return Ok(());
    }
    let mut table = Table::default();
    kubeedge::run(cell, &programs, &mut table, |_| ()).await;
    let failed: Vec<_> =
        table.rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn our_agent_and_mapper_work_under_a_real_cloudcore() -> Result<()> {
    holds(Cell::OurEdge).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_edgecore_works_under_our_bridge() -> Result<()> {
    holds(Cell::OurCloud).await
}

#[tokio::test(flavor = "multi_thread")]
async fn our_mapper_works_between_a_real_cloudcore_and_edgecore() -> Result<()> {
    holds(Cell::OurMapper).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_mapper_works_under_our_agent_and_bridge() -> Result<()> {
    holds(Cell::GoMapper).await
}
