//! Agent and mapper as they ship, with configuration files of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use edge_agent::AgentConfig;
use edge_agent::config::LogFormat;

use super::{RECONNECT, REST};
use crate::process::program;

/// The agent, which says in its log all that it does.
pub(super) fn agent(dir: &Path, mut config: AgentConfig) -> Result<Command> {
    config.log.format = LogFormat::Json;
    config.log.level = "info,edge_agent=debug".into();
    let file = dir.join("agent.yaml");
    std::fs::write(&file, serde_json::to_string(&config)?)?;
    let mut agent = Command::new(program("edge-agent")?);
    agent.arg("--config").arg(file);
    Ok(agent)
}

/// A mapper of that name, with its own socket, the agent's, and where it tells its metrics.
pub(super) fn mapper(dir: &Path, name: &str, sockets: [&PathBuf; 3]) -> Result<Command> {
    let [own, agent, metrics] = sockets.map(|path| path.display());
    let file = dir.join("mapper.yaml");
    let text = format!(
        "grpc_server: {{socket_path: {own}}}\n\
         common: {{name: {name}, protocol: modbus, edgecore_sock: {agent}}}\n\
         edgetwin: {{reconnectMin: {:?}, reconnectMax: {:?}, restMin: {:?}, restMax: {:?}, metricsListen: {metrics}}}\n",
        RECONNECT.min, RECONNECT.max, REST.min, REST.max,
    );
    std::fs::write(&file, text)?;
    let mut mapper = Command::new(program("mapper-modbus")?);
    mapper.arg("--config-file").arg(file).args(["--log-format", "json"]);
    Ok(mapper)
}
