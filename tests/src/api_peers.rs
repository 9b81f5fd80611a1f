//! The local API asked over TCP by programs that others wrote: schemathesis, from the document that the API serves, and
//! Kubernetes' client for Python.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use edge_agent::{Agent, AgentConfig};
use serde::Serialize;
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::peers::program;

/// What schemathesis asked and found.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// Requests with their answers.
    pub cases: u64,
    /// Wishes among them that were taken.
    pub accepted: u64,
    /// Wishes that came with a version that was not true.
    pub conflicts: u64,
    /// What is not as the document says.
    pub broken: Vec<String>,
}

/// An agent that has the demo's devices and no mapper.
struct Place {
    folder: TempDir,
    url: String,
    token: String,
}

/// Fuzzes such an agent for about `time`.
///
/// # Errors
/// schemathesis cannot be installed or started, or the agent fails.
pub async fn fuzz(time: Duration) -> Result<Seen> {
    let (output, report) = with_agent(async |place| {
        let report = place.folder.path().join("report.json");
        let mut command = place.python().await?;
        command
            .args(["-m", "schemathesis.cli", "--config-file"])
            .arg(python("api_fuzz.toml"))
            .arg("run")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge-agent/agent/openapi.json"))
            .args(["--no-color", "--report", "json", "--url", &place.url, "--report-json-path"])
            .arg(&report)
            .args(["--max-time", &time.as_secs().to_string()]);
        let output = command.output().await.context("schemathesis")?;
        let report = std::fs::read(report).with_context(|| said(&output))?;
        Ok((output, serde_json::from_slice::<Json>(&report)?))
    })
    .await?;
    let broken = if output.status.success() { Vec::new() } else { vec![said(&output)] };
    let wishes = &report["valid_rates"]["PATCH /v1/devices/{namespace}/{name}/desired"];
    let phases = || wishes.as_object().into_iter().flat_map(|phases| phases.values());
    let sum = |of: &str| phases().filter_map(|phase| phase[of].as_u64()).sum();
    let cases = report["test_cases"]["generated"].as_u64().context("it counts its cases")?;
    Ok(Seen { cases, accepted: sum("accepted"), conflicts: sum("conflicts"), broken })
}

/// What Kubernetes' client for Python reads of such an agent.
///
/// # Errors
/// It cannot be installed or started, or does not get through.
pub async fn kubernetes() -> Result<Json> {
    with_agent(async |place| {
        let mut command = place.python().await?;
        command.arg(python("kubernetes_client.py")).args([&place.url, &place.token]);
        let output = command.output().await.context("Kubernetes' client")?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    })
    .await
}

impl Place {
    /// Python with what the tests need; everything that it leaves goes to the folder.
    async fn python(&self) -> Result<Command> {
        let mut command = Command::new(program("EDGETWIN_PYTHON").await?);
        command
            .env("PYTHONPATH", python(""))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("EDGETWIN_TOKEN", &self.token)
            .env("TMPDIR", self.folder.path())
            .current_dir(self.folder.path())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// Does `work` with an agent, which is alive and well afterwards.
async fn with_agent<T>(work: impl AsyncFnOnce(&Place) -> Result<T>) -> Result<T> {
    let folder = tempfile::tempdir()?;
    let mut config = AgentConfig::within(folder.path());
    let tokens = folder.path().join("tokens");
    config.api.listen = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.api.token_file = Some(tokens.clone());
    config.manifests.dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../device-profiles/demo");
    let agent = Agent::bind(config).await?;
    let address = agent.addresses().api_tcp.context("it listens on TCP")?;
    let api = agent.addresses().api.clone();
    let token = std::fs::read_to_string(&tokens)?.trim().to_owned();
    let place = Place { folder, url: format!("http://{address}"), token };
    let stop = CancellationToken::new();
    let working = async {
        let done = work(&place).await;
        let ready = crate::http::get(&api, "/readyz").await;
        stop.cancel();
        let done = done?;
        let (status, body) = ready?;
        ensure!(status == 200, "{}", String::from_utf8_lossy(&body));
        Ok(done)
    };
    let (done, ended) = tokio::join!(working, agent.run(stop.clone()));
    ended?;
    done
}

fn python(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python").join(file)
}

fn said(output: &Output) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
