//! The parts of a demo: simulators, agent and mapper, each with its own end.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use edge_agent::{Addresses, Agent, AgentConfig};
use mapper_modbus::ModbusDriver;
use mapper_sdk::{Mapper, MapperConfig};
use sim_modbus::{Blueprint, LineOptions, Pty, Simulation, Wire};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::demo::home::Home;
use crate::demo::manifests::{self, Wires};

const MAPPER: &str = "mapper";
/// Longest time that a transaction in flight may take when the demo stops.
const MAPPER_STOP: Duration = Duration::from_millis(300);
/// Longest time that the mapper, and then the rest, may take to stop.
const GRACE: Duration = Duration::from_millis(1_200);

/// Everything that runs.
pub(crate) struct Parts {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    /// Ends before the rest: on its way out it still writes and reports.
    mapper: CancellationToken,
    rest: CancellationToken,
    addresses: Addresses,
    wires: Wires,
}

impl Parts {
    /// Starts the simulators and the agent.
    ///
    /// # Errors
    /// One of them cannot start.
    pub(crate) async fn start(home: &Home, mqtt: SocketAddr) -> anyhow::Result<Self> {
        let (mapper, rest) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();

        let listener = TcpListener::bind("127.0.0.1:0").await.context("start a simulator")?;
        let line = Pty::open().context("open a pseudo-terminal for the serial devices")?;
        let wires = Wires { tcp: listener.local_addr()?, tty: line.path().display().to_string() };
        let dir = home.data().join("manifests");
        let texts = manifests::place(&dir, &wires)?;
        let (mut listener, mut line) = (Some(listener), Some(line));
        let stations = Blueprint::stations(&texts.join("---\n"))
            .with_context(|| format!("simulate the devices of {}", dir.display()))?;
        for station in stations {
            let mut simulation = Simulation::new(station.blueprint);
            match station.wire {
                Wire::Serial { baud, .. } => {
                    if let Some(line) = line.take() {
                        simulation.serve_rtu(line, LineOptions::paced(baud));
                    }
                }
                _ => {
                    if let Some(listener) = listener.take() {
                        simulation.serve_tcp(listener)?;
                    }
                }
            }
            let stop = rest.clone();
            tasks.spawn(async move {
                simulation.run(stop).await;
                ("simulator", Ok(()))
            });
        }

        let mut config = AgentConfig::within(home.data());
        config.devices.dmi_socket = home.socket("dmi.sock");
        config.api.socket = home.socket(crate::place::API_SOCKET);
        config.mqtt.listen = mqtt;
        let agent = Agent::bind(config).await.context("start the agent")?;
        let addresses = agent.addresses().clone();
        let stop = rest.clone();
        tasks.spawn(async move { ("agent", agent.run(stop).await.map_err(Into::into)) });
        Ok(Self { tasks, mapper, rest, addresses, wires })
    }

    /// Starts the mapper, which registers with the agent over its DMI socket.
    ///
    /// # Errors
    /// It cannot start.
    pub(crate) async fn start_mapper(&mut self, home: &Home) -> anyhow::Result<()> {
        let socket = home.socket("modbus.sock");
        let config = MapperConfig {
            stop: MAPPER_STOP,
            ..MapperConfig::new("modbus-mapper", socket, &self.addresses.dmi)
        };
        let mapper =
            Mapper::bind(config, ModbusDriver::default()).await.context("start the mapper")?;
        let stop = self.mapper.clone();
        self.tasks.spawn(async move { (MAPPER, mapper.run(stop).await) });
        Ok(())
    }

    /// Where the agent listens.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where the simulated devices are.
    pub(crate) fn wires(&self) -> &Wires {
        &self.wires
    }

    /// Waits until a part ends that should not, and says why. Cancel safe.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok((part, Ok(())))) => anyhow!("the {part} stopped by itself"),
            Some(Ok((part, Err(error)))) => error.context(format!("the {part} stopped")),
            Some(Err(error)) => anyhow!("a part of the demo broke: {error}"),
            None => anyhow!("nothing runs"),
        }
    }

    /// Stops the mapper, and then everything else.
    ///
    /// # Errors
    /// A part failed on its way out, or did not stop in time.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.mapper.cancel();
        let mapper_ended = timeout(GRACE, self.until(MAPPER)).await;
        self.rest.cancel();
        let rest_ended = timeout(GRACE, self.until("")).await;
        for ended in [mapper_ended, rest_ended] {
            ended.context("a part of the demo did not stop in time")??;
        }
        Ok(())
    }

    /// Waits for the ends of parts, up to that of `last`.
    async fn until(&mut self, last: &str) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            let (part, result) = ended.context("a part of the demo broke")?;
            result.with_context(|| format!("stop the {part}"))?;
            if part == last {
                break;
            }
        }
        Ok(())
    }
}
