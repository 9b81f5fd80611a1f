//! Where the programs are that `tests/peers/prepare` makes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// The path that the environment names in `name`, else the one that `prepare` does: it builds what is not in its
/// cache, which takes a minute the first time.
///
/// # Errors
/// `prepare` fails; its error says what is missing.
pub async fn program(name: &str) -> Result<PathBuf> {
    prepared(&[], name).await
}

/// Telegraf, for the bench of that name.
///
/// # Errors
/// `prepare` fails; its error says what is missing.
pub async fn telegraf() -> Result<PathBuf> {
    prepared(&["telegraf"], "EDGETWIN_TELEGRAF").await
}

/// A folder with `vmlinuz`, `busybox` and the modules of a machine.
///
/// # Errors
/// `prepare` fails; its error says what is missing.
pub async fn machine() -> Result<PathBuf> {
    prepared(&["machine"], "EDGETWIN_MACHINE").await
}

/// A folder with `kube-apiserver`, `kube-controller-manager`, `kube-scheduler` and `kubectl`. They take minutes to build
/// the first time.
///
/// # Errors
/// `prepare` fails; its error says what is missing.
pub async fn kubernetes() -> Result<PathBuf> {
    prepared(&["kubernetes"], "EDGETWIN_KUBERNETES").await
}

async fn prepared(what: &[&str], name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(name) {
        return Ok(path.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/prepare");
    let output = Command::new(&script).args(what).stderr(Stdio::inherit()).output().await;
    let output = output.with_context(|| script.display().to_string())?;
    if !output.status.success() {
        bail!("{} {what:?}: {}; its head says what it needs", script.display(), output.status);
    }
    let output = String::from_utf8(output.stdout)?;
    let path = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    path.map(Into::into).with_context(|| format!("{} gave no {name}", script.display()))
}
