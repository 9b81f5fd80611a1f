//! Who is who, at the crate's border: authority, tokens, and the server that lets machines join.

#![expect(clippy::unwrap_used, reason = "a test's helpers are no test functions")]

mod authority;
mod contract;
mod join;
mod kubeedge;
mod vectors;
mod world;

use std::sync::Arc;

use cloud_bridge::identity::token::TokenFiles;
use cloud_bridge::identity::{Files, Place};

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_tokens_by_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract::tokens(Arc::new(TokenFiles::within(dir.path()))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_keys_by_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract::place(Place::Files(Files::within(&dir.path().join("pki")))).await;
}
