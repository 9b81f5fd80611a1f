//! The local API asked by schemathesis, from the document that it serves.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use edge_agent::{Agent, AgentConfig};
use serde::Serialize;
use serde_json::Value as Json;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::peers::program;

/// What it asked and found.
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

/// Fuzzes an agent that has the demo's devices, and no mapper, for about `time`.
///
/// # Errors
/// schemathesis cannot be installed or started, or the agent fails.
pub async fn run(time: Duration) -> Result<Seen> {
    let folder = tempfile::tempdir()?;
    let mut config = AgentConfig::within(folder.path());
    let tokens = folder.path().join("tokens");
    config.api.listen = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.api.token_file = Some(tokens.clone());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    config.manifests.dir = here.join("../device-profiles/demo");
    let agent = Agent::bind(config).await?;
    let address = agent.addresses().api_tcp.context("it listens on TCP")?;
    let api = agent.addresses().api.clone();
    let token = std::fs::read_to_string(&tokens)?;
    let stop = CancellationToken::new();
    let running = agent.run(stop.clone());
    let report = folder.path().join("report.json");
    let fuzzing = async {
        let mut command = Command::new(program("EDGETWIN_PYTHON").await?);
        let python = here.join("peers/python");
        command
            .args(["-m", "schemathesis.cli", "--config-file"])
            .arg(python.join("api_fuzz.toml"))
            .arg("run")
            .arg(here.join("../edge-agent/agent/openapi.json"))
            .args(["--no-color", "--report", "json", "--url", &format!("http://{address}")])
            .arg("--report-json-path")
            .arg(&report)
            .args(["--max-time", &time.as_secs().to_string()])
            .env("PYTHONPATH", &python)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("EDGETWIN_TOKEN", token.trim())
            .current_dir(folder.path())
            .kill_on_drop(true);
        let output = command.output().await.context("schemathesis")?;
        // The agent is alive and well afterwards.
        let (status, body) = crate::http::get(&api, "/readyz").await?;
        ensure!(status == 200, "{}", String::from_utf8_lossy(&body));
        anyhow::Ok(output)
    };
    let fuzzing = async {
        let fuzzed = fuzzing.await;
        stop.cancel();
        fuzzed
    };
    let (fuzzed, ended) = tokio::join!(fuzzing, running);
    ended?;
    let output = fuzzed?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut broken = Vec::new();
    if !output.status.success() {
        broken.push(format!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let report: Json = serde_json::from_slice(&std::fs::read(&report).context(text)?)?;
    let wishes = &report["valid_rates"]["PATCH /v1/devices/{namespace}/{name}/desired"];
    let phases = || wishes.as_object().into_iter().flat_map(|phases| phases.values());
    let sum = |of: &str| phases().filter_map(|phase| phase[of].as_u64()).sum();
    let cases = report["test_cases"]["generated"].as_u64().context("it counts its cases")?;
    Ok(Seen { cases, accepted: sum("accepted"), conflicts: sum("conflicts"), broken })
}
